"""What a number of quality is: its title, its unit, and which way is better.

Metrics declare theirs, a user's own as prunebench's do; records, tables and plots say what was
declared. Ours are declared here, since records hold no more of them than their names.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isfinite
from typing import Literal, get_args

from .errors import UsageError, shown

Direction = Literal["higher", "lower"]
"""Which values are better."""

PERCENT = "%"

_MOST_PLACES = 6


@dataclass(frozen=True)
class Quality:
    """A number that says how well a network does its task.

    Args:
        better: whether a ``higher`` or a ``lower`` value is better.
        title: what people call it; what its name says if left out.
        unit: of its values, if any. Fractions have the unit ``%``, and are shown in percent.

    Raises:
        UsageError: it is neither higher nor lower values that are better.
    """

    better: Direction
    title: str = ""
    unit: str = ""

    def __post_init__(self) -> None:
        if self.better not in get_args(Direction):
            raise UsageError(
                f"quality: {shown(self.better)} is not allowed: say whether a 'higher' or a "
                "'lower' value is better"
            )

    @property
    def heading(self) -> str:
        """The title with the unit."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    @property
    def is_fraction(self) -> bool:
        """Whether values are fractions, which people read in percent."""
        return self.unit == PERCENT

    @property
    def factor(self) -> float:
        """By which values are multiplied to be in the unit."""
        return 100 if self.is_fraction else 1

    @property
    def higher_is_better(self) -> bool:
        """Whether a higher value is better."""
        return self.better == "higher"

    def written(self, value: float) -> str:
        """A value in the unit, as tables have it."""
        return f"{self.factor * value:.2f}" if self.is_fraction else f"{value:.4g}"

    def written_with(self, value: float, spread: float) -> tuple[str, str]:
        """A value and one beside it, such as its spread, both to as many places after the point."""
        if not self.is_fraction and isfinite(value) and isfinite(spread):
            places = 3 - int(f"{value:.3e}".partition("e")[2])  # for four digits
            if 0 <= places <= _MOST_PLACES:
                return f"{value:.{places}f}", f"{spread:.{places}f}"
        return self.written(value), self.written(spread)


LOSS = Quality("lower", "Loss")
ACCURACY = {
    "top1": Quality("higher", "Top-1 accuracy", PERCENT),
    "top5": Quality("higher", "Top-5 accuracy", PERCENT),
    "loss": LOSS,
}
PERPLEXITY = {
    "perplexity": Quality("lower", "Perplexity"),
    "perplexity_per_word": Quality("lower", "Perplexity per word"),
    "perplexity_per_byte": Quality("lower", "Perplexity per byte"),
    "loss": LOSS,
}
BLEU_SCORE = {"bleu": Quality("higher", "BLEU")}

_OURS = (ACCURACY, PERPLEXITY, BLEU_SCORE)


def known(name: str) -> Quality | None:
    """What a number of one of our metrics is; None where none of them has that name."""
    return next((metric[name] for metric in _OURS if name in metric), None)


def titled(name: str, declared: Quality | Direction) -> Quality:
    """A number with its title: that which was declared for it, or what its name says."""
    quality = declared if isinstance(declared, Quality) else Quality(declared)
    if quality.title:
        return quality
    ours = known(name)
    if ours is not None and not quality.unit:
        return replace(ours, better=quality.better)
    return replace(quality, title=name.replace("_", " "))


def chosen_of_ours(primary: str) -> dict[str, Quality]:
    """The first number of each of our metrics that is not the one to which a primary one belongs.

    Where such a number was measured, somebody chose it beside the task's own.
    """
    firsts = {name: metric[name] for metric in _OURS for name in [next(iter(metric))]}
    own = {name for metric in _OURS if primary in metric for name in metric}
    return {name: quality for name, quality in firsts.items() if name not in own}
