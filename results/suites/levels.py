"""Cells of a suite as levels: the share that is left of what a dense network knows.

A level is 1 where quality is that of the dense network of the same seed and 0 where it is that of
one that knows nothing, or worse. Perplexities are taken by their logarithm, the cross-entropy. A
cell that failed, collapsed, cannot be pruned so, or fell short of its operating point is 0.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from ...errors import UsageError
from ...quality import titled
from ..naming import told_apart
from ..points import Key, Point, point_of
from ..record import Outcome
from ..targets import COMPRESSION

NARROWER = "NarrowerDense"
"""What tables call the narrower networks that are trained for as long."""

INT8 = "Int8Dense"
"""What they call the networks that are trained for as long and rounded to 8 bits, not pruned."""

DENSE = (NARROWER, INT8)
"""The rivals of pruning, of which no method is run."""

BITS = 32
"""Of a weight that is not rounded; where there are zeros, a bit for each says where they are."""

REACHED = 0.95
"""The share of an operating point's compression that counts as reaching it."""


RUN_COLUMNS: dict[str, str] = {
    "task": "Name of the task in the suite.",
    "method": "What tables call the method.",
    "seed": "Seed of the run.",
    "point": "Operating point: the compression that was asked for.",
    "state": "`ok`; else why the run counts as the worst: `failed`, `collapsed` or `short`, where "
    "it achieved less than 95 % of the compression.",
    "quality": "Quality on the test split in the unit of tables.",
    "loss": "Quality lost against the dense network of that seed, in the same unit.",
    "level": "Share that is left of what the dense network knows: 1 as it, 0 nothing.",
    "speedup": "Multiply–adds of the dense network per multiply–add that is left.",
    "epochs": "Epochs trained after pruning.",
    "scoring_epochs": "Time of scoring, in epochs of that training.",
    "record": "Id of the record.",
}
"""Column → definition of the table of single runs."""


@dataclass(frozen=True)
class ScoredTask:
    """What has to be known of a task to score it.

    Attributes:
        name: of the task.
        key: what its runs have in common (:attr:`.Point.comparison`).
        narrower: the same of the narrower networks, each with its operating point.
        int8: the same of the networks whose weights are rounded to 8 bits.
        points: the operating points.
        seeds: of the suite.
        floor: quality of a network that knows nothing.
        loss_at_most: whose compression is told, in the unit of tables.
    """

    name: str
    key: Key
    narrower: Mapping[Key, float]
    int8: Key
    points: tuple[float, ...]
    seeds: tuple[int, ...]
    floor: float
    loss_at_most: float


@dataclass
class _Runs:
    """The records of a suite by task, and of those the methods'."""

    methods: dict[tuple[str, str, str, int, float], Outcome] = field(default_factory=dict)
    narrower: dict[tuple[str, int, float], Outcome] = field(default_factory=dict)
    int8: dict[tuple[str, int], Outcome] = field(default_factory=dict)


def levels(tasks: Sequence[ScoredTask], outcomes: Iterable[Outcome]) -> pd.DataFrame:
    """The runs of a suite, a row for each with the columns of :data:`RUN_COLUMNS`.

    What is no run of the suite is left out. A run is held against the dense network that it began
    from, and what has none against the first that there is of its task and seed.

    Raises:
        UsageError: of some task there is no dense network of a seed.
    """
    found = _sorted_out(tasks, outcomes)
    called = told_apart((name, source) for _, name, source, _, _ in found.methods)
    # Every network of 8 bits has a dense one; what cannot prune a task has none of its own.
    dense = dict(found.int8)
    for (task, _, _, seed, _), each in reversed(found.methods.items()):
        if each.finished:
            dense[task, seed] = each
    by_name = {task.name: task for task in tasks}
    rows = []
    for (task, name, source, seed, point), each in found.methods.items():
        reference = each if each.finished else _dense_of(dense, task, seed)
        rows.append(_row(by_name[task], called[name, source], seed, point, each, reference))
    for (task, seed, point), each in found.narrower.items():
        rows.append(_row(by_name[task], NARROWER, seed, point, each, _dense_of(dense, task, seed)))
    for (task, seed), each in found.int8.items():
        rows.append(_int8_row(by_name[task], seed, each, _dense_of(dense, task, seed)))
    place = {task.name: number for number, task in enumerate(tasks)}
    rows.sort(key=lambda row: (place[row["task"]], row["method"], row["seed"], row["point"]))
    return pd.DataFrame(rows, columns=list(RUN_COLUMNS))


def runs_of_methods(runs: pd.DataFrame, outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Those outcomes that are methods' runs of a suite: no dense networks, and no trials."""
    ids = set(runs.loc[~runs["method"].isin(DENSE), "record"])
    return [each for each in outcomes if each.id in ids]


def level(name: str, quality: float, dense: float, floor: float) -> float:
    """The share of what is between the floor and the dense network, 0 below the floor.

    Args:
        name: of the metric; perplexities are taken by their logarithm.
        quality: of a pruned network.
        dense: of the dense network, or of what stands for it.
        floor: of a network that knows nothing.
    """
    if name.startswith("perplexity"):
        quality, dense, floor = math.log(quality), math.log(dense), math.log(floor)
    return max(0.0, (quality - floor) / (dense - floor))


def _sorted_out(tasks: Sequence[ScoredTask], outcomes: Iterable[Outcome]) -> _Runs:
    by_key = {task.key: task for task in tasks}
    found = _Runs()
    for each in outcomes:
        point, seed = point_of(each.experiment), int(each.experiment["seed"])
        asked, task = _asked(point), by_key.get(point.key)
        if task is not None and seed in task.seeds and asked in task.points:
            found.methods[(task.name, *point.method, seed, asked)] = each
        for task in tasks if asked == 1 else ():
            if seed in task.seeds and point.key in task.narrower:
                found.narrower[task.name, seed, task.narrower[point.key]] = each
            if seed in task.seeds and point.key == task.int8 and _as_many_bytes(each):
                found.int8[task.name, seed] = each
    return found


def _asked(point: Point) -> float:
    """The compression that was asked for; of another kind of target none."""
    return point.target.value if point.target.kind is COMPRESSION else math.nan


def _dense_of(dense: Mapping[tuple[str, int], Outcome], task: str, seed: int) -> Outcome:
    if (task, seed) not in dense:
        raise UsageError(
            f"task {task}: there is no dense network of seed {seed} that reached its mark, so that "
            "nothing can be scored: see the failed records"
        )
    return dense[task, seed]


def _row(
    task: ScoredTask, method: str, seed: int, point: float, run: Outcome, reference: Outcome
) -> dict[str, Any]:
    name, better = next(iter(reference.quality.items()))
    metric = reference.descriptions().get(name) or titled(name, better)
    state = _state(run, reference, point)
    row: dict[str, Any] = {"task": task.name, "method": method, "seed": seed, "point": point}
    row |= {"state": state, "level": 0.0, **_effort(run), "record": run.id}
    quality, dense = run.final.get(name), reference.dense[name]
    if quality is None or dense is None:
        return row
    sign = metric.factor if metric.higher_is_better else -metric.factor
    row |= {"quality": metric.factor * quality, "loss": sign * (dense - quality)}
    flops, left = reference.dense.get("flops"), run.final.get("effective_flops")
    row["speedup"] = flops / left if flops and left else math.nan
    if state == "ok":
        row["level"] = level(name, quality, dense, task.floor)
    return row


def _as_many_bytes(run: Outcome) -> float | None:
    """The compression by which pruning comes to the bytes of a run's network of 8 bits.

    Of n weights in 32 bits, one in c of which is kept, are stored n bits for where they are, and
    those that are kept. None where the run does not say what 8 bits take.
    """
    whole, rounded = run.final.get("parameters"), run.final.get("int8_bytes")
    if not whole or not rounded or rounded < whole:
        return None
    return 1 / (8 * rounded / (BITS * whole) - 1 / BITS)


def _int8_row(task: ScoredTask, seed: int, run: Outcome, reference: Outcome) -> dict[str, Any]:
    """A network of 8 bits, at the compression by which pruning comes to as few bytes."""
    name, point = next(iter(reference.quality)), _as_many_bytes(run)
    assert point is not None  # else it was left out
    left = (run.final["parameters"] or 0) / point
    final = {**run.final, name: run.final.get("int8_quality"), "nonzero": left}
    rounded_run = run.model_copy(update={"final": final})
    return {**_row(task, INT8, seed, point, rounded_run, reference), "speedup": math.nan}


def _state(run: Outcome, reference: Outcome, point: float) -> str:
    """What speaks against a run, if anything."""
    if run.status != "ok":
        return run.status
    whole, left = reference.dense.get("parameters"), run.final.get("nonzero")
    return "ok" if whole and left and whole / left >= REACHED * point else "short"


def _effort(run: Outcome) -> dict[str, float]:
    """Epochs after pruning, and how many of these scoring took as long as."""
    epochs = _epochs(run.experiment)
    training, scoring = (run.timings.get(f"{name}_seconds") for name in ("finetuning", "scoring"))
    scoring_epochs = scoring / training * epochs if training and scoring is not None else math.nan
    return {"epochs": epochs, "scoring_epochs": scoring_epochs}


def _epochs(experiment: Mapping[str, Any]) -> int:
    """Epochs after pruning, which a recipe of a method's own may count otherwise."""
    recovery, epochs = experiment["recovery"], experiment["finetuning"]["epochs"]
    if recovery.startswith("NoRecovery"):
        return 0
    if recovery.startswith("RewindLearningRate"):
        skipped = re.search(r"epoch=(\d+)", recovery)
        epochs = experiment["pretraining"]["epochs"] - int(skipped[1] if skipped else 0)
    once = experiment.get("timing", "").startswith("DuringTraining")
    return int(epochs if once else epochs * experiment["rounds"])
