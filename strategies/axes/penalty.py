"""Penalties: added to the training loss, so that weights come out small, or zero in groups.

They are an option of any training recipe (``penalty: L1(strength=1e-5)``) and act on the weights
that may be pruned, whatever the strategy.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ...errors import UsageError
from ...hyperparameters import Configured
from ...registry import Registry
from ..evidence.prunable import outputs_first, prunable_weights
from .structure import Filters, Structure


@dataclass(frozen=True)
class Penalty(Configured, ABC):
    """A differentiable function of a model's weights, to be added to the loss.

    Attributes:
        concerns: what it is a function of, in words.
    """

    concerns: ClassVar[str] = "prunable weights"

    strength: Annotated[float, Field(gt=0)] = 1e-4

    def __call__(self, model: nn.Module) -> Tensor:
        """``strength`` times the sum of the penalty over the weights it concerns; a scalar."""
        terms = [self.of(weight) for weight in self.weights(model)]
        return self.strength * torch.stack(terms).sum() if terms else torch.zeros(())

    def weights(self, model: nn.Module) -> list[Tensor]:
        """The parameters that the penalty concerns, outputs first: the prunable ones."""
        parameters = dict(model.named_parameters())
        prunable = {name: parameters[name] for name in prunable_weights(model)}
        return list(outputs_first(model, prunable).values())

    def check(self, model: nn.Module) -> None:
        """Make sure, before anything is trained, that the penalty concerns something.

        Raises:
            UsageError: there is nothing of the kind in the model.
        """
        if not self.weights(model):
            raise UsageError(
                f"penalty: {self} is not allowed: {type(model).__name__} has no {self.concerns}"
            )

    @abstractmethod
    def of(self, weight: Tensor) -> Tensor:
        """The penalty of one parameter, a scalar."""


PENALTIES: Registry[Penalty] = Registry("penalty", "penalties", Penalty, home=__name__)


@PENALTIES.register
@dataclass(frozen=True)
class L1(Penalty):
    """λ·Σ|w|: pulls every weight towards zero with the same force (Han et al. 2015).

    Args:
        strength: λ.
    """

    def of(self, weight: Tensor) -> Tensor:
        """Σ|w|."""
        return weight.abs().sum()


@PENALTIES.register
@dataclass(frozen=True)
class L2(Penalty):
    """λ·½·Σw²: pulls large weights harder; for SGD the same as weight decay λ of these weights.

    Args:
        strength: λ.
    """

    def of(self, weight: Tensor) -> Tensor:
        """½·Σw²."""
        return weight.square().sum() / 2


@PENALTIES.register
@dataclass(frozen=True)
class LInf(Penalty):
    """λ·Σ max|w| over layers: pulls only the largest weights, so that sizes become alike.

    Args:
        strength: λ.
    """

    def of(self, weight: Tensor) -> Tensor:
        """max|w|."""
        return weight.abs().max()


@PENALTIES.register
@dataclass(frozen=True)
class GroupLasso(Penalty):
    """λ·Σ √n·‖w_g‖₂ over groups: whole groups of n weights become zero (Wen et al. 2016).

    Args:
        strength: λ.
        structure: which weights are a group.
    """

    structure: Structure = Filters()

    def of(self, weight: Tensor) -> Tensor:
        """Σ √n·‖w_g‖₂ (the factor of Yuan & Lin 2006, which makes groups of any size equal)."""
        groups = self.structure.units(weight)
        # The norm has no gradient at zero, where a group stays once it is there.
        return groups.shape[1] ** 0.5 * torch.linalg.vector_norm(groups, dim=1).sum()


@PENALTIES.register
@dataclass(frozen=True)
class NormalisationScale(Penalty):
    """λ·Σ|γ| over batch normalisations: network slimming's penalty (Liu et al. 2017).

    Args:
        strength: λ.
    """

    concerns = "batch normalisation with scales"

    def weights(self, model: nn.Module) -> list[Tensor]:
        """The scales of batch normalisations."""
        layers = (module for module in model.modules() if isinstance(module, _BatchNorm))
        return [layer.weight for layer in layers if isinstance(layer.weight, nn.Parameter)]

    def of(self, weight: Tensor) -> Tensor:
        """Σ|γ|."""
        return weight.abs().sum()
