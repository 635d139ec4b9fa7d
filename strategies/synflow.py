"""SynFlow: prune by the flow through the synapses, without any data."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from .context import Context
from .masks import MaskedWeights, Masks, kept
from .modes import evaluation_mode
from .schedule import Geometric
from .strategy import Scores, Strategy, register


@register
@dataclass(frozen=True)
class SynFlow(Strategy):
    """Prune the least part of the flow through the network, little by little (Tanaka et al. 2020).

    No data are used. The flow through a layer is the same for all layers, so that none is emptied
    as long as a path can be kept: the network does not collapse. Computed in float64.

    Formula: w · ∂R/∂w with R = 1ᵀ ∏ |W| 1, the sum of the outputs for an input of ones when every
        weight has its absolute value and there are no biases.
    Source: Tanaka, Kunin, Yamins, Ganguli: Pruning neural networks without any data by iteratively
        conserving synaptic flow, NeurIPS 2020, algorithm 1.
    Use: at initialisation (``start_epoch: 0``), above all for very high compression.
    Cost: one forward and one backward pass of a single example for each iteration.

    Args:
        iterations: prunings, each by the same fraction, between which the flow is computed anew.
    """

    iterations: Annotated[int, Field(ge=1)] = 100

    def score(self, context: Context) -> Scores:
        """The flow through each weight of the network as it is."""
        return _flow(_linearised(context.model), context.masks, context.task.inputs(1))

    def masks(self, context: Context, budget: int) -> Masks:
        """Keep ``budget`` weights, in ``iterations`` steps on the geometric schedule."""
        model, inputs = _linearised(context.model), context.task.inputs(1)
        start = max(1, kept(context.masks))
        for number in range(1, self.iterations + 1):
            density = Geometric().density(budget / start, number, self.iterations)
            scores = _flow(model, context.masks, inputs)
            masks = self.ranked(context, scores, max(budget, round(density * start)))
            MaskedWeights(model, masks).apply()
            context = replace(context, masks=masks)
        return masks


def _linearised(model: nn.Module) -> nn.Module:
    """A copy in float64 with absolute weights, and without biases or shifts."""
    positive = copy.deepcopy(model).double()
    with torch.no_grad():
        for name, parameter in positive.named_parameters():
            if "bias" in name.rpartition(".")[2]:
                parameter.zero_()
            else:
                parameter.abs_()
        for name, buffer in positive.named_buffers():
            if name.endswith("running_mean"):
                buffer.zero_()
    return positive


def _flow(model: nn.Module, masks: Mapping[str, Tensor], inputs: Tensor) -> dict[str, Tensor]:
    """w · ∂R/∂w of the weights in ``masks``; inputs that are indices stay what they are."""
    if inputs.is_floating_point():
        inputs = torch.ones_like(inputs, dtype=torch.float64)
    parameters = dict(model.named_parameters())
    weights = [parameters[name] for name in masks]
    with evaluation_mode(model):
        slopes = torch.autograd.grad(model(inputs).sum(), weights, materialize_grads=True)
    return {
        name: (weight * slope).detach()
        for name, weight, slope in zip(masks, weights, slopes, strict=True)
    }
