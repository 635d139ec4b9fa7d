"""Masks: which weights are kept, and how that is applied.

A mask is a bool tensor of its parameter's shape, True where the weight is kept. Masks live beside
the model and are multiplied in; the model stays a plain model.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

Masks = dict[str, Tensor]


def full_masks(weights: Mapping[str, Tensor]) -> Masks:
    """Masks that keep every weight; they take no memory, and are not to be written to."""
    return {
        name: torch.ones((), dtype=torch.bool, device=weight.device).expand(weight.shape)
        for name, weight in weights.items()
    }


def kept(masks: Mapping[str, Tensor]) -> int:
    """Number of weights that ``masks`` keep."""
    return sum(int(mask.count_nonzero()) for mask in masks.values())


def collapsed(masks: Mapping[str, Tensor]) -> list[str]:
    """Names of the parameters of which nothing is kept: nothing flows through such a layer."""
    return [name for name, mask in masks.items() if not mask.any()]


class MaskedWeights:
    """The masked parameters of a model, to be zeroed again after each optimizer step.

    One fused multiplication in place: it works for any module and any optimizer, and whatever
    momentum or weight decay put into a pruned weight is gone before the next forward pass.
    """

    def __init__(self, model: nn.Module, masks: Mapping[str, Tensor]) -> None:
        parameters = dict(model.named_parameters())
        self._weights = [parameters[name].detach() for name in masks]
        # In the weights' own dtype and memory format, so that the fused kernel takes its fast path.
        self._factors = [
            torch.empty_like(weight).copy_(mask)
            for weight, mask in zip(self._weights, masks.values(), strict=True)
        ]

    @torch.no_grad()
    def apply(self) -> None:
        """Set the pruned weights to zero."""
        if self._weights:
            torch._foreach_mul_(self._weights, self._factors)
