"""Masks: which weights are kept, and how that is applied.

A mask is a bool tensor of its parameter's shape, True where the weight is kept. Masks live beside
the model and are multiplied in; the model stays a plain model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import torch
from torch import Tensor, nn

Masks = Mapping[str, Tensor]


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


class PackedMasks(Mapping[str, Tensor]):
    """Masks that take a bit for each weight; each is unpacked when it is asked for."""

    def __init__(self) -> None:
        self._bits: dict[str, tuple[np.ndarray, torch.Size, torch.device]] = {}

    def add(self, name: str, mask: Tensor) -> None:
        """Keep the mask of a parameter."""
        bits = np.packbits(mask.flatten().cpu().numpy())
        self._bits[name] = bits, mask.shape, mask.device

    def in_order(self, names: Iterable[str]) -> PackedMasks:
        """The masks of these parameters, in this order."""
        ordered = PackedMasks()
        ordered._bits = {name: self._bits[name] for name in names}
        return ordered

    def __getitem__(self, name: str) -> Tensor:
        bits, shape, device = self._bits[name]
        flat = np.unpackbits(bits, count=shape.numel())
        return torch.from_numpy(flat).bool().view(shape).to(device)

    def __iter__(self) -> Iterator[str]:
        return iter(self._bits)

    def __len__(self) -> int:
        return len(self._bits)


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
