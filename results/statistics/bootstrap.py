"""The studentised bootstrap: an interval of a mean that needs no normal distribution.

Percentile intervals of few values are far too narrow: of five normally distributed values they hold
the mean in 84 % of cases and not in 95 %, of three in 75 %. The bootstrap-t of Efron and Tibshirani
(1993, section 12.5) keeps its promise from five values on; of exponentially distributed values it
holds the mean in 92 % of cases of five, where Student's interval does in 87 %, and in 95 % of ten.
Of fewer than five, so many resamples are constant that it has no ends.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEAST_VALUES = 5
"""Of fewer values there is no interval."""

_MOST_EXACT = 6
_RESAMPLES = 9999
_SEED = 20200303
_FLAT = 1e-9


def bootstrap_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """The two-sided bootstrap-t interval of the mean of independent values.

    It is exact for up to 6 values, whose resamples are all looked at, and of 9,999 resamples beyond
    that, always the same. Of differences between pairs it is a paired interval.

    Args:
        values: the sample.
        level: how often the interval is to hold the true mean.

    Returns:
        The ends, NaN for fewer than :data:`LEAST_VALUES` values or where one is not finite.
    """
    sample = np.asarray(values, dtype=float)
    count = len(sample)
    if count < LEAST_VALUES or not np.isfinite(sample).all():
        return math.nan, math.nan
    low, high = bootstrap_intervals(sample[None], level)[0]
    return float(low), float(high)


def bootstrap_intervals(samples: NDArray[Any], level: float = 0.95) -> NDArray[Any]:
    """The intervals of several samples of one size, of at least :data:`LEAST_VALUES` values.

    Args:
        samples: a row for each.
        level: as for :func:`bootstrap_interval`.

    Returns:
        A row for each, with the two ends.
    """
    count = samples.shape[1]
    weights = _resamples(count)
    mean = samples.mean(axis=1)
    centred = samples - mean[:, None]
    spread = centred.std(axis=1, ddof=1) / math.sqrt(count)
    shift = centred @ weights.T / count
    squares = np.maximum(centred**2 @ weights.T / count - shift**2, 0)
    error = np.sqrt(squares / (count - 1))
    flat = error <= _FLAT * spread[:, None]
    with np.errstate(divide="ignore"):  # a constant resample is infinitely far off
        ratio = np.divide(shift, np.where(flat, 0, error), np.zeros_like(shift), where=shift != 0)
    tails = [(1 + level) / 2, (1 - level) / 2]
    upper, lower = np.quantile(ratio, tails, axis=1, method="inverted_cdf")
    ends = np.stack([mean - upper * spread, mean - lower * spread], axis=1)
    return np.where(spread[:, None] > 0, ends, mean[:, None])


@cache
def _resamples(count: int) -> NDArray[Any]:
    """How often each resample has each value, with a row for each resample."""
    if count <= _MOST_EXACT:
        drawn = np.indices((count,) * count).reshape(count, -1).T
    else:
        drawn = np.random.default_rng(_SEED).integers(count, size=(_RESAMPLES, count))
    return (drawn[:, :, None] == np.arange(count)).sum(axis=1).astype(float)
