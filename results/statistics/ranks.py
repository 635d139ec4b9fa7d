"""Ranks as intervals: what is sure of an order, where some cannot be told apart."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .paired import LEVEL, Test, holm, means_and_p


class Rank(NamedTuple):
    """The best and the worst rank that one may have; 1 is the best of all."""

    best: int
    worst: int

    def __str__(self) -> str:
        return str(self.best) if self.best == self.worst else f"{self.best}–{self.worst}"


def rank_intervals(
    samples: Sequence[Sequence[float]], higher_is_better: bool = True, test: Test = "t"
) -> list[Rank]:
    """The ranks that samples on the same seeds may have.

    All pairs are compared (:func:`~.paired.means_and_p`), with Holm's correction over them; a rank
    is one more than the number of those that are surely better, at best, and at worst all but those
    that are surely worse. With a probability of 95 % all of these intervals hold at once, as far as
    the test's assumption does. Equal ones share the ranks that they may have.

    Args:
        samples: the values of each, seed by seed; NaN where a seed has none.
        higher_is_better: which values are better.
        test: how pairs are judged.
    """
    values = np.array(samples, dtype=float)
    pairs = list(itertools.combinations(range(len(values)), 2))
    # Of a thousand samples there are half a million pairs: those of one are judged at once.
    judged = [means_and_p(values[i + 1 :] - values[i], test) for i in range(len(values) - 1)]
    differences, p_values = ([each for part in judged for each in part[n]] for n in (0, 1))
    better = [0] * len(samples)
    worse = [0] * len(samples)
    for (i, j), difference, p in zip(pairs, differences, holm(p_values), strict=True):
        if p <= LEVEL:
            winner, loser = (j, i) if (difference > 0) == higher_is_better else (i, j)
            better[loser] += 1
            worse[winner] += 1
    return [Rank(1 + b, len(samples) - w) for b, w in zip(better, worse, strict=True)]
