"""The table of measured inference: what each runtime makes of each pruned network."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from ..quality import known, titled
from . import cells
from .aggregation import leaderboard, number
from .comparison import comparisons
from .naming import printable_texts, told_apart
from .points import Key, point_of, point_of_row
from .record import Inference, Outcome
from .targets import TARGET_COLUMNS, TARGETS
from .text_table import text_table

INFERENCE_COLUMNS: dict[str, str] = {
    "dataset": "Data set, as in the experiment.",
    "model": "Network, as in the experiment.",
    "strategy": "Pruning strategy, as in the leaderboard.",
    **dict.fromkeys(TARGET_COLUMNS, "As in the leaderboard."),
    "settings": "As in the leaderboard.",
    "differences": "What tells these runs from others of the network and data set, in words; empty "
    "if nothing does.",
    "conditions": "What else the runs of a comparison have in common, in words.",
    "runtime": "What runs the network.",
    "network": "Which network it is: `dense`, `masked` (with its zeros) or `shrunk` (without the "
    "channels that are gone).",
    "batch_size": "Examples in a forward pass.",
    "passes": "Whole passes over the test split that were timed; empty where single forward passes "
    "were.",
    "seeds": "Seeds measured, without those that are in doubt unless all are.",
    "theoretical_speedup": "FLOPs of the unpruned network per effective FLOP, mean over seeds.",
    "median_ms": "Milliseconds of a forward pass: the median over samples, and of these over "
    "seeds. Empty where there is a reason, and of whole passes.",
    "iqr_ms": "Interquartile range of the samples, median over seeds.",
    "pass_seconds": "Mean seconds of a whole pass over the test split, in which batches are made "
    "while the clock stands still; median over seeds.",
    "speedup": "The dense network's time in the same runtime / this one's, median over samples "
    "taken in turn, and of these over seeds; of whole passes the ratio of means. For `SparseCSR`, "
    "`SparseBSR` and `SparseDirect` the dense network runs in `Eager`.",
    "speedup_low": "Lower end of the speedup's 95 % confidence interval; the lowest of all seeds.",
    "speedup_high": "Upper end of the same; the highest of all seeds.",
    "speedup_over_eager": "The dense network's time in `Eager` / this one's.",
    "speedup_over_eager_low": "Lower end of its 95 % confidence interval; the lowest of all seeds.",
    "speedup_over_eager_high": "Upper end of the same; the highest of all seeds.",
    "control": "The dense network's time / that of an identical copy, by the same protocol in the "
    "same turns, where 1 is the truth: of the seed where it is furthest from 1. Empty in records "
    "that are older than it.",
    "control_low": "Lower end of its 95 % confidence interval.",
    "control_high": "Upper end of the same.",
    "load": "Share of the processor that other processes took meanwhile, the largest of all seeds.",
    "doubt": "Why the speedups cannot be believed, so that they say nothing; empty where they can. "
    "That of the first seed where all are in doubt.",
    "quality_metric": "What the task is scored by.",
    "quality": "What that is on the test split, mean over seeds: of the network as this runtime "
    "computes it where the runtime rounds (`OnnxInt8`; empty where that cannot be found out), and "
    "else as the record has it.",
    "peak_bytes": "Memory at the peak of a forward pass: parameters, inputs, and what PyTorch "
    "allocates; known in `Eager` only.",
    "file_bytes": "Bytes of a safetensors file of this network, of the masked one with a bitmask "
    "in place of its zeros; mean over seeds.",
    "memory_format": "Order of images in memory in PyTorch's runtimes: `channels_last` where it is "
    "faster for the dense and the pruned network.",
    "threads": "CPU threads.",
    "processor": "Name of the processor.",
    "instructions": "The CPU instructions that PyTorch uses, as `AVX2`.",
    "cores": "Cores of the CPU, in use or not.",
    "reason": "Why there is no time.",
}
"""Column → definition, in the order of the table."""

_COMPARISON = ("dataset", "model", "settings", "differences", "conditions")

# Columns of what tells machines apart, threads among them, and how headings have them.
_MACHINE: dict[str, str] = {
    "processor": "{}",
    "instructions": "{}",
    "cores": "{} cores",
    "threads": "{} CPU threads",
}

_NEWER = (
    *("passes", "pass_seconds", "control", "control_low", "control_high", "doubt"),
    *("quality_metric", "quality", "instructions", "cores"),
)


def inference_table(records: Iterable[Outcome]) -> pd.DataFrame:
    """One row for each point of the leaderboard, runtime, network, batch size and machine.

    It is over the seeds that were measured there with as many threads. The columns are those of
    :data:`INFERENCE_COLUMNS`. Records that were not measured are left out.
    """
    groups: dict[tuple[Any, ...], list[tuple[Outcome, Inference]]] = {}
    records = sorted(records, key=lambda record: point_of(record.experiment))
    for record in records:
        point = point_of(record.experiment)
        machine = tuple(str(record.inference_environment.get(name)) for name in _MACHINE)
        for each in record.inference:
            key = (point, machine, each.passes or 0, each.batch_size, each.runtime, each.network)
            groups.setdefault(key, []).append((record, each))
    headings, called = (
        _headings(records),
        told_apart(point_of(each.experiment).method for each in records),
    )
    rows = [_row(members, headings, called) for members in groups.values()]
    return pd.DataFrame(rows, columns=list(INFERENCE_COLUMNS))


def row_title(row: pd.Series[Any]) -> str:
    """The network and the data set of a row, and what tells its runs from others of them."""
    differences = row.get("differences", "")
    name = f"{row['model']} on {row['dataset']}"
    return name if pd.isna(differences) or not differences else f"{name} · {differences}"


def machine_titles(frame: pd.DataFrame) -> pd.Series[str]:
    """What each row was measured on, in words, as far as the rows differ in it."""
    there = [name for name in _MACHINE if name in frame]
    differing = [name for name in there if frame[name].nunique(dropna=False) > 1]
    titles = [", ".join(_on(name, row[name]) for name in differing) for _, row in frame.iterrows()]
    return pd.Series(titles, index=frame.index, dtype=str)


def _on(name: str, value: Any) -> str:
    """What a column says of a machine, as headings have it."""
    if pd.isna(value):
        return f"unknown {name}"
    if isinstance(value, float) and value.is_integer():  # as other rows are without a number
        value = int(value)
    return _MACHINE[name].format(value)


def inference_as_text(frame: pd.DataFrame) -> str:
    """The table for people: one for each comparison, machine and batch size.

    It has a column for each runtime. Cells are speedups over the dense network in the same runtime
    with their 95 % confidence intervals, or a question mark where they cannot be believed; beside
    them are the size of the file relative to the dense network's, and the theoretical speedup.
    """
    # As it is read from CSV, and from CSV that is older than some of the columns.
    frame = frame.reindex(columns=list(dict.fromkeys([*frame, *_NEWER])))
    frame = frame.astype({"reason": object, "doubt": object, "passes": float})
    frame = printable_texts(frame.fillna({"reason": "", "doubt": "", "passes": 0}))
    frame["machine"] = machine_titles(frame.drop(columns="threads"))
    parts = []
    keys = [*_COMPARISON, "machine", "threads", "passes", "batch_size"]
    keys = [name for name in keys if name in frame]
    for (*_, passes, batch), rows in frame.groupby(keys, sort=False, dropna=False):
        pruned, dense = rows[rows["network"] != "dense"], rows[rows["network"] == "dense"]
        columns = list(dict.fromkeys(zip(pruned["runtime"], pruned["network"], strict=True)))
        common = rows.iloc[0]
        what = f"{passes:.0f} passes over the test split in batches" if passes else "batch"
        timed = f"{what} of {batch}, {_on('threads', common['threads'])}"
        where = f" · {common['machine']}" if common["machine"] else ""
        heading = [
            *cells.wrapped(f"{row_title(common)} · {timed}{where}"),
            *cells.wrapped(common.get("conditions", f"settings {common['settings']}")),
            "Measured speedup over the dense network in the same runtime (95 % interval)",
        ]
        if passes:
            heading.append(f"Dense network: {dense['pass_seconds'].median():.4g} s a pass")
        lines = []
        points = ["strategy", *TARGET_COLUMNS]
        for _, point in pruned.groupby(points, sort=False, dropna=False):
            first = point.iloc[0]
            theory = first["theoretical_speedup"]
            found = {(row["runtime"], row["network"]): row for _, row in point.iterrows()}
            lines.append(
                [
                    first["strategy"],
                    cells.target(first),
                    _file(point, dense),
                    "—" if pd.isna(theory) else f"{theory:.2f}",
                    *(_cell(found.get(column)) for column in columns),
                ]
            )
        headers = ["strategy", "target", "file", "theory", *(f"{r}\n{n}" for r, n in columns)]
        table = text_table(lines, headers, "l" + "r" * (3 + len(columns)))
        notes = [*_notes(rows, "—", "reason"), *_notes(pruned, "? no verdict:", "doubt")]
        notes += [*_rounded(rows), *_controls(rows)]
        parts.append("\n".join([*heading, "", table, "", *notes]))
    return "\n\n".join(parts)


def _notes(rows: pd.DataFrame, mark: str, column: str) -> list[str]:
    """Each thing that a column says of a runtime, once."""
    said = rows[rows[column] != ""].groupby(["runtime", column], sort=False)
    return [f"{mark} {runtime}: {text}" for (runtime, text), _ in said]


def _rounded(rows: pd.DataFrame) -> list[str]:
    """What becomes of the quality of each network in a runtime that rounds."""
    notes = []
    alike = ["strategy", *TARGET_COLUMNS, "network"]
    for _, same in rows.dropna(subset=["quality"]).groupby(alike, sort=False, dropna=False):
        first = same.iloc[0]  # in Eager
        metric = known(first["quality_metric"]) or titled(first["quality_metric"], "higher")
        name = f"{first['strategy']}, {cells.target(first)}"
        name = "dense" if first["network"] == "dense" else name
        notes += [
            f"{row['runtime']} rounds: {metric.heading} of {name} is "
            f"{metric.written(row['quality'])} instead of {metric.written(first['quality'])}"
            for _, row in same[same["quality"] != first["quality"]].iterrows()
        ]
    return list(dict.fromkeys(notes))


def _controls(rows: pd.DataFrame) -> list[str]:
    """Of each runtime that control which is furthest from 1."""
    dense = rows[rows["network"] == "dense"].dropna(subset=["control"])
    worst = [
        f"{runtime} " + cells.with_interval(_furthest(controls), "control")
        for runtime, controls in dense.groupby("runtime", sort=False)
    ]
    if not worst:
        return ["measured without a control of identical networks"]
    return [f"identical networks, at worst: {', '.join(worst)}"]


def _furthest(controls: pd.DataFrame) -> pd.Series[Any]:
    distances = [abs(math.log(value)) for value in controls["control"]]
    return controls.iloc[distances.index(max(distances))]


def _headings(records: Iterable[Outcome]) -> dict[Key, dict[str, str]]:
    """What tells each comparison of the records from others, and what its runs have in common."""
    headings = {}
    for comparison in comparisons(leaderboard(records)):
        headings[point_of_row(comparison.rows.iloc[0]).key] = {
            "differences": comparison.without_target().differences,
            "conditions": comparison.conditions,
        }
    return headings


def _row(
    members: Sequence[tuple[Outcome, Inference]],
    headings: Mapping[Key, Mapping[str, str]],
    called: Mapping[tuple[str, str], str],
) -> dict[str, Any]:
    record, first = members[0]
    timed = [each for _, each in members if each.speedup is not None]
    measured = [each for each in timed if not each.doubt] or timed
    experiment = record.experiment
    point = point_of(experiment)
    controls = [each for each in measured if each.control is not None]
    control = max(controls, key=lambda each: abs(math.log(each.control or 1.0)), default=None)
    return {
        "dataset": point.key.dataset,
        "model": point.key.model,
        "strategy": called[point.method],
        **{kind.column: experiment.get(kind.name) for kind in TARGETS},
        "settings": point.key.settings,
        **headings[point.as_shown().key],
        "runtime": first.runtime,
        "network": first.network,
        "batch_size": first.batch_size,
        "passes": first.passes,
        "seeds": len(measured),
        "theoretical_speedup": statistics.fmean(
            number(measured.get("theoretical_speedup"))
            for outcome, _ in members
            for measured in [outcome.dense if first.network == "dense" else outcome.final]
        ),
        **{
            name: _over_seeds(statistics.median, measured, name)
            for name in ("median_ms", "iqr_ms", "pass_seconds", "speedup", "speedup_over_eager")
        },
        **{
            f"{name}_{end}": _over_seeds(choose, measured, f"{name}_{end}")
            for name in ("speedup", "speedup_over_eager")
            for end, choose in (("low", min), ("high", max))
        },
        "control": control and control.control,
        "control_low": control and control.control_low,
        "control_high": control and control.control_high,
        "load": _over_seeds(max, measured, "load"),
        "doubt": measured[0].doubt if measured else "",
        **_quality(members),
        "peak_bytes": max((each.peak_bytes or 0 for each in measured), default=0) or None,
        "file_bytes": statistics.fmean(
            _file_bytes(outcome, first.network) for outcome, _ in members
        ),
        "memory_format": first.memory_format,
        **{name: record.inference_environment.get(name) for name in _MACHINE},
        "reason": "; ".join(dict.fromkeys(each.reason for _, each in members if each.reason)),
    }


def _quality(members: Sequence[tuple[Outcome, Inference]]) -> dict[str, Any]:
    """How good the network is in the runtime."""
    name = next(iter(members[0][0].quality), "")
    computed = [
        (outcome.dense if each.network == "dense" else outcome.final)
        if each.quality is None
        else each.quality
        for outcome, each in members
        if each.speedup is not None
    ]
    values = [value for each in computed if (value := each.get(name)) is not None]
    return {"quality_metric": name, "quality": statistics.fmean(values) if values else None}


def _over_seeds(
    choose: Callable[[list[float]], float], measured: Sequence[Inference], name: str
) -> float | None:
    """What is chosen of those values that were measured; None where there are none."""
    values = [value for each in measured if (value := getattr(each, name)) is not None]
    return choose(values) if values else None


def _file_bytes(record: Outcome, network: str) -> float:
    measured = record.dense if network == "dense" else record.final
    names = {
        "dense": "file_bytes",
        "masked": "file_bytes_sparse",
        "shrunk": "file_bytes_shrunk",
    }
    return number(measured.get(names[network]))


def _file(rows: pd.DataFrame, dense: pd.DataFrame) -> str:
    """The smallest file of a point, relative to that of the dense network."""
    share = rows["file_bytes"].min() / dense["file_bytes"].iloc[0]
    return "—" if pd.isna(share) else f"{100 * share:.1f} %"


def _cell(row: pd.Series[Any] | None) -> str:
    if row is None or pd.isna(row["speedup"]):
        return "—"
    return "?" if row["doubt"] else cells.with_interval(row, "speedup")
