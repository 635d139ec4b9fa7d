"""Masks: which weights are kept, how exactly that many are chosen, and how they are applied.

A mask is a bool tensor of its parameter's shape, True where the weight is kept. Masks live beside
the model and are multiplied in; the model stays a plain model.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

Masks = dict[str, Tensor]


def full_masks(weights: Mapping[str, Tensor]) -> Masks:
    """Masks that keep every weight."""
    return {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()}


def kept(masks: Mapping[str, Tensor]) -> int:
    """Number of weights that ``masks`` keep."""
    return sum(int(mask.sum()) for mask in masks.values())


def collapsed(masks: Mapping[str, Tensor]) -> list[str]:
    """Names of the parameters of which nothing is kept: nothing flows through such a layer."""
    return [name for name, mask in masks.items() if not mask.any()]


def keep_largest(scores: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Choose exactly ``count`` of the largest ``scores``; ``generator`` draws lots among equals.

    Args:
        scores: of any shape, without NaN.
        count: how many to keep; below 0 counts as 0, above ``scores.numel()`` as all.

    Returns:
        A bool tensor of the shape of ``scores``.
    """
    if count <= 0:
        return torch.zeros_like(scores, dtype=torch.bool)
    if count >= scores.numel():
        return torch.ones_like(scores, dtype=torch.bool)
    flat = scores.reshape(-1)
    threshold = flat.kthvalue(flat.numel() - count + 1).values
    chosen = flat > threshold
    equals = (flat == threshold).nonzero().squeeze(1)
    missing = count - int(chosen.sum())
    lots = torch.randperm(len(equals), generator=generator)[:missing]
    chosen[equals[lots.to(equals.device)]] = True
    return chosen.view(scores.shape)


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
