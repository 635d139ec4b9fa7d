"""The score of a suite in words: the table of methods, that of tasks, and what they leave open."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tabulate import tabulate

from ..statistics.rank_bootstrap import LEAST_TASKS
from .levels import ScoredTask
from .score import POINT, Score

_WORST = ("failed", "collapsed", "short")


def score_as_text(found: Score, tasks: Sequence[ScoredTask]) -> str:
    """Both tables and their notes."""
    return "\n\n".join([_methods(found), _tasks(found, tasks), "\n".join(_notes(found))])


def power_as_text(found: Score, draws: int) -> str:
    """How often the suite tells a method from itself, and from one that is a point better."""
    same, better = (100 * found.power(each, draws) for each in (0.0, POINT))
    return (
        f"A/A test: of {draws} simulated suites {same:.1f} % tell a method from itself under "
        f"another name\npower: {better:.1f} % tell it from one that is a point better in all tasks"
    )


def _methods(found: Score) -> str:
    """A line for each method, from the best on."""
    rows = [
        [
            str(place),
            row["method"],
            f"{row['mean_rank']:.1f} ({row['mean_rank_low']:.1f}–{row['mean_rank_high']:.1f})",
            f"{100 * row['area']:.2f}",
            f"{100 * row['hypervolume']:.1f}",
            f"{100 * row['within_a_point']:.0f} %",
            f"{row['epochs']:.0f} + {row['scoring_epochs']:.2f}",
            ", ".join(f"{row[name]} {name}" for name in _WORST if row[name]),
        ]
        for place, (_, row) in zip(found.places(), found.by_method.iterrows(), strict=True)
    ]
    headers = ["rank", "method", "mean rank", "area", "volume", "near best", "epochs", "worst"]
    aligned = ("center", "left", "right", "right", "right", "right", "right", "left")
    return _table(rows, headers, aligned)


def _tasks(found: Score, tasks: Sequence[ScoredTask]) -> str:
    """The area of each method in each task, and up to which compression little is lost."""
    cells = {
        (row["task"], row["method"]): f"{100 * row['area']:.1f} · {row['compression_at_loss']}"
        for _, row in found.by_task.iterrows()
    }
    rows = [[name, *(cells[task.name, name] for task in tasks)] for name in found.methods]
    headers = ["method", *(task.name for task in tasks)]
    return _table(rows, headers, ("left", *("right" for _ in tasks)))


def _table(rows: Sequence[Sequence[str]], headers: Sequence[str], aligned: Sequence[str]) -> str:
    table = tabulate(rows, headers=headers, disable_numparse=True, colalign=aligned)
    return "\n".join(line.rstrip() for line in table.splitlines())


def _notes(found: Score) -> list[str]:
    """What the columns are, and what the suite could not have told."""
    notes = [
        "rank: methods that share one cannot be told apart (95 %, all pairs at once; bootstrap "
        "over seeds × tasks)",
        "area: mean level along log compression in points; 100 is the dense network, 0 one that "
        "knows nothing",
        "volume: hypervolume of level and log compression; near best: tasks in which the best area "
        "is within a point",
        "epochs: trained after pruning by a seed in all tasks + as many as scoring took as long as",
        "worst: cells that count as a level of 0; by task: area · compression at the loss that the "
        "task allows",
        _smallest(found),
    ]
    return notes + [
        f"not ranked, since {count} cells have not been run: {name}"
        for name, count in found.incomplete.items()
    ]


def _smallest(found: Score) -> str:
    """What the suite could not have told."""
    if len(found.tasks) < LEAST_TASKS:
        return f"fewer than {LEAST_TASKS} tasks tell nothing apart"
    least = found.smallest_detectable()
    smallest = "over 32" if math.isinf(least) else f"{100 * least:g}"
    return (
        f"smallest difference that would have been told in 80 % of cases: {smallest} points of area"
    )
