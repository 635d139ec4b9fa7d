"""The leaderboard as a CSV file for programs and as a table in the terminal for people."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
from tabulate import tabulate

from .comparison import Comparison, comparisons
from .store import write_atomically

_COLLAPSED = "†"
_MISSING = "—"
_FAILED = "failed"


def write_csv(frame: pd.DataFrame, path: str | Path) -> None:
    """Write a leaderboard as CSV: UTF-8, ``\\n`` line ends, six significant digits, atomically.

    Raises:
        OSError: the file could not be written; an earlier one is as it was.
    """
    text = frame.to_csv(index=False, lineterminator="\n", float_format="%.6g")
    write_atomically(Path(path), text.encode())


def as_text(frame: pd.DataFrame, width: int = 100) -> str:
    """A leaderboard as text: one table per comparison, strategies down and targets across.

    Cells are mean ± sample standard deviation over seeds of the primary quality metric. Targets
    that do not fit side by side into ``width`` characters are continued in a further table.
    """
    if frame.empty:
        return "There are no records yet."
    return "\n\n".join(_section(comparison, width) for comparison in comparisons(frame))


def _section(comparison: Comparison, width: int) -> str:
    heading = f"{comparison.title} · {comparison.conditions}"
    if comparison.quality:
        what = f"{comparison.quality_title}, mean ± std of {_count(comparison.seeds)}"
        heading += f"\n{what}; unpruned {_number(comparison, comparison.dense)}"
    table = _table(comparison, " ")
    if _width_of(table) > width:
        table = _table(comparison, "")
    return "\n".join([heading, "", *_fit(table, width), *_legend(comparison)])


def _count(seeds: int) -> str:
    return "1 seed" if seeds == 1 else f"{seeds} seeds"


def _table(comparison: Comparison, space: str) -> list[list[str]]:
    """A header and a line per strategy, the cells of a column padded to line up.

    ``space`` sets the parts of a cell apart; without it the table is narrower.
    """
    methods = comparison.methods()
    columns = [["strategy", *(name for name, _ in methods)]]
    for position in range(len(methods[0][1])):
        rows = [rows.iloc[position] for _, rows in methods]
        numbers = [_mean_and_std(comparison, row, f"{space}±{space}") for row in rows]
        marks = [_marks(row, space) for row in rows]
        number_width = max(map(len, numbers))
        mark_width = max(map(len, marks))
        columns.append(
            [
                _target(rows[0]) + " " * mark_width,
                *(
                    number.rjust(number_width) + mark.ljust(mark_width)
                    for number, mark in zip(numbers, marks, strict=True)
                ),
            ]
        )
    return [list(line) for line in zip(*columns, strict=True)]


def _fit(table: list[list[str]], width: int) -> list[str]:
    """The table as lines, its columns shared out evenly over as few tables as fit the width."""
    columns = len(table[0]) - 1
    for tables in range(1, columns + 1):
        share = math.ceil(columns / tables)
        parts = [
            [[line[0], *line[start : start + share]] for line in table]
            for start in range(1, columns + 1, share)
        ]
        if all(_width_of(part) <= width for part in parts):
            break
    return [line for part in parts for line in ["", *_lines(part)]][1:]


def _lines(table: list[list[str]]) -> list[str]:
    text = tabulate(
        table[1:],
        headers=table[0],
        disable_numparse=True,
        preserve_whitespace=True,
        colalign=["left"] + ["right"] * (len(table[0]) - 1),
    )
    return [line.rstrip() for line in text.splitlines()]


def _width_of(table: list[list[str]]) -> int:
    return max(map(len, _lines(table)))


def _target(row: pd.Series[Any]) -> str:
    if pd.isna(row["target_compression"]):
        return f"{100 * row['target_sparsity']:.10g} %"
    return f"{row['target_compression']:.10g}×"


def _mean_and_std(comparison: Comparison, row: pd.Series[Any], plus_minus: str) -> str:
    if row["seeds"] == 0:
        return _FAILED if row["seeds_failed"] else _MISSING
    mean = _number(comparison, row[f"{comparison.quality}_mean"])
    std = row[f"{comparison.quality}_std"]
    return mean if pd.isna(std) else mean + plus_minus + _number(comparison, std)


def _marks(row: pd.Series[Any], space: str) -> str:
    """What a reader must know beside the number."""
    collapsed = _COLLAPSED if row["seeds_collapsed"] else ""
    absent = row["seeds_failed"] + row["seeds_missing"]
    fewer = f"{space}({row['seeds']}/{row['seeds'] + absent})" if row["seeds"] and absent else ""
    return collapsed + fewer


def _number(comparison: Comparison, value: float) -> str:
    if math.isnan(value):
        return "not finite"
    return f"{100 * value:.2f}" if comparison.is_fraction else f"{value:.4g}"


def _legend(comparison: Comparison) -> list[str]:
    """Explanations of those marks that the table has."""
    rows = comparison.rows
    none = rows["seeds"] == 0
    absent = rows["seeds_failed"] + rows["seeds_missing"]
    notes = {
        f"{_COLLAPSED} a layer lost all of its weights in at least one seed": rows[
            "seeds_collapsed"
        ]
        > 0,
        "(n/m) n of m seeds finished": ~none & (absent > 0),
        f"{_FAILED}: every run ended in an error": none & (rows["seeds_failed"] > 0),
        f"{_MISSING} not run": none & (rows["seeds_failed"] == 0),
    }
    shown = [note for note, where in notes.items() if where.any()]
    return ["", *shown] if shown else []
