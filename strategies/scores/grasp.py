"""GraSP: keep the flow of gradients through an untrained network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from ...datasets import Batch
from ..evidence.context import Context
from ..evidence.derivatives import gradients, hessian_product
from ..evidence.modes import batch_statistics
from ..scored import ScoredStrategy, Scores
from ..strategy import register


@register
@dataclass(frozen=True)
class GraSP(ScoredStrategy):
    """Prune weights whose removal keeps or raises the norm of the gradient (Wang et al. 2020).

    The score has a sign: what lowers the norm of the gradient by being there goes first. Batch
    normalisation takes its statistics from the scoring batches.

    Formula: w · (H g), where g is the gradient and H the Hessian of the loss of logits divided by
        the temperature; the lowest go (the paper ranks −w · Hg and removes the highest).
    Source: Wang, Zhang, Grosse: Picking Winning Tickets Before Training by Preserving Gradient
        Flow, ICLR 2020, equation 8 and algorithm 1.
    Use: at initialisation (``start_epoch: 0``), with a fine-tuning recipe as long as a training.
    Cost: two forward passes and three backward passes for each scoring batch, one of them through
        the graph of another.

    Args:
        batches: number of scoring batches of training examples over which L is averaged.
        batch_size: examples in each of them; the paper takes ten of every class.
        temperature: by which logits are divided.
    """

    batches: Annotated[int, Field(ge=1)] = 1
    batch_size: Annotated[int, Field(ge=1)] = 128
    temperature: Annotated[float, Field(gt=0)] = 200.0

    search_space = {"batches": (1, 4, 16), "temperature": (1.0, 20.0, 200.0)}

    def score(self, context: Context) -> Scores:
        """w · (H g), both derivatives on the same batches."""
        batches = list(context.batches(self.batches, self.batch_size))

        def loss(model: nn.Module, batch: Batch) -> Tensor:
            return context.task.loss(_Tempered(model, self.temperature), batch)

        model, mode = context.model, batch_statistics
        examples = context.task.examples
        slope = gradients(model, context.masks, batches, loss, examples, mode)
        product = hessian_product(model, slope, batches, loss, examples, mode)
        return {name: weight * product[name] for name, weight in context.weights.items()}


class _Tempered(nn.Module):
    """A model whose outputs are divided by a temperature."""

    def __init__(self, model: nn.Module, temperature: float) -> None:
        super().__init__()
        self.model, self.temperature = model, temperature

    def forward(self, *inputs: Tensor) -> Tensor:
        outputs: Tensor = self.model(*inputs)
        return outputs / self.temperature
