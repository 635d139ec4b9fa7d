"""Low-rank adaptation: what is added to the weights that are left is trained, and they are not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization, remove_parametrizations

from ...errors import UsageError
from ...orientation import is_transposed
from ..evidence.activations import owners
from .recovery import RECOVERIES, History, Recovery, State


@RECOVERIES.register
@dataclass(frozen=True)
class LoRA(Recovery):
    """Train low-rank additions to the linear layers' weights that are left (Hu et al. 2022).

    A weight becomes W + mask ⊙ (alpha / rank · B·A), of which B and A are trained by the
    fine-tuning recipe, and all other weights stay as they are; batch normalisation goes on learning
    its statistics. As the product is masked in every step (Zimmer et al. 2023), adding it to W in
    the end changes no output and revives no weight.

    Args:
        rank: columns of B and rows of A.
        alpha: how much the product counts, before it is divided by the rank.
    """

    adapts = True

    rank: Annotated[int, Field(ge=1)] = 8
    alpha: Annotated[float, Field(gt=0)] = 16.0

    def start(self, history: History) -> State | None:
        """The pruned weights as they are."""
        return None

    def check(self, model: nn.Module, names: Iterable[str]) -> None:
        """Make sure that there are linear layers among those that are pruned."""
        self._layers(model, names)

    @contextmanager
    def adapting(
        self, model: nn.Module, masks: Mapping[str, Tensor], generator: torch.Generator
    ) -> Iterator[None]:
        """While it lasts, B and A are what is trained; afterwards they are in the weights."""
        layers = self._layers(model, masks)
        trained = [each for each in model.parameters() if each.requires_grad]
        for parameter in trained:
            parameter.requires_grad_(False)
        for name, layer in layers.items():
            scale = self.alpha / self.rank
            added = _LowRank(layer, masks[name], self.rank, scale, generator)
            register_parametrization(layer, "weight", added)
        try:
            yield
        finally:
            for layer in layers.values():
                _merge(layer)
            for parameter in trained:
                parameter.requires_grad_()

    def _layers(self, model: nn.Module, names: Iterable[str]) -> dict[str, nn.Module]:
        """The linear layers with one of the weights of these names to themselves.

        Raises:
            UsageError: there is none.
        """
        found = owners(model, names, (nn.Linear,))
        layers = {name: modules[0] for name, modules in found.items() if len(modules) == 1}
        if not layers:
            raise UsageError(
                f"recovery: {self} is not allowed: {type(model).__name__} has no linear layer "
                "among those that are pruned"
            )
        return layers


class _LowRank(nn.Module):
    """Adds to a layer's weight a masked product of two small matrices, of which one is zero."""

    mask: Tensor

    def __init__(
        self, layer: nn.Module, mask: Tensor, rank: int, scale: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        weight = layer.get_parameter("weight")
        self._scale, self._transposed = scale, is_transposed(layer)
        outputs, inputs = reversed(weight.shape) if self._transposed else weight.shape
        # As a linear layer of as many inputs begins. Drawn on the CPU, so that devices agree.
        drawn = (2 * torch.rand(rank, inputs, generator=generator) - 1) * inputs**-0.5
        self.right = nn.Parameter(drawn.to(weight))
        self.left = nn.Parameter(weight.new_zeros(outputs, rank))
        self.register_buffer("mask", mask.to(weight.device), persistent=False)

    def forward(self, weight: Tensor) -> Tensor:
        product = self.left @ self.right
        return weight + self._scale * (product.T if self._transposed else product) * self.mask


def _merge(layer: nn.Module) -> None:
    """Have a layer keep the weight that it computes, in the old place among its parameters."""
    remove_parametrizations(layer, "weight", leave_parametrized=True)
    if getattr(layer, "bias", None) is not None:
        layer.register_parameter("bias", layer._parameters.pop("bias"))
