"""Axes that say what they show: limits around all values, and at least two labelled ticks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

# Labels are wider than they are high.
_TICK_DISTANCE = {"x": 0.11, "y": 0.055}
_MARGIN = 0.07
# A third of the error of the best, or five sixths of the least perplexity.
_BEYOND = {"logit": math.log(3), "log": math.log(1.2)}
_ENOUGH_TICKS = 3


@dataclass(frozen=True)
class Scale:
    """How values lie along an axis and are written beside it.

    ``forward`` and ``backward`` take a value to its place and back. ``least`` and ``most`` bound
    what has a place at all; ``span`` is the smallest distance of places that an axis covers.
    ``ladder`` has the values at which there are ticks where enough of them are in sight.
    """

    name: str
    forward: Callable[[float], float]
    backward: Callable[[float], float]
    ladder: tuple[float, ...] = ()
    least: float = -math.inf
    most: float = math.inf
    span: float = 0.0
    factor: float = 1.0
    unit: str = ""

    def clipped(self, value: float) -> float:
        """The value, or the nearest one that has a place."""
        return min(max(value, self.least), self.most)

    def written(self, value: float) -> str:
        """A value as it stands beside the axis."""
        return f"{self.factor * value:.8g}{self.unit}"

    def rounded(self, value: float) -> str:
        """A value for people, beside what it belongs to."""
        return f"{self.factor * value:.3g}{self.unit}"

    def ticks(self, low: float, high: float, apart: float) -> list[float]:
        """Values between ``low`` and ``high`` to be written, at least two.

        ``apart`` is the smallest distance of two of them as a fraction of the axis.
        """
        start, end = self.forward(low), self.forward(high)
        chosen: list[float] = []
        heights: list[float] = []
        for tick in self.ladder:
            if low <= tick <= high:
                height = (self.forward(tick) - start) / (end - start)
                if not heights or height - heights[-1] >= apart:
                    chosen.append(tick)
                    heights.append(height)
        if len(chosen) >= _ENOUGH_TICKS:
            return chosen
        for bins in range(6, 40):
            locator = MaxNLocator(nbins=bins, steps=[1, 2, 2.5, 5, 10])
            values = locator.tick_values(self.factor * low, self.factor * high)
            even = [float(value) / self.factor for value in values]
            chosen = [tick for tick in even if low <= tick <= high]
            if len(chosen) > 1:
                break
        return chosen


def _identity(value: float) -> float:
    return value


def _logit(value: float) -> float:
    return math.log(value / (1 - value))


def _from_logit(place: float) -> float:
    return 1 / (1 + math.exp(-place))


def _halvings(sparsity: Any) -> Any:
    """How often the weights were halved; of an array, as matplotlib asks, with what cannot be."""
    return -np.log2(np.maximum(1 - sparsity, 1e-12))


def _sparsity(halvings: Any) -> Any:
    return 1 - 2.0**-halvings


_PERCENT = (
    *(0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 50, 70, 80, 90, 95, 98, 99),
    *(99.5, 99.8, 99.9, 99.95, 99.98, 99.99),
)
_FROM_ZERO = (0, 50, 80, 90, 95, 98, 99, 99.5, 99.8, 99.9, 99.95, 99.98, 99.99)

LINEAR = Scale("linear", _identity, _identity)
LOGARITHMIC = Scale(
    "log",
    math.log,
    math.exp,
    ladder=tuple(digit * 10.0**power for power in range(-12, 16) for digit in (1, 2, 5)),
    least=1e-12,
    span=0.02,
)
PERCENT = Scale("linear", _identity, _identity, span=0.004, factor=100)
"""Fractions, written in percent, evenly."""

LOGIT_PERCENT = Scale(
    "logit",
    _logit,
    _from_logit,
    ladder=tuple(percent / 100 for percent in _PERCENT),
    least=0.0005,
    most=0.9999,
    span=0.04,
    factor=100,
)
"""Fractions, written in percent, spread out towards 0 and 100 where good methods differ."""

TIMES = Scale(
    "log",
    math.log2,
    lambda place: 2.0**place,
    ladder=tuple(2.0**power for power in range(-10, 31)),
    least=2.0**-10,
    span=0.1,
    unit="×",
)
"""Ratios; 1×, 2×, 4×, … are evenly apart."""

LEFT_PERCENT = Scale(
    "function",
    _halvings,
    _sparsity,
    ladder=tuple(percent / 100 for percent in _FROM_ZERO),
    most=1 - 1e-6,
    span=0.1,
    factor=100,
)
"""Sparsities in percent; half as much left is evenly apart, so that 90 and 99 % are far from it."""


def drawn_ends(scale: Scale, ends: Sequence[float], values: Sequence[float]) -> list[float]:
    """The ends of intervals as they can be drawn on a scale beside all ``values`` of a panel.

    An end that no value can have, as an accuracy above 1, comes to lie a little beyond all values
    that there can be, where a reader sees that the interval goes on.
    """
    possible = [value for value in values if scale.least < value < scale.most]
    if not possible:
        return [scale.clipped(end) for end in ends]
    beyond = _BEYOND.get(scale.name, 0.0)
    lowest = scale.backward(scale.forward(min(possible)) - beyond)
    highest = scale.backward(scale.forward(max(possible)) + beyond)
    return [
        scale.clipped(lowest if end <= scale.least else highest if end >= scale.most else end)
        for end in ends
    ]


def scale_axis(
    axes: Axes, direction: Literal["x", "y"], scale: Scale, values: Sequence[float]
) -> None:
    """Give an axis its scale, limits that have room around all finite values, and its ticks."""
    places = [scale.forward(scale.clipped(value)) for value in values if math.isfinite(value)]
    start, end = min(places), max(places)
    # Ticks of a range that is tiny beside its values could not be told apart.
    largest = max(abs(start), abs(end))
    span = scale.span or (1e-3 * largest if largest > 1e-9 else 1.0)
    missing = max(0.0, span - (end - start))
    start, end = start - missing / 2, end + missing / 2
    margin = _MARGIN * (end - start)
    low, high = (float(scale.backward(place)) for place in (start - margin, end + margin))
    functions = {"functions": (scale.forward, scale.backward)}
    arguments: dict[str, Any] = functions if scale.name == "function" else {}
    if direction == "x":
        axes.set_xscale(scale.name, **arguments)
        axes.set_xlim(low, high)
        axis: Axis = axes.xaxis
    else:
        axes.set_yscale(scale.name, **arguments)
        axes.set_ylim(low, high)
        axis = axes.yaxis
    axis.set_major_locator(FixedLocator(scale.ticks(low, high, _TICK_DISTANCE[direction])))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: scale.written(value)))
