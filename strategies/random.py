"""Random pruning: the baseline that every method must beat."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .allocation import Allocation, Uniform
from .context import Context
from .strategy import Scores, Strategy, register


@register
@dataclass(frozen=True)
class Random(Strategy):
    """Prune weights drawn at random from the whole network."""

    def score(self, context: Context) -> Scores:
        """Independent draws from U(0, 1), in float64 so that ties are practically absent."""
        return {
            name: torch.rand(weight.shape, generator=context.generator, dtype=torch.float64).to(
                weight.device
            )
            for name, weight in context.weights.items()
        }


@register
@dataclass(frozen=True)
class LayerRandom(Random):
    """Prune the same fraction of each layer, drawn at random."""

    allocation: Allocation = Uniform()
