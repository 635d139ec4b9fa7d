"""Magnitude pruning: small weights matter least."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

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
class LAMP(Strategy):
    """Layer-adaptive magnitudes, ranked over the whole network (Lee et al. 2021).

    A weight counts beside those of its layer that are at least as large, so that a layer's largest
    weight scores 1, and no layer is emptied as long as others have weights to spare.
    """

    def score(self, context: Context) -> Scores:
        """w² / Σ u² over the weights u of the layer with |u| ≥ |w| (their equation 4)."""
        return {name: _lamp(weight) for name, weight in context.weights.items()}


@register
@dataclass(frozen=True)
class StructuredL1(GlobalMagnitude):
    """Prune whole filters and neurons, those of smallest L1 norm in each layer (Li et al. 2017).

    The same fraction of every layer but the output layer, which stays.
    """

    allocation: Allocation = Uniform()
    structure: Structure = Filters()


def _lamp(weight: Tensor) -> Tensor:
    # In float64: the sum runs over a whole layer, and the smallest weights are what matters.
    squares = weight.double().square().flatten()
    ascending = squares.sort().values
    at_least = ascending.flip(0).cumsum(0).flip(0)
    # Where weights tie, each counts beside all of them.
    beside = at_least[torch.searchsorted(ascending, squares)]
    return (squares / beside.clamp(min=torch.finfo(torch.float64).tiny)).view(weight.shape)
