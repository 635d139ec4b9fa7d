"""The numbers of a comparison as its page's script gets them: axes, qualities, strategies, rows."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from . import cells
from .columns import LATENCY_COLUMN
from .comparison import Comparison, is_random_baseline
from .drawing import Dashes, Look, looks
from .qualities import quality_in

_DASHED_LINE_WIDTH = 2
_OF_A_QUALITY = ("_mean", "_std", "_ci95_low", "_ci95_high", "_change_mean", "_by_seed")
_OF_A_SPEEDUP = ("", "_low", "_high", "_doubt")
_SEEDS = ("seeds", "seeds_collapsed", "seeds_failed", "seeds_missing")


class _Axis(NamedTuple):
    """What quality may be drawn against: a column, its title, and what its numbers are."""

    column: str
    title: str
    kind: str


_SIZES = (
    _Axis("compression_mean", "Compression of the whole network", "times"),
    _Axis("prunable_sparsity_mean", "Sparsity of the prunable weights", "percent"),
    _Axis("theoretical_speedup_mean", "Theoretical speedup (FLOPs)", "times"),
)
_COUNTS = (
    _Axis("nonzero_mean", "Nonzero parameters", "count"),
    _Axis("file_bytes_sparse_mean", "Bytes, a bitmask for zeros", "count"),
    _Axis("file_bytes_compressed_mean", "Bytes after DEFLATE", "count"),
    _Axis("file_bytes_shrunk_mean", "Bytes without removed channels", "count"),
)


def batches(rows: pd.DataFrame) -> list[int]:
    """The batches in which some network was timed."""
    timed = rows.columns[rows.notna().any()]
    columns = (LATENCY_COLUMN, "measured_speedup_batch{}", "measured_speedup_batch{}_doubt")
    pattern = "|".join(column.format(r"(\d+)") for column in columns)
    found = (re.fullmatch(pattern, name) for name in timed)
    return sorted({int(match[match.lastindex or 0]) for match in found if match})


def page_looks(everything: Iterable[Comparison]) -> dict[str, Look]:
    """What each strategy of a page looks like, as in its plots."""
    methods = [method for comparison in everything for method in comparison.methods()]
    baselines = {
        name
        for name, rows in methods
        if is_random_baseline(rows["strategy"].iloc[0], rows["strategy_source"].iloc[0])
    }
    return looks(sorted({name for name, _ in methods}), baselines)


def chart_data(comparison: Comparison, known: Mapping[str, Look]) -> dict[str, Any]:
    """The numbers of a comparison as plain data, those of the CSV file and no others.

    ``columns`` has a list for each column of the leaderboard, of which a row is a strategy
    (``method``) at a target.
    """
    methods = comparison.methods()
    rows = pd.concat([each for _, each in methods])
    qualities = [_quality(comparison, name) for name in _qualities(comparison)]
    axes = [axis for axis in _axes(rows) if _is_known(rows, axis)]
    names = [*_SEEDS, *(f"{each['name']}{end}" for each in qualities for end in _OF_A_QUALITY)]
    for axis in axes:
        ends = _OF_A_SPEEDUP if axis.column.startswith("measured") else ("",)
        names += [axis.column + end for end in ends]
    return {
        "title": comparison.title,
        "conditions": comparison.conditions,
        "qualities": qualities,
        "axes": [axis._asdict() for axis in axes],
        "methods": [_method(name, known[name]) for name, _ in methods],
        "method": [place for place, (_, each) in enumerate(methods) for _ in range(len(each))],
        "target": [cells.target(row) for _, row in rows.iterrows()],
        "columns": {
            name: [_plain(value) for value in rows[name]]
            for name in names
            if name in rows and rows[name].notna().any()
        },
    }


def as_script(data: Mapping[str, Any]) -> str:
    """Data as JSON that may stand in an element of a page whatever texts are in it."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")


def _qualities(comparison: Comparison) -> list[str]:
    """The metrics of quality of a comparison, the one by which it is judged first."""
    ends = "_dense_mean"
    known = comparison.rows.columns[comparison.rows.notna().any()]
    names = [str(name).removesuffix(ends) for name in known if str(name).endswith(ends)]
    return sorted(names, key=lambda name: name != comparison.quality)


def _quality(comparison: Comparison, name: str) -> dict[str, Any]:
    row = comparison.rows.iloc[int(comparison.rows["seeds"].to_numpy().argmax())]
    own = name == comparison.quality
    metric = comparison.metric if own else quality_in(row, name)
    return {
        "name": name,
        "title": metric.title,
        "unit": metric.unit,
        "factor": metric.factor,
        "higher": metric.higher_is_better,
        "dense": _plain(row[f"{name}_dense_mean"]),
    }


def _axes(rows: pd.DataFrame) -> Sequence[_Axis]:
    measured = [
        _Axis(
            f"measured_speedup_batch{size}{end}", f"Measured speedup, batch of {size}{of}", "times"
        )
        for size in batches(rows)
        for end, of in (("", ""), ("_shrunk", ", shrunk"))
    ]
    return (*_SIZES, *measured, *_COUNTS)


def _is_known(rows: pd.DataFrame, axis: _Axis) -> bool:
    """Whether there is a number, or a reason why there is none."""
    columns = [name for name in (axis.column, f"{axis.column}_doubt") if name in rows]
    return bool(rows[columns].notna().any(axis=None))


def _method(name: str, look: Look) -> dict[str, Any]:
    return {
        "name": name,
        "colour": look.colour,
        "marker": look.marker,
        "dash": _dash(look.dashes),
        "filled": look.filled,
    }


def _dash(dashes: Dashes) -> str:
    """A kind of line as SVG has it."""
    if isinstance(dashes, str):
        return ""
    return " ".join(f"{_DASHED_LINE_WIDTH * length:g}" for length in dashes[1])


def _plain(value: Any) -> Any:
    """A cell as JSON has it: whole numbers without a point, None where there is nothing finite."""
    if isinstance(value, str):
        return value
    if pd.isna(value) or math.isinf(value):
        return None
    return int(value) if float(value).is_integer() else float(value)
