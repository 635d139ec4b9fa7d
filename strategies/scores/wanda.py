"""Wanda: a weight matters as much as the inputs that it is multiplied with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field
from torch import nn

from ..axes.allocation import Allocation, Uniform
from ..calibrated import CalibratedStrategy
from ..evidence.activations import OBSERVED, input_norms, owners
from ..evidence.context import Context
from ..scored import Scores
from ..strategy import register


@register
@dataclass(frozen=True)
class Wanda(CalibratedStrategy):
    """Prune the smallest weights times the norm of their inputs in each layer (Sun et al. 2023).

    For linear, convolutional, recurrent and embedding layers. The paper compares weights of the
    same output only, as with ``allocation=PerOutput()``, or of the groups of ``structure=NM()``.

    Formula: |w_ij| · ‖x_j‖₂, the norm of input j over the scoring examples and their positions.
    Source: Sun, Liu, Bair, Kolter: A Simple and Effective Pruning Approach for Large Language
        Models, ICLR 2024, equation 1.
    Use: on a trained network, without or with little fine-tuning.
    Cost: one forward pass for each scoring batch; if ``sequential`` one for each layer too, in a
        transformer through its block alone.

    Args:
        batches: number of scoring batches of training examples.
        batch_size: examples in each of them.
        sequential: whether layers are scored one after the other, on what the pruned layers before
            them give out, as in the paper, or all at once on the network as it was.
    """

    allocation: Allocation = Uniform()
    batches: Annotated[int, Field(ge=1)] = 8
    batch_size: Annotated[int, Field(ge=1)] = 128

    search_space = {"batches": (1, 8, 32)}

    def score(self, context: Context) -> Scores:
        """|w| · ‖x‖."""
        norms = input_norms(context, self.batches, self.batch_size)
        return {name: weight.abs() * norms[name] for name, weight in context.weights.items()}

    def scorable(self, model: nn.Module, names: Sequence[str]) -> list[str]:
        """The weights of layers whose inputs can be observed."""
        return list(owners(model, names, OBSERVED))
