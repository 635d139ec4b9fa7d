"""Tables in the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tabulate import tabulate

_SIDES = {"l": "left", "c": "center", "r": "right"}


def text_table(rows: Iterable[Sequence[object]], headers: Sequence[str], aligned: str = "") -> str:
    """A table whose cells are written as they are, without blanks at the ends of its lines.

    Args:
        rows: the cells of each line.
        headers: the names of columns, of one line or several.
        aligned: a letter for each column as in LaTeX, such as ``"lrr"``; all are ``l`` without.
    """
    table = tabulate(
        rows,
        headers=headers,
        disable_numparse=True,
        preserve_whitespace=True,
        colalign=[_SIDES[side] for side in aligned],
    )
    return "\n".join(line.rstrip() for line in table.splitlines())
