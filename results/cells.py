"""The cells of a table of a comparison, in words and marks that every form of the table shares."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from .comparison import Comparison
from .targets import TARGETS, TargetKind

WIDTH = 100
"""How many characters a line of a terminal has."""

_TOLERANCE = 0.05
_COLLAPSED = "†"
_ASTRAY = "‡"
_MISSING = "—"
_FAILED = "failed"


def wrapped(heading: str, width: int = WIDTH) -> list[str]:
    """A heading as lines of at most ``width`` characters, broken between its parts."""
    lines: list[str] = []
    for part in heading.split(" · "):
        if lines and len(lines[-1]) + len(part) + 3 <= width:
            lines[-1] += f" · {part}"
        else:
            lines.append(part)
    return lines


def count(seeds: int) -> str:
    """How many seeds, in words."""
    return "1 seed" if seeds == 1 else f"{seeds} seeds"


def caption(comparison: Comparison) -> str:
    """What the cells of a comparison's table are, and the same of its dense networks."""
    seeds = count(comparison.seeds)
    over = seeds if comparison.seeds == 1 else f"mean ± std of {seeds}"
    return f"{comparison.metric.heading}, {over}; unpruned {number(comparison, comparison.dense)}"


def target(row: pd.Series[Any]) -> str:
    """What was asked for in a row."""
    kind, value = _asked(row)
    return kind.written(value)


def is_astray(row: pd.Series[Any]) -> bool:
    """Whether what is left differs by more than a twentieth from what was asked for.

    So it is where whole filters come no nearer, or a method does not count what it removes.
    """
    kind, asked = _asked(row)
    achieved = row.get(kind.achieved_column)
    if achieved is None or pd.isna(achieved):
        return False
    return kind.is_missed(asked, float(achieved), by=_TOLERANCE)


def mean_and_std(comparison: Comparison, row: pd.Series[Any], plus_minus: str) -> str:
    """The primary quality metric of a row over its seeds, or why there is none.

    It is empty where the row itself is not there, since a part of the table was chosen.
    """
    if row["seeds"] == 0:
        return _FAILED if row["seeds_failed"] else _MISSING if row["seeds_missing"] else ""
    mean, std = (row[f"{comparison.quality}_{name}"] for name in ("mean", "std"))
    if pd.isna(mean) or pd.isna(std):
        return number(comparison, mean)
    return plus_minus.join(comparison.metric.written_with(mean, std))


def marks(row: pd.Series[Any], space: str) -> str:
    """What a reader must know beside the number, set apart by ``space``."""
    collapsed = _COLLAPSED if row["seeds_collapsed"] else ""
    astray = _ASTRAY if is_astray(row) else ""
    absent = row["seeds_failed"] + row["seeds_missing"]
    fewer = f"{space}({row['seeds']}/{row['seeds'] + absent})" if row["seeds"] and absent else ""
    return collapsed + astray + fewer


def with_interval(row: pd.Series[Any], name: str) -> str:
    """A ratio with the ends of its interval, which are in the columns ``_low`` and ``_high``."""
    return f"{row[name]:.2f} ({row[f'{name}_low']:.2f}–{row[f'{name}_high']:.2f})"


def number(comparison: Comparison, value: float) -> str:
    """A value of the primary quality metric, fractions in percent."""
    return "not finite" if math.isnan(value) else comparison.metric.written(value)


def legend(comparison: Comparison) -> list[str]:
    """Explanations of those marks that the table has."""
    rows = comparison.rows
    none = rows["seeds"] == 0
    absent = rows["seeds_failed"] + rows["seeds_missing"]
    notes = {
        f"{_COLLAPSED} a layer lost all of its weights in at least one seed": rows[
            "seeds_collapsed"
        ]
        > 0,
        f"{_ASTRAY} what is left differs by more than 5 % from what was asked for": rows.apply(
            is_astray, axis="columns"
        ),
        "(n/m) n of m seeds finished": ~none & (absent > 0),
        f"{_FAILED}: every run ended in an error": none & (rows["seeds_failed"] > 0),
        f"{_MISSING} not run": none & (rows["seeds_failed"] == 0) & (rows["seeds_missing"] > 0),
    }
    return [note for note, where in notes.items() if where.any()]


def _asked(row: pd.Series[Any]) -> tuple[TargetKind, float]:
    """The kind of target of a row, and its value."""
    return next(
        (kind, float(value))
        for kind in TARGETS
        if not pd.isna(value := row.get(kind.column))  # an older file has not all columns
    )
