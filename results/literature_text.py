"""The register of published numbers as text: for the terminal, and as a section of a page."""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import get_args

from .literature import Paper, Reproduction, Row, Verdict
from .statistics import describe
from .text_table import text_table

_BY_HEART = "*"
_WIDTH = 100
_INDENT = "    "
_VERDICTS: tuple[str, ...] = get_args(Verdict)


def as_text(reproductions: Sequence[Reproduction]) -> str:
    """Published numbers beside ours, paper by paper, and how many there are of each verdict."""
    papers = [_paper(paper, list(some)) for paper, some in groupby(reproductions, _paper_of)]
    lines = [counted(reproductions)]
    if any(not each.row.read for each in reproductions):
        lines.append(f"{_BY_HEART} written down by heart, not looked up")
    return "\n\n".join([*papers, "\n".join(lines)])


def counted(reproductions: Iterable[Reproduction]) -> str:
    """How many published numbers there are, and how many of each verdict."""
    verdicts = Counter(each.verdict for each in reproductions)
    reproduced, missed, *rest = (verdicts[name] for name in get_args(Verdict))
    return (
        f"{verdicts.total()} published numbers: {reproduced + missed} run here ({reproduced} "
        f"reproduced, {missed} missed), {rest[0]} set out, {rest[1]} that cannot be run here"
    )


def as_markdown(reproductions: Sequence[Reproduction]) -> str:
    """The numbers of each verdict paper by paper, and every miss with its reason, for a page."""
    lines = [f"{counted(reproductions)}.", ""]
    lines += [f"| paper | numbers | {' | '.join(_VERDICTS)} |", "| --- |" + " ---: |" * 5]
    for paper, some in groupby(sorted(reproductions, key=_year), _paper_of):
        verdicts = Counter(each.verdict for each in some)
        numbers = [verdicts.total(), *(verdicts[name] for name in get_args(Verdict))]
        cells = " | ".join(str(number or "") for number in numbers)
        lines.append(f"| [{paper.authors} {paper.year}]({paper.url}) | {cells} |")
    lines += ["", "What was missed, ours minus the published number, and why:", ""]
    for row, some in groupby([e for e in reproductions if e.verdict == "missed"], lambda e: e.row):
        lines += _missed(row, list(some))
    return "\n".join(lines) + "\n"


def _missed(row: Row, some: Sequence[Reproduction]) -> list[str]:
    lines = []
    for explanation, those in groupby(some, lambda each: each.explanation):
        cells = ", ".join(f"{each.difference:+.2f} at {each.at}" for each in those)
        paper = some[0].paper
        lines.append(f"- {paper.authors} {paper.year}, {row}: {cells}. {explanation}")
    return lines


def _paper_of(each: Reproduction) -> Paper:
    return each.paper


def _year(each: Reproduction) -> tuple[int, str]:
    return each.paper.year, each.paper.authors


def _paper(paper: Paper, some: Sequence[Reproduction]) -> str:
    heading = [f"{paper.authors} {paper.year}: {paper.title}", paper.url]
    rows = [_row(row, list(cells)) for row, cells in groupby(some, lambda each: each.row)]
    return "\n\n".join(["\n".join(heading), *rows])


def _row(row: Row, some: Sequence[Reproduction]) -> str:
    heading = f"  {row}{'' if row.read else ' ' + _BY_HEART}"
    if row.cannot:
        numbers = "; ".join(f"{each.at}: {each.cell.value:g}" for each in some)
        body = [*_wrapped(numbers), *_wrapped(f"cannot be run here: {row.cannot}")]
    else:
        body = _table(some)
        body += [line for text in _explanations(some) for line in _wrapped(text)]
    return "\n".join([heading, *(f"{_INDENT}{line}" for line in body)])


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH - len(_INDENT))


def _table(some: Sequence[Reproduction]) -> list[str]:
    headers = ("at", "published", "ours", "seeds", "difference", "allowed", "verdict")
    return text_table(map(_line, some), headers, "lrrrrrl").splitlines()


def _line(each: Reproduction) -> list[str]:
    tolerance = each.row.tolerance_of(each.cell)
    published = _with_spread(each.cell.value, each.cell.spread)
    if not each.values:
        return [each.at, published, "", "", "", f"{tolerance:g}", each.verdict]
    ours = describe(each.values)
    return [
        each.at,
        published,
        _with_spread(round(ours.mean, 2), None if math.isnan(ours.std) else round(ours.std, 2)),
        str(len(each.values)),
        f"{each.difference:+.2f}",
        f"{tolerance:g}",
        each.verdict,
    ]


def _with_spread(value: float, spread: float | None) -> str:
    return f"{value:g}" if spread is None else f"{value:g} ± {spread:g}"


def _explanations(some: Iterable[Reproduction]) -> list[str]:
    return list(dict.fromkeys(each.explanation for each in some if each.verdict == "missed"))
