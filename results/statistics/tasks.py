"""Several strategies over several tasks: mean ranks, and which of them cannot be told apart.

As Demšar (2006), Statistical Comparisons of Classifiers over Multiple Data Sets, JMLR 7, has it:
the test of Friedman asks whether there is any difference, and that of Nemenyi by how much mean
ranks have to differ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .paired import LEVEL

LEAST_STRATEGIES = 3
LEAST_TASKS = 2


@dataclass(frozen=True)
class MeanRanks:
    """Ranks over tasks, 1 the best, of strategies in the order in which they were given.

    Attributes:
        means: the mean rank of each.
        tasks: how many tasks there are.
        p: of Friedman's test that all are alike.
        critical_difference: by how much two mean ranks have to differ (Nemenyi, 5 %).
    """

    means: tuple[float, ...]
    tasks: int
    p: float
    critical_difference: float

    @property
    def can_tell(self) -> bool:
        """Whether there are enough tasks to tell even the best of all from the worst of all."""
        return self.critical_difference < len(self.means) - 1

    def groups(self) -> list[tuple[int, ...]]:
        """The largest groups whose members cannot be told apart, each from the best on."""
        order = sorted(range(len(self.means)), key=lambda i: self.means[i])
        found: list[tuple[int, ...]] = []
        for place, first in enumerate(order):
            within = [
                i
                for i in order[place:]
                if self.means[i] - self.means[first] < self.critical_difference
            ]
            if len(within) > 1 and not any(set(within) <= set(group) for group in found):
                found.append(tuple(within))
        return found


def mean_ranks(scores: NDArray[Any], higher_is_better: Sequence[bool]) -> MeanRanks:
    """The mean ranks of strategies over tasks; equal scores share their mean rank.

    Args:
        scores: a row for each task, at least 2, and a column for each strategy, at least 3.
        higher_is_better: of each task whether a higher score is better.
    """
    from scipy.stats import friedmanchisquare, rankdata

    signs = np.where(higher_is_better, -1.0, 1.0)[:, None]
    ranks = rankdata(np.asarray(scores, dtype=float) * signs, axis=1)
    tasks, count = ranks.shape
    alike = bool((ranks == ranks[0, 0]).all())
    return MeanRanks(
        means=tuple(map(float, ranks.mean(axis=0))),
        tasks=tasks,
        p=1.0 if alike else float(friedmanchisquare(*ranks.T).pvalue),
        critical_difference=critical_difference(count, tasks),
    )


@cache
def critical_difference(strategies: int, tasks: int) -> float:
    """By how much two mean ranks have to differ for Nemenyi's test at 5 %."""
    from scipy.stats import studentized_range

    quantile = float(studentized_range.ppf(1 - LEVEL, strategies, math.inf)) / math.sqrt(2)
    return quantile * math.sqrt(strategies * (strategies + 1) / (6 * tasks))


def performance_profile(scores: NDArray[Any], gaps: NDArray[Any]) -> NDArray[Any]:
    """In which share of the tasks each strategy is no further from the best than so much.

    As Dolan and Moré (2002) have it, with differences in place of ratios.

    Args:
        scores: a row for each task and a column for each strategy; higher is better.
        gaps: the distances from the best, in the unit of the scores.

    Returns:
        A row for each strategy, a column for each gap.
    """
    behind = scores.max(axis=1, keepdims=True) - scores
    return np.asarray((behind[:, :, None] <= gaps + 1e-12).mean(axis=0))
