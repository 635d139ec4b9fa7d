"""The leaderboard as a CSV file for programs and as a table in the terminal for people."""

from __future__ import annotations

import io
import math
import re
from pathlib import Path
from typing import Any

import pandas as pd

from . import cells
from .columns import FLOAT_FORMAT
from .comparison import Comparison, comparisons
from .files import write_atomically
from .naming import printable_texts
from .text_table import text_table

LEADERBOARD_FILE = "leaderboard.csv"
"""What a leaderboard is called beside its records."""

SEEDS_FILE = "seeds.csv"
"""And the table of its single runs."""

# What a text begins with that a spreadsheet takes for a formula.
_FORMULAS = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
_ESCAPED = re.compile(f"^'(?=[{re.escape(''.join(_FORMULAS))}])")


def write_csv(frame: pd.DataFrame, path: str | Path) -> None:
    """Write a table as CSV, atomically.

    Raises:
        OSError: the file could not be written; an earlier one is as it was.
    """
    write_atomically(Path(path), as_csv(frame))


def as_csv(frame: pd.DataFrame) -> bytes:
    """A table as CSV: UTF-8, ``\\n`` line ends, six significant digits.

    Texts that a spreadsheet would take for formulas, but for negative numbers, get an apostrophe
    before them (OWASP, CSV injection); line ends and the like are written as escapes.
    """
    frame = printable_texts(frame)
    texts = frame.select_dtypes(exclude="number")
    plain = frame.assign(**{str(name): texts[name].map(_no_formula) for name in texts})
    text = plain.rename(columns=_no_formula).to_csv(
        index=False, lineterminator="\n", float_format=FLOAT_FORMAT
    )
    return text.encode()


def read_csv(content: bytes) -> pd.DataFrame:
    """A table from CSV, its texts as they were before :func:`as_csv` wrote them.

    Raises:
        ValueError: it is no CSV.
    """
    frame = pd.read_csv(io.BytesIO(content))
    texts = frame.select_dtypes(exclude="number")
    plain = frame.assign(**{str(name): texts[name].map(_as_it_was) for name in texts})
    return plain.rename(columns=_as_it_was)


def _no_formula(cell: Any) -> Any:
    is_formula = isinstance(cell, str) and cell.startswith(_FORMULAS) and not _is_negative(cell)
    return f"'{cell}" if is_formula else cell


def _as_it_was(cell: Any) -> Any:
    return _ESCAPED.sub("", cell) if isinstance(cell, str) else cell


def _is_negative(text: str) -> bool:
    """Whether a text is a negative number and others after it, as the values of seeds may be."""
    try:
        list(map(float, text.split()))
    except ValueError:
        return False
    return text.startswith("-")


def as_text(frame: pd.DataFrame, width: int = cells.WIDTH) -> str:
    """A leaderboard as text: one table per comparison, strategies down and targets across.

    Cells are mean ± sample standard deviation over seeds of the primary quality metric. Targets
    that do not fit side by side into ``width`` characters are continued in a further table.
    """
    if frame.empty:
        return "There are no records yet."
    return "\n\n".join(_section(comparison, width) for comparison in comparisons(frame))


def _section(comparison: Comparison, width: int) -> str:
    heading = cells.wrapped(f"{comparison.title} · {comparison.conditions}", width)
    if comparison.quality:
        heading.append(cells.caption(comparison))
    table = _table(comparison, " ")
    if _width_of(table) > width:
        table = _table(comparison, "")
    legend = cells.legend(comparison)
    return "\n".join([*heading, "", *_fit(table, width), *([""] if legend else []), *legend])


def _table(comparison: Comparison, space: str) -> list[list[str]]:
    """A header and a line per strategy, the cells of a column padded to line up.

    ``space`` sets the parts of a cell apart; without it the table is narrower.
    """
    methods = comparison.methods()
    columns = [["strategy", *(name for name, _ in methods)]]
    for position in range(len(methods[0][1])):
        rows = [rows.iloc[position] for _, rows in methods]
        numbers = [cells.mean_and_std(comparison, row, f"{space}±{space}") for row in rows]
        marks = [cells.marks(row, space) for row in rows]
        number_width = max(map(len, numbers))
        mark_width = max(map(len, marks))
        columns.append(
            [
                cells.target(rows[0]) + " " * mark_width,
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
    for tables in range(_fewest_tables(table, width), columns + 1):
        share = math.ceil(columns / tables)
        parts = [
            [[line[0], *line[start : start + share]] for line in table]
            for start in range(1, columns + 1, share)
        ]
        if all(_width_of(part) <= width for part in parts):
            break
    return [line for part in parts for line in ["", *_lines(part)]][1:]


def _fewest_tables(table: list[list[str]], width: int) -> int:
    """How many tables it takes at least, each with the first column, for two spaces between."""
    first, *others = (max(map(len, column)) for column in zip(*table, strict=True))
    if first >= width:
        return max(len(others), 1)
    needed = math.ceil(sum(each + 2 for each in others) / (width - first))
    return max(1, min(needed, len(others)))


def _lines(table: list[list[str]]) -> list[str]:
    return text_table(table[1:], table[0], "l" + "r" * (len(table[0]) - 1)).splitlines()


def _width_of(table: list[list[str]]) -> int:
    return max(map(len, _lines(table)))
