"""Random pruning: the baseline that every method must beat."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...precision import from_float64
from ..axes.allocation import Allocation, Uniform
from ..axes.structure import Filters, Structure
from ..evidence.context import Context
from ..scored import ScoredStrategy, Scores
from ..strategy import register


@register
@dataclass(frozen=True)
class Random(ScoredStrategy):
    """Prune weights drawn at random from the whole network.

    Formula: U(0, 1), drawn from the experiment's seed.
    Source: the baseline of Blalock, Gonzalez Ortiz, Frankle, Guttag: What is the State of Neural
        Network Pruning?, MLSys 2020, section 7.
    Use: as the baseline that a method must beat.
    Cost: no passes.
    """

    def score(self, context: Context) -> Scores:
        """Independent draws from U(0, 1), in float64 so that ties are practically absent."""
        return {
            name: from_float64(
                torch.rand(weight.shape, generator=context.generator, dtype=torch.float64),
                weight.device,
            )
            for name, weight in context.weights.items()
        }

    def unit_scores(self, scores: Tensor) -> Tensor:
        """One of the unit's draws: their sum would be the larger, the larger the unit is."""
        return scores[:, 0]


@register
@dataclass(frozen=True)
class LayerRandom(Random):
    """Prune the same fraction of each layer, drawn at random."""

    allocation: Allocation = Uniform()


@register
@dataclass(frozen=True)
class StructuredRandom(Random):
    """Prune whole filters and neurons drawn at random, the same fraction of each layer.

    Formula: U(0, 1) for each filter.
    """

    allocation: Allocation = Uniform()
    structure: Structure = Filters()
