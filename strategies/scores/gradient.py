"""Gradient magnitude pruning: a weight matters as much as the loss changes when it goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from ..axes.allocation import Allocation, Uniform
from ..evidence.context import Context
from ..scored import ScoredStrategy, Scores
from ..strategy import register


@register
@dataclass(frozen=True)
class GlobalGradientMagnitude(ScoredStrategy):
    """Prune the smallest |w · ∂L/∂w| of the whole network (Blalock et al. 2020).

    To first order this is the change of the loss when the weight alone is set to zero (Molchanov
    et al. 2017 use it for channels).

    Formula: |w · ∂L/∂w|.
    Source: Blalock, Gonzalez Ortiz, Frankle, Guttag: What is the State of Neural Network Pruning?,
        MLSys 2020, section 7.2.
    Use: on a trained network, with fine-tuning.
    Cost: one forward and one backward pass for each scoring batch.

    Args:
        batches: number of scoring batches of training examples over which L is averaged.
        batch_size: examples in each of them.
    """

    batches: Annotated[int, Field(ge=1)] = 8
    batch_size: Annotated[int, Field(ge=1)] = 128

    search_space = {"batches": (1, 8, 32)}

    def score(self, context: Context) -> Scores:
        """|w · g|, one forward and one backward pass for each scoring batch."""
        gradients = context.gradients(self.batches, self.batch_size)
        return {name: (weight * gradients[name]).abs() for name, weight in context.weights.items()}


@register
@dataclass(frozen=True)
class LayerGradientMagnitude(GlobalGradientMagnitude):
    """Prune the same fraction of each layer, the smallest |w · ∂L/∂w| of each."""

    allocation: Allocation = Uniform()
