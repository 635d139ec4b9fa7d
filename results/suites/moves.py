"""What another division changes: the ranks of the same methods in two of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from ...errors import UsageError
from ..statistics.ranks import Rank
from ..text_table import text_table
from .levels import DENSE, ScoredTask
from .score import score


@dataclass(frozen=True)
class Move:
    """A method in two divisions, ranked in each among the same methods.

    Attributes:
        method: what it is called.
        ranks: those that it may have in each.
        means: its mean rank in each.
    """

    method: str
    ranks: tuple[Rank, Rank]
    means: tuple[float, float]

    @property
    def is_sure(self) -> bool:
        """Whether the ranks that it may have in one division are none of those in the other."""
        first, second = self.ranks
        return first.worst < second.best or second.worst < first.best


def moves(
    tasks: Sequence[ScoredTask],
    first: pd.DataFrame,
    second: pd.DataFrame,
) -> list[Move]:
    """The ranks of methods in two divisions, by those in the first.

    Args:
        tasks: of the suite.
        first: the runs of one division (:func:`.levels`).
        second: those of another, in which methods are called the same.

    Raises:
        UsageError: fewer than two methods are complete in both.
    """
    shared = {*_complete(tasks, first)} & {*_complete(tasks, second)}
    if len(shared - {*DENSE}) < 2:
        raise UsageError("fewer than two methods are complete in both divisions")
    one, two = (score(tasks, each[each["method"].isin(shared)]) for each in (first, second))
    return [
        Move(
            name,
            (one.places()[place], two.places()[other]),
            (float(one.ranks.means[place]), float(two.ranks.means[other])),
        )
        for place, name in enumerate(one.methods)
        for other in [two.methods.index(name)]
    ]


def moves_as_text(found: Sequence[Move], divisions: Sequence[str]) -> str:
    """A line for each method, and how many ranks are others."""
    rows = [
        [
            each.method,
            *(
                f"{rank} (mean {mean:.1f})"
                for rank, mean in zip(each.ranks, each.means, strict=True)
            ),
            "yes" if each.is_sure else "",
        ]
        for each in found
    ]
    headers = ["method", *(f"rank in {name}" for name in divisions), "surely another"]
    table = text_table(rows, headers)
    others = sum(each.means[0] != each.means[1] for each in found)
    sure = sum(each.is_sure for each in found)
    return (
        f"{table}\n\nof {len(found)} methods in both divisions {others} have another mean rank, "
        f"{sure} by more than their intervals"
    )


def _complete(tasks: Sequence[ScoredTask], runs: pd.DataFrame) -> list[str]:
    """Methods of which all cells have been run."""
    wanted = sum(len(task.points) * len(task.seeds) for task in tasks)
    counts = runs.groupby("method").size()
    return [str(name) for name in counts.index[counts == wanted]]
