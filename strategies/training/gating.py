"""Run-time channel gating: which channels are computed is decided for each input anew."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from ..evidence.context import Context
from ..evidence.prunable import Prunable
from ..scores.channels import following_normalisations
from ..strategy import Capabilities, Strategy, register
from .sparse_training import SparseTraining


@register
@dataclass(frozen=True)
class FeatureBoosting(Strategy):
    """Compute only the channels that a small predictor expects to matter for the input (Gao 2019).

    Feature boosting and suppression. No weight is removed and a few are added, so that the record's
    compression is a little below 1; what is saved are multiply–adds, reported as their mean over
    test examples. The target says which fraction of a convolution's channels stays open: 0.75 of
    the channels are suppressed at a sparsity of 0.75, from the first round on.

    Formula: each channel times πᵢ, π = the k largest of max(0, φ · mean |x| + ρ), the others 0,
        k = ⌈density · channels⌉; mean |x| is that of each input channel over its positions.
    Source: Gao, Zhao, Dudziak, Mullins, Xu: Dynamic Channel Pruning: Feature Boosting and
        Suppression, ICLR 2019, equations 3 to 9.
    Use: on a trained network of convolutions, with fine-tuning, where inputs differ in difficulty.
    Cost: no scoring; in every forward pass one small linear layer for each convolution.

    Args:
        penalty: λ, the weight in the loss of the mean sum of saliencies, which makes them sparse.
    """

    penalty: Annotated[float, Field(ge=0)] = 1e-8

    search_space = {"penalty": (1e-9, 1e-8, 1e-7)}

    @property
    def capabilities(self) -> Capabilities:
        """No weight is removed."""
        return Capabilities(removes="nothing")

    def prune(self, context: Context, budget: int) -> SparseTraining:
        """Training of all weights that are left: none is removed."""
        return SparseTraining(context.model, dict(context.masks))

    def removable(self, model: nn.Module, prunable: Prunable) -> list[str]:
        """The weights of convolutions of several channels, the output layer excepted.

        Of an adapted network those that have gates.
        """
        modules = dict(model.named_modules())
        gated = {
            f"{name}.convolution"
            for name, module in modules.items()
            if isinstance(module, GatedConvolution)
        } or {name for name, module in modules.items() if _has_channels(module)}
        names = [name for name in prunable.names if name not in prunable.outputs]
        return [name for name in names if name.removesuffix(".weight") in gated]

    def adapt(
        self, model: nn.Module, names: Sequence[str], density: float, generator: torch.Generator
    ) -> nn.Module:
        """A copy in which each convolution, with the normalisation after it, has a gate."""
        adapted = copy.deepcopy(model)
        normalisations = following_normalisations(adapted)
        for weight in names:
            name = weight.removesuffix(".weight")
            normalisation: nn.Module = nn.Identity()
            if (scale := normalisations.get(weight)) is not None:
                place = scale.removesuffix(".weight")
                normalisation = adapted.get_submodule(place)
                adapted.set_submodule(place, nn.Identity())
            convolution = adapted.get_submodule(name)
            assert isinstance(convolution, nn.Conv2d)  # removable() names no others
            gated = GatedConvolution(convolution, normalisation, density, self.penalty, generator)
            adapted.set_submodule(name, gated)
        return adapted


class GatedConvolution(nn.Module):
    """A convolution, with its normalisation, of which each input opens a few channels only.

    Args:
        convolution: the convolution.
        normalisation: what follows it before the gate.
        density: fraction of the channels that are open, rounded up.
        penalty: weight in the loss of the mean sum of saliencies.
        generator: draws the predictor's weights.

    Attributes:
        closes_channels: says to whoever counts multiply–adds that closed channels of
            ``convolution`` need not be computed.
        loss_factor: by what the loss is multiplied in the training under way, and so the penalty.
    """

    closes_channels = True
    loss_factor = 1.0

    def __init__(
        self,
        convolution: nn.Conv2d,
        normalisation: nn.Module,
        density: float,
        penalty: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.convolution, self.normalisation = convolution, normalisation
        weight = convolution.weight
        self.predictor = nn.utils.skip_init(
            nn.Linear, convolution.in_channels, convolution.out_channels, dtype=weight.dtype
        )
        with torch.no_grad():
            # Kaiming's normal distribution, and a bias of one: at first all channels count alike.
            scale = (2 / convolution.in_channels) ** 0.5
            drawn = torch.randn(self.predictor.weight.shape, generator=generator) * scale
            self.predictor.weight.copy_(drawn)
            self.predictor.bias.fill_(1)
        self.predictor.to(weight.device)
        # A budget in whole weights may be a little above the density, which opens no channel more.
        self.open = max(1, ceil(density * convolution.out_channels - 0.01))
        self._penalty = penalty

    def forward(self, images: Tensor) -> Tensor:
        """The open channels times their saliencies; the closed ones are zero."""
        saliencies = self.predictor(images.abs().mean((2, 3))).relu()
        if self.training and self._penalty:
            saliencies = _Penalised.apply(saliencies, self._penalty * self.loss_factor)
        best = saliencies.topk(self.open, dim=1)
        gates = torch.zeros_like(saliencies).scatter(1, best.indices, best.values)
        features: Tensor = self.normalisation(self.convolution(images))
        return features * gates[:, :, None, None]


class _Penalised(torch.autograd.Function):
    """The identity, with the gradient of λ · mean over examples of Σ saliencies added to it."""

    @staticmethod
    def forward(ctx: Any, saliencies: Tensor, penalty: float) -> Tensor:
        ctx.slope = penalty / len(saliencies)
        return saliencies.view_as(saliencies)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient + ctx.slope, None


def _has_channels(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and module.out_channels > 1
