"""The table of measured inference: what each runtime makes of each pruned network."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
from tabulate import tabulate

from . import cells
from .comparison import KEY, comparisons
from .leaderboard import comparable, leaderboard
from .naming import told_apart
from .record import Inference, Outcome

INFERENCE_COLUMNS: dict[str, str] = {
    "dataset": "Data set, as in the experiment.",
    "model": "Network, as in the experiment.",
    "strategy": "Pruning strategy, as in the leaderboard.",
    "target_compression": "As in the leaderboard.",
    "target_sparsity": "As in the leaderboard.",
    "target_channel_sparsity": "As in the leaderboard.",
    "target_speedup": "As in the leaderboard.",
    "settings": "As in the leaderboard.",
    "differences": "What tells these runs from others of the network and data set, in words; empty "
    "if nothing does.",
    "conditions": "What else the runs of a comparison have in common, in words.",
    "runtime": "What runs the network.",
    "network": "Which network it is: `dense`, `masked` (with its zeros) or `shrunk` (without the "
    "channels that are gone).",
    "batch_size": "Examples in a forward pass.",
    "seeds": "Seeds measured.",
    "theoretical_speedup": "FLOPs of the unpruned network per effective FLOP, mean over seeds.",
    "median_ms": "Milliseconds of a forward pass: the median over samples, and of these over "
    "seeds. Empty where there is a reason.",
    "iqr_ms": "Interquartile range of the samples, median over seeds.",
    "speedup": "The dense network's time in the same runtime / this one's, median over samples "
    "taken in turn, and of these over seeds. For `SparseCSR` the dense network runs in `Eager`.",
    "speedup_low": "Lower end of the speedup's 95 % confidence interval; the lowest of all seeds.",
    "speedup_high": "Upper end of the same; the highest of all seeds.",
    "speedup_over_eager": "The dense network's time in `Eager` / this one's.",
    "peak_bytes": "Memory at the peak of a forward pass: parameters, inputs, and what PyTorch "
    "allocates; known in `Eager` only.",
    "file_bytes": "Bytes of a safetensors file of this network, of the masked one with a bitmask "
    "in place of its zeros; mean over seeds.",
    "memory_format": "Order of images in memory in PyTorch's runtimes: `channels_last` where it is "
    "faster for the dense and the pruned network.",
    "threads": "CPU threads.",
    "processor": "Name of the processor.",
    "reason": "Why there is no time.",
}
"""Column → definition, in the order of the table."""

_COMPARISON = ("dataset", "model", "settings", "differences", "conditions")
_IDENTITY = tuple(name for name in INFERENCE_COLUMNS if name.startswith("target_"))


def inference_table(records: Iterable[Outcome]) -> pd.DataFrame:
    """One row for each point of the leaderboard, runtime, network and batch size, over seeds.

    The columns are those of :data:`INFERENCE_COLUMNS`. Records that were not measured are left out.
    """
    groups: dict[tuple[Any, ...], list[tuple[Outcome, Inference]]] = {}
    records = sorted(records, key=lambda record: comparable(record.experiment))
    for record in records:
        point = comparable(record.experiment)
        for each in record.inference:
            key = (*point, each.batch_size, each.runtime, each.network)
            groups.setdefault(key, []).append((record, each))
    headings, called = _headings(records), told_apart(map(_version, records))
    rows = [_row(members, headings, called) for members in groups.values()]
    return pd.DataFrame(rows, columns=list(INFERENCE_COLUMNS))


def row_title(row: pd.Series[Any]) -> str:
    """The network and the data set of a row, and what tells its runs from others of them."""
    differences = row.get("differences", "")
    name = f"{row['model']} on {row['dataset']}"
    return name if pd.isna(differences) or not differences else f"{name} · {differences}"


def inference_as_text(frame: pd.DataFrame, width: int = 100) -> str:
    """The table for people: one for each comparison and batch size, a column for each runtime.

    Cells are speedups over the dense network in the same runtime; beside them are the size of the
    file relative to the dense network's, and the theoretical speedup.
    """
    frame = frame.fillna({"reason": ""})  # as it is read from CSV
    parts = []
    keys = [name for name in (*_COMPARISON, "batch_size") if name in frame]
    for (*_, batch), rows in frame.groupby(keys, sort=False, dropna=False):
        pruned, dense = rows[rows["network"] != "dense"], rows[rows["network"] == "dense"]
        columns = list(dict.fromkeys(zip(pruned["runtime"], pruned["network"], strict=True)))
        common = rows.iloc[0]
        timed = f"batch of {batch}, {common['threads']} CPU threads"
        heading = [
            *cells.wrapped(f"{row_title(common)} · {timed}", width),
            *cells.wrapped(common.get("conditions", f"settings {common['settings']}"), width),
            "Measured speedup over the dense network in the same runtime",
        ]
        lines = []
        points = ["strategy", *_IDENTITY]
        for _, point in pruned.groupby(points, sort=False, dropna=False):
            first = point.iloc[0]
            found = {(row["runtime"], row["network"]): row for _, row in point.iterrows()}
            lines.append(
                [
                    first["strategy"],
                    cells.target(first),
                    _file(point, dense),
                    f"{first['theoretical_speedup']:.2f}",
                    *(_cell(found.get(column)) for column in columns),
                ]
            )
        headers = ["strategy", "target", "file", "theory", *(f"{r}\n{n}" for r, n in columns)]
        align = ["left", *["right"] * (3 + len(columns))]
        table = tabulate(lines, headers=headers, disable_numparse=True, colalign=align)
        reasons = rows[rows["reason"] != ""].groupby(["runtime", "reason"], sort=False)
        notes = [f"— {runtime}: {reason}" for (runtime, reason), _ in reasons]
        parts.append("\n".join([*heading, "", table, *([""] if notes else []), *notes]))
    return "\n\n".join(parts)


def _headings(records: Iterable[Outcome]) -> dict[tuple[str, ...], dict[str, str]]:
    """What tells each comparison of the records from others, and what its runs have in common."""
    headings = {}
    for comparison in comparisons(leaderboard(records)):
        row = comparison.rows.iloc[0]
        headings[tuple(row.get(name, "") for name in KEY)] = {
            "differences": comparison.without_target().differences,
            "conditions": comparison.conditions,
        }
    return headings


def _version(record: Outcome) -> tuple[str, str]:
    """A record's strategy and the digest of its source."""
    point = comparable(record.experiment)
    return point.strategy, point.strategy_source


def _row(
    members: Sequence[tuple[Outcome, Inference]],
    headings: Mapping[tuple[str, ...], Mapping[str, str]],
    called: Mapping[tuple[str, str], str],
) -> dict[str, Any]:
    record, first = members[0]
    measured = [each for _, each in members if each.median_ms is not None]
    experiment = record.experiment
    point = comparable(experiment)
    return {
        "dataset": point.dataset,
        "model": point.model,
        "strategy": called[_version(record)],
        **{name: experiment.get(name.removeprefix("target_")) for name in _IDENTITY},
        "settings": point.settings,
        **headings[point.comparison],
        "runtime": first.runtime,
        "network": first.network,
        "batch_size": first.batch_size,
        "seeds": len(measured),
        "theoretical_speedup": statistics.fmean(
            (outcome.dense if first.network == "dense" else outcome.final)["theoretical_speedup"]
            or 0.0
            for outcome, _ in members
        ),
        **{
            name: statistics.median(getattr(each, name) for each in measured) if measured else None
            for name in ("median_ms", "iqr_ms", "speedup", "speedup_over_eager")
        },
        "speedup_low": min((each.speedup_low or 0.0 for each in measured), default=None),
        "speedup_high": max((each.speedup_high or 0.0 for each in measured), default=None),
        "peak_bytes": max((each.peak_bytes or 0 for each in measured), default=0) or None,
        "file_bytes": statistics.fmean(
            _file_bytes(outcome, first.network) for outcome, _ in members
        ),
        "memory_format": first.memory_format,
        "threads": record.inference_environment.get("threads"),
        "processor": record.inference_environment.get("processor"),
        "reason": "; ".join(dict.fromkeys(each.reason for _, each in members if each.reason)),
    }


def _file_bytes(record: Outcome, network: str) -> float:
    measured = record.dense if network == "dense" else record.final
    names = {
        "dense": "file_bytes",
        "masked": "file_bytes_sparse",
        "shrunk": "file_bytes_shrunk",
    }
    value = measured.get(names[network])
    return math.nan if value is None else value


def _file(rows: pd.DataFrame, dense: pd.DataFrame) -> str:
    """The smallest file of a point, relative to that of the dense network."""
    share = rows["file_bytes"].min() / dense["file_bytes"].iloc[0]
    return "—" if pd.isna(share) else f"{100 * share:.1f} %"


def _cell(row: pd.Series[Any] | None) -> str:
    return "—" if row is None or pd.isna(row["speedup"]) else f"{row['speedup']:.2f}"
