"""Ranks over the tasks of a suite as intervals: a paired bootstrap over seeds × tasks.

A resample draws tasks, and of each task seeds, the same for all methods, with replacement; in each,
methods are ranked anew in every task by their mean over seeds. Two are told apart where their mean
ranks differ by more than the largest difference between any two that resamples make of nothing, at
5 % (the bootstrap of the largest standardised difference, which holds for all pairs at once; Romano
and Wolf 2005). Intervals of mean ranks are such that one method's is wrong in 5 % of cases.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .paired import LEVEL
from .ranks import Rank

LEAST_TASKS = 4
"""Of fewer tasks resamples are too much alike, and nothing is told apart."""

RESAMPLES = 1_000
_FEWER_RESAMPLES = 400
_SEED = 20261123


@dataclass(frozen=True)
class BootstrapRanks:
    """Mean ranks of methods over tasks, 1 the best, in the order in which they were given.

    Attributes:
        means: the mean rank of each.
        low: the lower end of its 95 % interval.
        high: the upper end.
        apart: for each two methods whether they are told apart.
    """

    means: NDArray[Any]
    low: NDArray[Any]
    high: NDArray[Any]
    apart: NDArray[np.bool_]

    def places(self) -> list[Rank]:
        """The ranks that each may have: after all that are surely better, before all surely worse.

        Methods that cannot be told apart have ranks in common.
        """
        better = self.apart & (self.means[None, :] < self.means[:, None])
        worse = self.apart & (self.means[None, :] > self.means[:, None])
        count = len(self.means)
        return [
            Rank(1 + int(b), count - int(w))
            for b, w in zip(better.sum(axis=1), worse.sum(axis=1), strict=True)
        ]


def bootstrap_ranks(
    scores: NDArray[Any], resamples: int = RESAMPLES, seed: int = _SEED
) -> BootstrapRanks:
    """Rank methods over tasks.

    Args:
        scores: tasks × methods × seeds, at least two of each but seeds; higher is better.
        resamples: how many are drawn.
        seed: of the draws.
    """
    tasks, methods, seeds = scores.shape
    ranks = _ranks(scores.mean(axis=2))
    means = ranks.mean(axis=0)
    rng = np.random.default_rng(seed)
    drawn = rng.integers(tasks, size=(resamples, tasks))
    chosen = rng.integers(seeds, size=(resamples, tasks, 1, seeds))
    resampled = np.take_along_axis(scores[drawn], chosen, axis=3).mean(axis=3)
    # Of so few tasks, resamples spread less than samples do.
    wider = math.sqrt(tasks / (tasks - 1))
    moved = wider * (_ranks(resampled).mean(axis=1) - means)
    ends = np.quantile(moved, [1 - LEVEL / 2, LEVEL / 2], axis=0)
    return BootstrapRanks(
        means,
        np.clip(means - ends[0], 1, methods),
        np.clip(means - ends[1], 1, methods),
        _told_apart(means, moved) & (tasks >= LEAST_TASKS),
    )


def power(scores: NDArray[Any], difference: float, draws: int, seed: int = _SEED) -> float:
    """How often a method is told apart from its double that is better by a difference.

    Suites are simulated: in each, one of the methods, all in turn, is replaced by two draws of it,
    normally distributed about its mean with its spread over seeds in each task, and the difference
    is added to one of them in all tasks. Without a difference that is the A/A test: the same method
    under two names, which should be told apart in no more than 5 % of suites.

    Args:
        scores: as for :func:`bootstrap_ranks`, with two seeds or more.
        difference: what is added, in the unit of scores.
        draws: how many suites are simulated.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    methods, found = scores.shape[1], 0
    for draw in range(draws):
        place = draw % methods
        own = scores[:, place]
        spread = own.std(axis=1, ddof=1, keepdims=True)
        two = own.mean(axis=1, keepdims=True) + spread * rng.standard_normal((2, *own.shape))
        two[1] += difference
        others = np.delete(scores, place, axis=1)
        suite = np.concatenate([two.transpose(1, 0, 2), others], axis=1)
        found += bool(bootstrap_ranks(suite, _FEWER_RESAMPLES).apart[0, 1])
    return found / draws


def _ranks(scores: NDArray[Any]) -> NDArray[Any]:
    """Ranks along the last axis, the highest score first; equal ones share their mean rank."""
    from scipy.stats import rankdata

    return np.asarray(rankdata(-scores, axis=-1))


def _told_apart(means: NDArray[Any], moved: NDArray[Any]) -> NDArray[np.bool_]:
    """Which differences of mean ranks are larger than what resamples make of none."""
    differences = moved[:, :, None] - moved[:, None, :]
    spread = differences.std(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        largest = np.nan_to_num(np.abs(differences) / spread).max(axis=(1, 2))
    least = np.quantile(largest, 1 - LEVEL) * spread
    observed = np.abs(means[:, None] - means[None, :])
    return np.asarray((observed > least) & (observed > 0))
