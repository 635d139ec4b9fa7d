"""Magnitude pruning: small weights matter least."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...precision import from_float64, in_float64
from ..axes.allocation import Allocation, Uniform
from ..axes.structure import Filters, Structure
from ..evidence.context import Context
from ..scored import ScoredStrategy, Scores
from ..strategy import register


@register
@dataclass(frozen=True)
class GlobalMagnitude(ScoredStrategy):
    """Prune the smallest weights of the whole network (Han et al. 2015).

    Formula: |w|.
    Source: Han, Pool, Tran, Dally: Learning both Weights and Connections for Efficient Neural
        Networks, NeurIPS 2015, section 3.
    Use: on a trained network, with fine-tuning; the first thing to compare anything with.
    Cost: no passes.
    """

    def score(self, context: Context) -> Scores:
        """|w|."""
        return {name: weight.abs() for name, weight in context.weights.items()}


@register
@dataclass(frozen=True)
class LayerMagnitude(GlobalMagnitude):
    """Prune the same fraction of each layer, the smallest weights of each (Han et al. 2015)."""

    allocation: Allocation = Uniform()


@register
@dataclass(frozen=True)
class LAMP(ScoredStrategy):
    """Layer-adaptive magnitudes, ranked over the whole network (Lee et al. 2021).

    A weight counts beside those of its layer that are at least as large, so that a layer's largest
    weight scores 1, and no layer is emptied as long as others have weights to spare.

    Formula: w² / Σ u² over the weights u of the layer with |u| ≥ |w|.
    Source: Lee, Park, Mo, Ahn, Shin: Layer-adaptive Sparsity for the Magnitude-based Pruning, ICLR
        2021, equation 4.
    Use: on a trained network, with fine-tuning, where one ranking of magnitudes empties layers.
    Cost: no passes; each layer is sorted.
    """

    def score(self, context: Context) -> Scores:
        """w² / Σ u² over the weights u of the layer with |u| ≥ |w| (their equation 4)."""
        return {name: _lamp(weight) for name, weight in context.weights.items()}


@register
@dataclass(frozen=True)
class StructuredL1(GlobalMagnitude):
    """Prune whole filters and neurons, those of smallest L1 norm in each layer (Li et al. 2017).

    The same fraction of every layer but the output layer, which stays.

    Formula: Σ |w| over the filter.
    Source: Li, Kadav, Durdanovic, Samet, Graf: Pruning Filters for Efficient ConvNets, ICLR 2017,
        section 3.1.
    Use: on a trained network, with fine-tuning, to make it smaller rather than sparse.
    Cost: no passes.
    """

    allocation: Allocation = Uniform()
    structure: Structure = Filters()


@register
@dataclass(frozen=True)
class StructuredL2(StructuredL1):
    """Prune whole filters and neurons, those of smallest L2 norm in each layer.

    The same fraction of every layer but the output layer, which stays.

    Formula: √Σ w² over the filter.
    Source: the other norm of Li, Kadav, Durdanovic, Samet, Graf: Pruning Filters for Efficient
        ConvNets, ICLR 2017, section 3.1.
    """

    def unit_scores(self, scores: Tensor) -> Tensor:
        """The L2 norm."""
        return torch.linalg.vector_norm(scores, dim=1)


@register
@dataclass(frozen=True)
class StructuredLInf(StructuredL1):
    """Prune whole filters and neurons, those whose largest weight is smallest in each layer.

    The same fraction of every layer but the output layer, which stays.

    Formula: max |w| over the filter.
    Source: as an L∞ norm, beside those of Li, Kadav, Durdanovic, Samet, Graf: Pruning Filters for
        Efficient ConvNets, ICLR 2017, section 3.1.
    """

    def unit_scores(self, scores: Tensor) -> Tensor:
        """The largest |w|."""
        return scores.amax(1)


def _lamp(weight: Tensor) -> Tensor:
    # In float64: the sum runs over a whole layer, and the smallest weights are what matters.
    squares = in_float64(weight).square().flatten()
    ascending = squares.sort().values
    at_least = ascending.flip(0).cumsum(0).flip(0)
    # Where weights tie, each counts beside all of them.
    beside = at_least[torch.searchsorted(ascending, squares)]
    scores = squares / beside.clamp(min=torch.finfo(torch.float64).tiny)
    return from_float64(scores.view(weight.shape), weight.device)
