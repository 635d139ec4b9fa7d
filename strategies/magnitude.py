"""Magnitude pruning: small weights matter least."""

from __future__ import annotations

from dataclasses import dataclass

from .allocation import Allocation, Uniform
from .context import Context
from .strategy import Scores, Strategy, register
from .structure import Filters, Structure


@register
@dataclass(frozen=True)
class GlobalMagnitude(Strategy):
    """Prune the smallest weights |w| of the whole network (Han et al. 2015)."""

    def score(self, context: Context) -> Scores:
        """|w|."""
        return {name: weight.abs() for name, weight in context.weights.items()}


@register
@dataclass(frozen=True)
class LayerMagnitude(GlobalMagnitude):
    """Prune the same fraction of each layer, the smallest weights |w| of each."""

    allocation: Allocation = Uniform()


@register
@dataclass(frozen=True)
class StructuredL1(GlobalMagnitude):
    """Prune whole filters and neurons, those of smallest L1 norm in each layer (Li et al. 2017).

    The same fraction of every layer but the output layer, which stays.
    """

    allocation: Allocation = Uniform()
    structure: Structure = Filters()
