"""Activation magnitude: a weight matters as much as it adds to its unit on average."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from ..axes.allocation import Allocation, Uniform
from ..calibrated import CalibratedStrategy
from ..evidence.activations import CONVOLUTIONS, mean_inputs, owners
from ..evidence.context import Context
from ..evidence.prunable import outputs_first
from ..scored import Scores
from ..strategy import register


@register
@dataclass(frozen=True)
class GlobalActivationMagnitude(CalibratedStrategy):
    """Prune the smallest weights times mean inputs of the whole network (Blalock et al. 2020).

    ShrinkBench's GlobalMagAct, for linear and convolutional layers. Inputs of opposite sign on
    different examples cancel, which they do not in ``Wanda``.

    Formula: |w_ij| · mean over positions of |mean over examples of x_j|, x_j being the input that
        the weight is multiplied with.
    Source: Blalock, Gonzalez Ortiz, Frankle, Guttag: What is the State of Neural Network Pruning?,
        MLSys 2020, with the definition in ShrinkBench, which goes with it.
    Use: on a trained network, with fine-tuning.
    Cost: one forward pass, and two more to find the examples in it.

    Args:
        batch_size: training examples, in one batch.
        sequential: whether layers are scored one after the other, on what the pruned layers before
            them give out, or all at once on the network as it was.
    """

    batch_size: Annotated[int, Field(ge=2)] = 1024

    def score(self, context: Context) -> Scores:
        """|w| · |mean input|."""
        (batch,) = context.batches(1, self.batch_size)
        means = mean_inputs(context, batch)
        weights = outputs_first(context.model, context.weights)
        scores = {name: w.abs() * _beside(w, means[name]) for name, w in weights.items()}
        return outputs_first(context.model, scores)

    def scorable(self, model: nn.Module, names: Sequence[str]) -> list[str]:
        """The weights of linear layers and convolutions."""
        return list(owners(model, names, (nn.Linear, *CONVOLUTIONS)))


@register
@dataclass(frozen=True)
class LayerActivationMagnitude(GlobalActivationMagnitude):
    """Prune the same fraction of each layer, the smallest weights times mean inputs of each.

    ShrinkBench's LayerMagAct.

    Args:
        batch_size: training examples, in one batch.
        sequential: whether layers are scored one after the other, on what the pruned layers before
            them give out, or all at once on the network as it was.
    """

    allocation: Allocation = Uniform()


def _beside(weight: Tensor, inputs: Tensor) -> Tensor:
    """One number for each input of a layer in the place of the weights that it is multiplied with.

    In a grouped convolution the inputs of a group belong to its outputs alone.
    """
    groups = len(inputs) // weight.shape[1]
    of_outputs = inputs.view(groups, -1).repeat_interleave(len(weight) // groups, 0)
    return of_outputs.view(*of_outputs.shape, *[1] * (weight.ndim - 2))
