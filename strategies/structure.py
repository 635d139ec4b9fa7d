"""Structures: which weights are removed together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..registry import Configured, Registry


@dataclass(frozen=True)
class Structure(Configured, ABC):
    """Divides each weight tensor into units that stay or go as a whole.

    Attributes:
        spares_output: whether the output layer is left alone, since removing a unit of it would
            remove a class.
    """

    spares_output: ClassVar[bool] = False

    @abstractmethod
    def units(self, weight: Tensor) -> Tensor:
        """``weight``, or anything of its shape, as a matrix (units × weights in a unit)."""

    def sizes(self, weight: Tensor) -> Tensor | None:
        """Number of weights in each unit of ``weight`` (int64), where units differ; else None."""
        return None

    def admissible(self, scores: Tensor) -> Tensor | None:
        """Which weights may be kept at all, a bool tensor of the shape of ``scores``; None: all.

        Of those that compete for a place (:class:`NM`) the highest scores are.
        """
        return None

    def most(self, weight: Tensor) -> int:
        """The most weights of ``weight`` that this structure can keep."""
        return weight.numel()

    def expand(self, kept_units: Tensor, mask: Tensor) -> Tensor:
        """The mask of a weight from its kept units: of the shape of ``mask``, and no more in it."""
        rows = self.units(mask)
        return (kept_units.unsqueeze(1) & rows).view(mask.shape)


STRUCTURES: Registry[Structure] = Registry(
    "structure", "structures", Structure, home=__package__ or ""
)


@STRUCTURES.register
@dataclass(frozen=True)
class Unstructured(Structure):
    """Every weight by itself."""

    def units(self, weight: Tensor) -> Tensor:
        """One row for each weight."""
        return weight.reshape(-1, 1)


@STRUCTURES.register
@dataclass(frozen=True)
class Filters(Structure):
    """All weights that make one output channel of a convolution or one unit of a linear layer.

    The output layer stays. Biases are not removed with the filter.
    """

    spares_output = True

    def units(self, weight: Tensor) -> Tensor:
        """One row for each output channel (the first dimension)."""
        return weight.reshape(weight.shape[0], -1)
