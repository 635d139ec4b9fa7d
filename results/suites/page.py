"""The score of a suite as a part of a page: the table of methods and tasks, and its notes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from .score import Score
from .text import notes, signed, worst_in_words

_WIDTH = 100
"""Of the drawn intervals, in units of their own."""


class _Task(NamedTuple):
    """A method in a task."""

    area: str
    limit: str
    is_best: bool


class _Line(NamedTuple):
    """A method: its ranks, in numbers and as places on a line, and its tasks."""

    name: str
    link: str | None
    ranks: str
    mean: str
    interval: str
    best: float
    worst: float
    low: float
    high: float
    at: float
    area: str
    int8: str
    epochs: str
    failures: str
    tasks: Sequence[_Task]


def standing_as_html(found: Score, linked: Callable[[str], str | None] | None = None) -> Markup:
    """The table of a score with its notes, in HTML.

    Args:
        found: the score.
        linked: where the page of a method is, if there is one.
    """
    html = _template().render(
        tasks=[name.split("-") for name in found.tasks],
        lines=[_line(found, place, linked) for place in range(len(found.methods))],
        notes=notes(found),
        width=_WIDTH,
    )
    return Markup(html)


@cache
def _template() -> Template:
    source = files(__package__).joinpath("standing.html.jinja").read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(source)


def _line(found: Score, place: int, linked: Callable[[str], str | None] | None) -> _Line:
    row, name, rank = found.by_method.iloc[place], found.methods[place], found.places()[place]
    low, high = row["mean_rank_low"], row["mean_rank_high"]
    return _Line(
        name=name,
        link=linked(name) if linked else None,
        ranks=str(rank),
        mean=f"{row['mean_rank']:.1f}",
        interval=f"{low:.1f}–{high:.1f}",
        best=_along(found, rank.best),
        worst=_along(found, rank.worst),
        low=_along(found, low),
        high=_along(found, high),
        at=_along(found, row["mean_rank"]),
        area=f"{100 * row['area']:.2f}",
        int8=signed(row["against_int8"]),
        epochs=f"{row['epochs']:.0f} + {row['scoring_epochs']:.1f}",
        failures=worst_in_words(row),
        tasks=_tasks(found, name),
    )


def _along(found: Score, rank: float) -> float:
    """Where a rank is on the line on which ranks are drawn."""
    return round(2 + (_WIDTH - 4) * (rank - 1) / max(1, len(found.methods) - 1), 1)


def _tasks(found: Score, name: str) -> list[_Task]:
    own: Any = found.by_task[found.by_task["method"] == name]
    best = found.by_task.groupby("task")["area"].max()
    return [
        _Task(f"{100 * area:.1f}", limit, round(area, 3) >= round(best[task], 3) > 0)
        for task, area, limit in zip(
            own["task"], own["area"], own["compression_at_loss"], strict=True
        )
    ]
