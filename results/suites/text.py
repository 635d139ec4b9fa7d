"""The score of a suite in words: the table of methods, that of tasks, and what they leave open."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from ..statistics.rank_bootstrap import LEAST_TASKS
from ..text_table import text_table
from .score import POINT, Score

_WORST = ("failed", "collapsed", "short")


def score_as_text(found: Score) -> str:
    """Both tables and their notes."""
    return "\n\n".join([_methods(found), _tasks(found), "\n".join(notes(found))])


def standing_as_text(found: Score) -> str:
    """The table of methods alone, with its notes."""
    return "\n\n".join([_methods(found), "\n".join(notes(found))])


def power_as_text(found: Score, draws: int) -> str:
    """How often the suite tells a method from itself, and from one that is a point better."""
    same, better = (100 * found.power(each, draws) for each in (0.0, POINT))
    return (
        f"A/A test: of {draws} simulated suites {same:.1f} % tell a method from itself under "
        f"another name\npower: {better:.1f} % tell it from one that is a point better in all tasks"
    )


def worst_in_words(row: pd.Series[Any]) -> str:
    """How many cells of a method count as the worst, and why; nothing where none does."""
    return ", ".join(f"{row[name]} {name}" for name in _WORST if row[name])


def _methods(found: Score) -> str:
    """A line for each method, from the best on."""
    rows = [
        [
            str(place),
            row["method"],
            f"{row['mean_rank']:.1f} ({row['mean_rank_low']:.1f}–{row['mean_rank_high']:.1f})",
            f"{100 * row['area']:.2f}",
            f"{100 * row['hypervolume']:.1f}",
            signed(row["against_int8"]),
            f"{100 * row['within_a_point']:.0f} %",
            f"{row['epochs']:.0f} + {row['scoring_epochs']:.2f}",
            worst_in_words(row),
        ]
        for place, (_, row) in zip(found.places(), found.by_method.iterrows(), strict=True)
    ]
    headers = ["rank", "method", "mean rank", "area", "volume", "vs int8", "near best", "epochs"]
    return text_table(rows, [*headers, "worst"], "cl" + "r" * len(headers[2:]) + "l")


def _tasks(found: Score) -> str:
    """The area of each method in each task."""
    means = 100 * found.areas.mean(axis=2)
    rows = [
        [name, *(f"{area:.1f}" for area in means[:, place])]
        for place, name in enumerate(found.methods)
    ]
    headers = ["area in", *(name.replace("-", "\n") for name in found.tasks)]
    return text_table(rows, headers, "l" + "r" * len(found.tasks))


def signed(level: float) -> str:
    """A difference of levels in points, and nothing where there is none."""
    return "" if math.isnan(level) else f"{100 * level:+.1f}"


def notes(found: Score) -> list[str]:
    """What the columns of a standing are, and what the suite could not have told."""
    known = [
        "rank: methods that share one cannot be told apart (95 %, all pairs at once; bootstrap "
        "over seeds × tasks)",
        "area: mean level along log compression in points; 100 is the dense network, 0 one that "
        "knows nothing",
        "volume: hypervolume of level and log compression; near best: tasks in which the best area "
        "is within a point",
        "vs int8: level at as many bytes as the dense network with weights of 8 bits takes, minus "
        "the level of that, in tasks whose operating points reach so far",
        "epochs: trained after pruning by a seed in all tasks + as many as scoring took as long as",
        "worst: cells that count as a level of 0",
        _smallest(found),
    ]
    return known + [
        f"not ranked, since {count} cells have not been run: {name}"
        for name, count in found.incomplete.items()
    ]


def _smallest(found: Score) -> str:
    """What the suite could not have told."""
    if len(found.tasks) < LEAST_TASKS:
        return f"fewer than {LEAST_TASKS} tasks tell nothing apart"
    least = found.smallest_detectable
    smallest = "over 32" if math.isinf(least) else f"{100 * least:g}"
    return (
        f"smallest difference that would have been told in 80 % of cases: {smallest} points of area"
    )
