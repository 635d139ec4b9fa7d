"""The cells of a suite, which of them cannot be run, and what its records are held against."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from ...errors import UsageError
from ...results import Store
from ...results.aggregation import comparable
from ...results.suites.levels import NARROWER, ScoredTask
from ..cell.loop import load_task
from ..cell.record import described, failed_record
from ..experiment import Experiment
from ..sweeps.checking import check
from .suite import BASELINES, Suite, Task


class Cell(NamedTuple):
    """A cell of a suite."""

    task: str
    method: str
    experiment: Experiment


class Refusal(NamedTuple):
    """A cell that cannot be run, since the method cannot prune the task's network so far."""

    cell: Cell
    reason: UsageError


def cells_of(suite: Suite, strategies: Sequence[str]) -> list[Cell]:
    """All cells of strategies in a suite, and those of the narrower networks."""
    return [
        Cell(name, method, experiment)
        for name, task in suite.tasks.items()
        for method, experiments in [
            *((strategy, task.cells(strategy, suite.seeds)) for strategy in strategies),
            (NARROWER, task.narrower_cells(suite.seeds)),
        ]
        for experiment in experiments
    ]


def first_cells(cells: Sequence[Cell]) -> list[Experiment]:
    """A cell of each task and seed, by which its dense network is trained and held to its mark."""
    found: dict[tuple[str, int], Experiment] = {}
    for cell in cells:
        if cell.method == BASELINES[1]:
            found.setdefault((cell.task, cell.experiment.seed), cell.experiment)
    return list(found.values())


def refusals(cells: Iterable[Cell], data: Path) -> list[Refusal]:
    """Those of the cells that cannot be run.

    Raises:
        UsageError: data are not to be had, or even a baseline cannot be run.
    """
    known: dict[tuple[str, str, str, float], UsageError | None] = {}
    found = []
    for cell in cells:
        experiment = cell.experiment
        key = cell.task, cell.method, str(experiment.model), experiment.compression
        if key not in known:
            known[key] = _reason(cell, data)
        if (reason := known[key]) is not None:
            found.append(Refusal(cell, reason))
    return found


def _reason(cell: Cell, data: Path) -> UsageError | None:
    """Why a cell cannot be run; None where it can."""
    load_task(cell.experiment.dataset, data)  # whose absence is no fault of the method
    try:
        check([cell.experiment], data)
    except UsageError as error:
        if cell.method in (*BASELINES, NARROWER):
            raise
        return error
    return None


def note(refused: Iterable[Refusal], runs: Path) -> None:
    """Keep a failed record of each cell that cannot be run, which counts as the worst."""
    store = Store(runs)
    for cell, reason in refused:
        store.save(failed_record(cell.experiment, reason))


def scored_tasks(suite: Suite) -> list[ScoredTask]:
    """What records of a suite are held against."""
    return [_scored(name, task, suite.seeds) for name, task in suite.tasks.items()]


def _scored(name: str, task: Task, seeds: tuple[int, ...]) -> ScoredTask:
    (own, *_), narrower = task.cells(BASELINES[1], seeds), task.narrower_cells(seeds[:1])
    return ScoredTask(
        name=name,
        key=comparable(described(own)).comparison,
        narrower={
            comparable(described(each)).comparison: point
            for each, point in zip(narrower, task.compression, strict=True)
        },
        points=task.compression,
        seeds=seeds,
        floor=task.floor,
        loss_at_most=task.loss_at_most,
    )
