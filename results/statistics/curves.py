"""Quality over compression, summed up: the mean along the curve, and how far quality holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.integrate import trapezoid


class Limit(NamedTuple):
    """A compression, which is only known to be less (``<``) or more (``>``) where that is said."""

    compression: float
    beyond: str = ""

    def __str__(self) -> str:
        return f"{self.beyond} {self.compression:.3g}×".strip()

    @property
    def order(self) -> float:
        """What limits are sorted by: those that are more come after all that are known."""
        return {"<": 0.0, "": self.compression, ">": math.inf}[self.beyond]


def mean_quality(
    compression: Sequence[float], quality: Sequence[float], low: float, high: float
) -> float:
    """The area under quality against log compression, by the width: the mean along the curve.

    It is in the unit of quality, whatever the base of the logarithm. Between points the curve is
    straight (the trapezoid rule).

    Args:
        compression: that of each point, in any order, all different.
        quality: the value of each point.
        low: the compression at which the curve begins to count.
        high: that at which it ends, above ``low``.

    Returns:
        The mean, NaN where the points do not reach from ``low`` to ``high`` or one is not finite.
    """
    if not _all_finite(compression, quality) or not low < high:
        return math.nan
    order = np.argsort(compression)
    x = np.log(np.asarray(compression, dtype=float)[order])
    y = np.asarray(quality, dtype=float)[order]
    ends = np.log([low, high])
    rounding = 1e-9
    if x[0] > ends[0] + rounding or x[-1] < ends[1] - rounding:
        return math.nan
    inner = (x > ends[0]) & (x < ends[1])
    places = np.concatenate([ends[:1], x[inner], ends[1:]])
    return float(trapezoid(np.interp(places, x, y), places) / (ends[1] - ends[0]))


def compression_at_loss(
    compression: Sequence[float], loss: Sequence[float], most: float
) -> Limit | None:
    """Up to which compression no more is lost than so much, read off straight lines.

    Lines go through the points along log compression, and the first crossing counts. Where the
    first point has lost more, the compression is less than its own, and where none has, more than
    the last one's. Loss that is not finite counts as more.

    Args:
        compression: that of each point, in any order.
        loss: how much worse than the unpruned network each point is.
        most: the most that may be lost.

    Returns:
        The compression; None where there is no point.
    """
    before: tuple[float, float] | None = None
    for here, lost in sorted(zip(compression, loss, strict=True)):
        if not lost <= most:
            return (
                Limit(here, "<") if before is None else Limit(_crossing(before, (here, lost), most))
            )
        before = (here, lost)
    return None if before is None else Limit(before[0], ">")


def _crossing(before: tuple[float, float], after: tuple[float, float], most: float) -> float:
    """Where the line between two points has lost so much."""
    if not math.isfinite(after[1]):
        return before[0]
    part = (most - before[1]) / (after[1] - before[1])
    return math.exp(math.log(before[0]) + part * math.log(after[0] / before[0]))


def _all_finite(*values: Sequence[float]) -> bool:
    return all(len(each) > 0 and np.isfinite(each).all() for each in values)
