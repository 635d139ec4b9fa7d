"""Two samples on the same seeds: the difference, its interval, and whether chance explains it.

Pairs have the dense network and the order of the data in common, so that their differences spread
less than the values do. Two ways to judge them:

- ``t``: the paired t-test with Student's interval. It takes differences for normally distributed,
  which nobody can check on three of them, and can then show a difference with as few as that.
- ``sign-flip``: the exact permutation test (Fisher 1935), for which differences need only be as
  likely above as below zero where there is none, with the bootstrap-t interval. Its p is never less
  than 2 / 2^n of n pairs: five never reach p < 0.06, six are needed for p < 0.05.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .bootstrap import bootstrap_interval
from .sample import describe

Test = Literal["t", "sign-flip"]
"""The ways to judge differences."""

LEVEL = 0.05
"""The probability below which chance is taken for no explanation."""

MOST_EXACT = 16
"""Of more pairs ways to turn signs are drawn."""

_FLIPS = 65_535
_SEED = 19350101
_ROUNDING = 1e-9


class Paired(NamedTuple):
    """The differences of pairs, second minus first, in the unit of the values.

    ``low`` and ``high`` bound the 95 % interval of the mean difference, ``p`` is two-sided, and
    ``effect_size`` is :func:`effect_size`. ``above`` and ``below`` count pairs. What so few pairs
    do not say is NaN.
    """

    pairs: int
    difference: float
    low: float
    high: float
    p: float
    effect_size: float
    above: int
    below: int

    @property
    def half_width(self) -> float:
        """How far the further end of the interval is from the mean."""
        return max(self.high - self.difference, self.difference - self.low)

    @property
    def is_equal(self) -> bool:
        """Whether there is no difference in any pair."""
        return self.pairs > 0 and not self.above and not self.below


def compare(first: Sequence[float], second: Sequence[float], test: Test = "t") -> Paired:
    """Compare two samples pair by pair; pairs of which one is not finite are left out."""
    values = np.asarray(second, dtype=float) - np.asarray(first, dtype=float)
    values = values[np.isfinite(values)]
    found = describe(values.tolist())
    interval = (found.ci95_low, found.ci95_high) if test == "t" else bootstrap_interval(values)
    if _is_constant(values):
        interval = math.nan, math.nan
    return Paired(
        pairs=len(values),
        difference=found.mean,
        low=interval[0],
        high=interval[1],
        p=t_test(values) if test == "t" else sign_flip_test(values),
        effect_size=effect_size(values),
        above=int((values > 0).sum()),
        below=int((values < 0).sum()),
    )


def t_test(differences: NDArray[Any]) -> float:
    """The p of the paired t-test: how often chance alone makes so large a mean difference.

    Equal differences have no spread to be held against; of them the p is that of the sign-flip
    test, which is never 0. Of one pair it is NaN.
    """
    return float(means_and_p(differences[None], "t")[1][0])


def means_and_p(differences: NDArray[Any], test: Test) -> tuple[NDArray[Any], NDArray[Any]]:
    """The mean and the p of each of several samples of differences.

    Args:
        differences: a row for each, of which what is not finite is left out.
        test: how they are judged.
    """
    from scipy.special import stdtr  # scipy.stats has the same, and takes a second to import

    finite = np.isfinite(differences)
    count = finite.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        mean = np.where(finite, differences, 0).sum(axis=1) / count
        squares = np.where(finite, differences - mean[:, None], 0) ** 2
        std = np.sqrt(squares.sum(axis=1) / (count - 1))
        p = 2 * stdtr(count - 1, -np.abs(mean) / (std / np.sqrt(count)))
        has_no_spread = std <= _ROUNDING * np.abs(mean)
    p[count < 2] = math.nan
    signs = np.full(len(p), True) if test == "sign-flip" else has_no_spread & (count > 1)
    for row in np.flatnonzero(signs):
        p[row] = sign_flip_test(differences[row][finite[row]])
    return mean, p


def _is_constant(differences: NDArray[Any]) -> bool:
    """Whether differences are equal but for rounding: they have no spread to be held against."""
    if len(differences) < 2:
        return False
    std = float(differences.std(ddof=1))
    return std == 0 or std <= _ROUNDING * abs(float(differences.mean()))


def sign_flip_test(differences: NDArray[Any]) -> float:
    """The p of the permutation test that turns the sign of each difference both ways.

    It is exact for up to 16 pairs; of more, 65,535 drawn ways stand for all, always the same.
    """
    count = len(differences)
    if count == 0:
        return math.nan
    if count <= MOST_EXACT:
        ways = 1 - 2 * (np.arange(2**count)[:, None] >> np.arange(count) & 1)
    else:
        drawn = np.random.default_rng(_SEED).integers(2, size=(_FLIPS, count))
        ways = np.concatenate([np.ones((1, count), dtype=int), 1 - 2 * drawn])
    sums = np.abs(ways @ differences)
    observed = abs(float(differences.sum()))
    return float((sums >= observed - _ROUNDING * np.abs(differences).sum()).mean())


def least_p(pairs: int) -> float:
    """The smallest p that the sign-flip test of so many pairs can have."""
    return 2 / 2**pairs if pairs else 1.0


def effect_size(differences: NDArray[Any]) -> float:
    """The mean difference in standard deviations of differences (d_z), without its bias.

    The bias of small samples is taken off as Hedges (1981) does. It says how clear a difference
    is from seed to seed, not how large: alike pairs make a small difference a large effect. NaN
    for fewer than three pairs, and where all differences are equal.
    """
    count = len(differences)
    if count < 3 or _is_constant(differences):
        return math.nan
    mean, std = float(differences.mean()), float(differences.std(ddof=1))
    freedom = count - 1
    logarithm = math.lgamma(freedom / 2) - math.lgamma((freedom - 1) / 2)
    return mean / std * math.exp(logarithm) * math.sqrt(2 / freedom)


def holm(probabilities: Sequence[float]) -> list[float]:
    """The p of several tests such that any false claim among them is as rare as one of one test.

    Holm's (1979) correction; NaN stays NaN and does not count as a test.
    """
    adjusted = [math.nan] * len(probabilities)
    order = [i for i, p in enumerate(probabilities) if not math.isnan(p)]
    order.sort(key=lambda i: probabilities[i])
    largest = 0.0
    for place, i in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - place) * probabilities[i]))
        adjusted[i] = largest
    return adjusted
