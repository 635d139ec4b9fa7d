"""A run in a line, and in a short table for a terminal or a notebook, from plain data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from ..errors import printable
from ..quality import Quality
from .naming import shown
from .targets import given

Lines = Sequence[tuple[str, str, str]]
"""What was measured, of the dense and of the pruned network."""

_COUNTS = {"nonzero": "Parameters not zero", "effective_flops": "FLOPs by weights not zero"}
_RATIOS = {
    "compression": "Compression (×)",
    "prunable_sparsity": "Sparsity of prunable weights",
    "theoretical_speedup": "Theoretical speedup (×)",
}


def title(experiment: Mapping[str, Any]) -> str:
    """What tells an experiment, given as the data in its record, from others of its sweep."""
    kind, value = given(experiment)[0]
    return printable(
        f"{shown(experiment['strategy'])} at {kind.phrase.format(value)} on "
        f"{shown(experiment['model'])} and "
        f"{shown(experiment['dataset'])}, seed {experiment['seed']}"
    )


def standing(status: str, collapsed_layers: Iterable[str]) -> str:
    """How a run ended, in words."""
    dead = ", ".join(map(printable, collapsed_layers))
    return f"collapsed: nothing is left of {dead}" if dead else status


def lines(
    qualities: Mapping[str, Quality],
    dense: Mapping[str, float | None],
    final: Mapping[str, float | None],
) -> Lines:
    """The numbers of quality, sizes and costs of both networks, as far as they were measured."""
    ways = {
        **{name: (each.heading, each.written) for name, each in qualities.items()},
        **{name: (heading, "{:,.0f}".format) for name, heading in _COUNTS.items()},
        **{name: (heading, "{:.4g}".format) for name, heading in _RATIOS.items()},
    }
    return [
        (printable(heading), _cell(dense, name, written), _cell(final, name, written))
        for name, (heading, written) in ways.items()
        if name in final
    ]


def _cell(measured: Mapping[str, float | None], name: str, written: Any) -> str:
    if name not in measured:
        return ""
    return "not finite" if (value := measured[name]) is None else str(written(value))


def as_text(heading: str, rows: Lines) -> str:
    """A heading, and a table where there is anything to put into it."""
    from .text_table import text_table

    if not rows:
        return heading
    return f"{heading}\n{text_table(rows, ('', 'dense', 'pruned'), 'lrr')}"


def as_html(heading: str, rows: Lines) -> str:
    """The same as HTML, in which nothing but the table is markup."""
    head = "".join(f"<th>{each}</th>" for each in ("", "dense", "pruned"))
    body = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(dense)}</td><td>{escape(pruned)}</td></tr>"
        for name, dense, pruned in rows
    )
    caption = "<br>".join(escape(line) for line in heading.splitlines())
    table = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>" if rows else ""
    return f"<table><caption>{caption}</caption>{table}</table>"


def duration(seconds: float) -> str:
    """A time with two digits, in the largest unit of which it has two.

    >>> duration(9000)
    '2.5 hours'
    """
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{float(f'{seconds / length:.2g}'):g} {unit}"
    return f"{seconds:.0f} seconds"
