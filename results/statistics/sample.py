"""Statistics over seeds: mean, sample standard deviation and the 95 % Student-t interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple


class Statistics(NamedTuple):
    """Statistics of a sample, in the unit of its values.

    ``ci95_low`` and ``ci95_high`` bound the two-sided 95 % confidence interval of the mean.
    """

    mean: float
    std: float
    ci95_low: float
    ci95_high: float


def describe(values: Sequence[float]) -> Statistics:
    """Describe a sample of independent values.

    One value says nothing about the spread, so ``std`` and the interval are then NaN, not 0; an
    empty sample is NaN throughout, and so is one whose numbers are too large to be squared.
    """
    count = len(values)
    if count == 0:
        return Statistics(math.nan, math.nan, math.nan, math.nan)
    try:
        mean = math.fsum(values) / count
        if count == 1:
            return Statistics(mean, math.nan, math.nan, math.nan)
        std = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1))
    except OverflowError:  # of numbers whose squares are larger than numbers get
        return Statistics(math.nan, math.nan, math.nan, math.nan)
    margin = _quantile(count - 1) * std / math.sqrt(count)
    return Statistics(mean, std, mean - margin, mean + margin)


@cache
def _quantile(degrees_of_freedom: int) -> float:
    """The 97.5 % quantile of Student's t, which bounds the central 95 %."""
    from scipy.special import stdtrit  # scipy.stats has the same, and takes a second to import

    return float(stdtrit(degrees_of_freedom, 0.975))
