"""SNIP: which connections does the loss feel before the network has learned anything?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field

from ...precision import from_float64, in_float64
from ..evidence.context import Context
from ..evidence.derivatives import gradients
from ..evidence.modes import batch_statistics
from ..scored import ScoredStrategy, Scores
from ..strategy import register


@register
@dataclass(frozen=True)
class SNIP(ScoredStrategy):
    """Prune the weights of lowest connection sensitivity of the whole network (Lee et al. 2019).

    Batch normalisation takes its statistics from the scoring batches, since the running ones of an
    untrained network say nothing. Larger batches make better masks (the paper's figure 6).

    Formula: |w · ∂L/∂w| / Σ |w · ∂L/∂w|, the derivative of the loss by the weight's mask.
    Source: Lee, Ajanthan, Torr: SNIP: Single-shot Network Pruning based on Connection Sensitivity,
        ICLR 2019, equations 5 and 6.
    Use: at initialisation (``start_epoch: 0``), with a fine-tuning recipe as long as a training.
    Cost: one forward and one backward pass for each scoring batch.

    Args:
        batches: number of scoring batches of training examples over which L is averaged.
        batch_size: examples in each of them.
    """

    batches: Annotated[int, Field(ge=1)] = 1
    batch_size: Annotated[int, Field(ge=1)] = 128

    search_space = {"batches": (1, 4, 16)}

    def score(self, context: Context) -> Scores:
        """|w · g| as a share of the sum over all prunable weights; all zero if that is."""
        slopes = gradients(
            context.model,
            context.masks,
            context.batches(self.batches, self.batch_size),
            context.task.loss,
            context.task.examples,
            batch_statistics,
        )
        scores = {name: (weight * slopes[name]).abs() for name, weight in context.weights.items()}
        total = torch.stack([in_float64(score).sum() for score in scores.values()]).sum()
        total = total.clamp(min=torch.finfo(torch.float32).tiny)
        return {name: score / from_float64(total, score.device) for name, score in scores.items()}
