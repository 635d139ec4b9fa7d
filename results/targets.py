"""The kinds of targets: the ways to say how far to prune, each declared here and nowhere else.

Settings, command line, checks, tables, columns and axes are made of :data:`TARGETS`. What a kind
counts, and so what it costs to keep a channel, is a function in ``benchmark/target.py``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class TargetKind(ABC):
    """A way to say how far to prune: a setting of experiments, and a column of tables.

    Attributes:
        name: the setting, and what a record calls it.
        description: what the setting says, for people who give it.
        definition: what the column has, in a sentence.
        unit: what stands behind a value in tables.
        phrase: how a sentence says a value, a format.
        whole_channels: whether it takes a strategy that removes whole channels; else what is
            counted is parameters.
        whole_network: whether it is of the whole network, or of what the strategy may prune.
        achieved: the measurement that says what was achieved; empty where there is none.
        axis: the title of the axis on which plots show that; empty where none does.
        is_fraction: whether values are fractions, which people read in percent.
        higher_prunes_more: whether a higher value prunes more.
        bounds: what values may be, as pydantic's constraints.
    """

    name: str
    description: str
    definition: str
    unit: str
    phrase: str
    whole_channels: bool = False
    whole_network: bool = True
    achieved: str = ""
    axis: str = ""

    is_fraction: ClassVar[bool] = False
    higher_prunes_more: ClassVar[bool] = True
    bounds: ClassVar[Mapping[str, Any]] = {}

    @property
    def column(self) -> str:
        """The column of tables that has its values."""
        return f"target_{self.name}"

    @property
    def achieved_column(self) -> str:
        """The column of leaderboards that has what was achieved, a mean over seeds."""
        return f"{self.achieved}_mean"

    def written(self, value: float) -> str:
        """A value as it stands in tables."""
        return f"{100 * value if self.is_fraction else value:.10g}{self.unit}"

    @abstractmethod
    def is_missed(self, asked: float, achieved: float, by: float) -> bool:
        """Whether what is left differs by more than a fraction from what was to be left."""

    @abstractmethod
    def left(self, value: float, total: float) -> int:
        """How much of a total a value leaves."""

    @abstractmethod
    def value(self, left: float, total: float) -> float:
        """The value that leaves so much of a total."""


@dataclass(frozen=True)
class Fraction(TargetKind):
    """The fraction that is removed."""

    is_fraction = True
    bounds = {"ge": 0, "lt": 1}

    def is_missed(self, asked: float, achieved: float, by: float) -> bool:
        """Compares what is not removed."""
        return abs(asked - achieved) > by * (1 - asked)

    def left(self, value: float, total: float) -> int:
        """The rest."""
        return round(total) - round(value * total)

    def value(self, left: float, total: float) -> float:
        """What is missing, relative to the total."""
        return 1 - left / total


@dataclass(frozen=True)
class Ratio(TargetKind):
    """How many times less is left."""

    bounds = {"ge": 1}

    def is_missed(self, asked: float, achieved: float, by: float) -> bool:
        """Compares 1 / achieved with 1 / asked."""
        return abs(asked - achieved) > by * achieved

    def left(self, value: float, total: float) -> int:
        """One part of so many."""
        return round(total / value)

    def value(self, left: float, total: float) -> float:
        """The total, relative to what is left."""
        return total / left


COMPRESSION = Ratio(
    name="compression",
    description="parameters of the whole network / nonzero ones, at the end",
    definition="Parameters of the whole network per nonzero one that was asked for.",
    unit="×",
    phrase="{:g}×",
    achieved="compression",
    axis="Compression of the whole network",
)
SPARSITY = Fraction(
    name="sparsity",
    description="fraction of the prunable weights removed at the end",
    definition="Fraction of the prunable weights to be zero that was asked for.",
    unit=" %",
    phrase="sparsity {:g}",
    whole_network=False,
    achieved="prunable_sparsity",
)
CHANNEL_SPARSITY = Fraction(
    name="channel_sparsity",
    description="fraction of the channels removed at the end, by a strategy that removes "
    "CoupledChannels",
    definition="Fraction of the channels to be removed that was asked for.",
    unit=" % of channels",
    phrase="channel sparsity {:g}",
    whole_channels=True,
    whole_network=False,
)
SPEEDUP = Ratio(
    name="speedup",
    description="FLOPs of the dense network / FLOPs of the pruned one, at the end, by a strategy "
    "that removes CoupledChannels",
    definition="FLOPs of the unpruned network per FLOP of the pruned one that were asked for.",
    unit="× fewer FLOPs",
    phrase="speedup {:g}",
    whole_channels=True,
    achieved="theoretical_speedup",
    axis="Theoretical speedup (FLOPs)",
)

TARGETS: tuple[TargetKind, ...] = (COMPRESSION, SPARSITY, CHANNEL_SPARSITY, SPEEDUP)
"""The kinds of targets, of which an experiment has one, in the order of settings and columns."""

TARGET_NAMES = tuple(kind.name for kind in TARGETS)
TARGET_COLUMNS = tuple(kind.column for kind in TARGETS)

PLOTTED = tuple(kind for kind in TARGETS if kind.axis)
"""Those that a plot shows quality against, as far as they were achieved."""


def given(settings: Mapping[str, Any]) -> list[tuple[TargetKind, float]]:
    """The targets among an experiment's settings, of which there should be one."""
    values = ((kind, settings.get(kind.name)) for kind in TARGETS)
    return [(kind, value) for kind, value in values if value is not None]
