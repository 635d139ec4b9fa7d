"""The leaderboard's tables for papers and pages: Markdown, LaTeX with booktabs, and HTML.

They have the cells of the table in the terminal. A mean is bold where its strategy is surely
better than all others at the target (paired t-tests on the same seeds, with Holm's correction):
what cannot be told apart has no winner.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pandas as pd

from . import cells
from .comparison import Comparison, comparisons
from .statistics.ranks import rank_intervals
from .tables import as_csv, as_text

_BOLD = "bold: surely better than all others there (paired t-tests, Holm's correction, 5 %)"
_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "[": "{[}",  # at the start of a row it would be the argument of the line break before it
    "]": "{]}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "×": r"$\times$",
    "±": r"$\pm$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "·": r"$\cdot$",
    "†": r"\textsuperscript{\dag}",
    "‡": r"\textsuperscript{\ddag}",
    "—": "---",
    "–": "--",
}
_EXPONENT = re.compile(r"e([+-][0-9]+)$")


class _Cell(NamedTuple):
    """What stands in a cell; ``std`` is empty of one seed, and where ``mean`` is no number."""

    mean: str
    std: str
    marks: str
    is_best: bool


class _Table(NamedTuple):
    """A comparison as a table, in plain words."""

    title: str
    conditions: str
    caption: str
    targets: list[str]
    rows: list[tuple[str, list[_Cell]]]
    notes: list[str]


def as_markdown(frame: pd.DataFrame) -> str:
    """A leaderboard as Markdown, with a table for each comparison."""
    return "\n\n".join(_markdown(_table(each)) for each in comparisons(frame))


def as_latex(frame: pd.DataFrame) -> str:
    """A leaderboard as LaTeX, with a table for each comparison; it takes the package booktabs."""
    tables = [_latex(_table(each), place) for place, each in enumerate(comparisons(frame), 1)]
    return "\n\n".join(["% \\usepackage{booktabs}", *tables])


def as_html(frame: pd.DataFrame) -> str:
    """A leaderboard as HTML to stand in a page, with a table for each comparison."""
    return "\n".join(_html(_table(each)) for each in comparisons(frame))


FORMATS: dict[str, Callable[[pd.DataFrame], str]] = {
    "text": as_text,
    "markdown": as_markdown,
    "latex": as_latex,
    "html": as_html,
    "csv": lambda frame: as_csv(frame).decode().rstrip("\n"),
}
"""How a leaderboard may be written, by name."""


def _table(comparison: Comparison) -> _Table:
    methods = comparison.methods()
    columns = [
        _column(comparison, [rows.iloc[place] for _, rows in methods])
        for place in range(len(methods[0][1]))
    ]
    lines = list(map(list, zip(*columns, strict=True)))
    has_best = any(cell.is_best for line in lines for cell in line)
    return _Table(
        title=comparison.title,
        conditions=comparison.conditions,
        caption=cells.caption(comparison) if comparison.quality else "",
        targets=[cells.target(row) for _, row in methods[0][1].iterrows()],
        rows=[(name, line) for (name, _), line in zip(methods, lines, strict=True)],
        notes=[*([_BOLD] if has_best else []), *cells.legend(comparison)],
    )


def _column(comparison: Comparison, rows: Sequence[pd.Series[Any]]) -> list[_Cell]:
    """The cells of all strategies at a target."""
    values = [_by_seed(comparison, row) for row in rows]
    ranks = rank_intervals(values, not comparison.quality or comparison.metric.higher_is_better)
    found = []
    for row, rank in zip(rows, ranks, strict=True):
        mean, _, std = cells.mean_and_std(comparison, row, "±").partition("±")
        is_best = len(rows) > 1 and rank.worst == 1
        found.append(_Cell(mean, std, cells.marks(row, " "), is_best))
    return found


def _by_seed(comparison: Comparison, row: pd.Series[Any]) -> list[float]:
    """The values of a row that lacks no seed, and so has them in the order of all others."""
    values = row.get(f"{comparison.quality}_by_seed")
    complete = row["seeds"] == comparison.seeds and isinstance(values, str)
    return list(map(float, str(values).split())) if complete else [float("nan")] * comparison.seeds


def _markdown(table: _Table) -> str:
    def cell(each: _Cell) -> str:
        mean = f"**{each.mean}**" if each.is_best else each.mean
        return (f"{mean} ± {each.std}" if each.std else mean) + each.marks

    header = ["strategy", *table.targets]
    lines = [
        f"**{_in_markdown(table.title)}**<br>",
        f"{_in_markdown(table.conditions)}<br>",
        _in_markdown(table.caption),
        "",
        f"| {' | '.join(header)} |",
        f"| --- |{' ---: |' * len(table.targets)}",
        *(f"| {' | '.join([_in_markdown(name), *map(cell, row)])} |" for name, row in table.rows),
    ]
    notes = [f"\n{'<br>'.join(map(_in_markdown, table.notes))}"] if table.notes else []
    return "\n".join([*lines, *notes])


def _in_markdown(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>|#~])", r"\\\1", text)


def _latex(table: _Table, place: int) -> str:
    """A table as LaTeX, whose label has its place among those that are written beside it."""

    def cell(each: _Cell) -> str:
        if not each.mean[:1].isdigit() and not each.mean.startswith("-"):
            return _in_latex(each.mean + each.marks)
        mean, std = map(_power_of_ten, (each.mean, each.std))
        mean = rf"\mathbf{{{mean}}}" if each.is_best else mean
        number = rf"${mean} \pm {std}$" if std else f"${mean}$"
        return number + _in_latex(each.marks)

    caption = ". ".join(filter(None, [table.title, table.conditions, table.caption, *table.notes]))
    return "\n".join(
        [
            r"\begin{table}",
            r"  \centering",
            rf"  \caption{{{_in_latex(caption)}.}}",
            rf"  \label{{tab:prunebench-{place}}}",
            rf"  \begin{{tabular}}{{l{'r' * len(table.targets)}}}",
            r"    \toprule",
            f"    Strategy & {' & '.join(map(_in_latex, table.targets))} \\\\",
            r"    \midrule",
            *(
                f"    {_in_latex(name)} & {' & '.join(map(cell, row))} \\\\"
                for name, row in table.rows
            ),
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
        ]
    )


def _power_of_ten(number: str) -> str:
    return _EXPONENT.sub(lambda found: rf" \times 10^{{{int(found[1])}}}", number)


def _in_latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)


def _html(table: _Table) -> str:
    def cell(each: _Cell) -> str:
        mean = html.escape(each.mean)
        mean = f"<strong>{mean}</strong>" if each.is_best else mean
        std = f"\u202f±\u202f{html.escape(each.std)}" if each.std else ""
        return f"<td>{mean}{std}{html.escape(each.marks)}</td>"

    words = [table.title, table.conditions, table.caption, *table.notes]
    heads = "".join(f'<th scope="col">{html.escape(each)}</th>' for each in table.targets)
    rows = [
        f'<tr><th scope="row">{html.escape(name)}</th>{"".join(map(cell, row))}</tr>'
        for name, row in table.rows
    ]
    return "\n".join(
        [
            "<table>",
            f"<caption>{'<br>'.join(map(html.escape, filter(None, words)))}</caption>",
            f'<thead><tr><th scope="col">strategy</th>{heads}</tr></thead>',
            "<tbody>",
            *rows,
            "</tbody>",
            "</table>",
        ]
    )
