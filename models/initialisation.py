"""Initialisations: from which random weights a network begins.

Each sets the weights of convolutions, linear, recurrent and embedding layers, and their biases to
zero; a recurrent layer's gates are one matrix each. Normalisation is left as it is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from ..registry import Configured, Registry

_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Embedding, nn.RNNBase)
_GATES = {"LSTM": 4, "GRU": 3}


@dataclass(frozen=True)
class Initialisation(Configured, ABC):
    """Draws a network's weights from torch's global generator, which the caller has seeded."""

    def __call__(self, model: nn.Module) -> None:
        """Draw the weights of ``model`` anew, in place."""
        for module in model.modules():
            if not isinstance(module, _LAYERS):
                continue
            gates = _GATES.get(getattr(module, "mode", ""), 1)
            for name, parameter in module.named_parameters(recurse=False):
                if "bias" in name:
                    nn.init.zeros_(parameter)
                else:
                    for matrix in parameter.data.chunk(gates):
                        self.fill(matrix)
                    if (padding := getattr(module, "padding_idx", None)) is not None:
                        nn.init.zeros_(parameter.data[padding])

    @abstractmethod
    def fill(self, weight: Tensor) -> None:
        """Fill one weight matrix or kernel in place."""


INITIALISATIONS: Registry[Initialisation] = Registry(
    "initialisation", "initialisations", Initialisation, home=__package__ or ""
)


@INITIALISATIONS.register
@dataclass(frozen=True)
class Default(Initialisation):
    """The weights that the model itself draws: torch's defaults, unless its author says more."""

    def __call__(self, model: nn.Module) -> None:
        """Leave the model as it is."""

    def fill(self, weight: Tensor) -> None:
        """Leave the weight as it is."""


@INITIALISATIONS.register
@dataclass(frozen=True)
class Uniform(Initialisation):
    """U(−bound, bound) everywhere, as is usual for recurrent networks (Sutskever et al. 2014).

    Args:
        bound: the largest weight.
    """

    bound: Annotated[float, Field(gt=0)] = 0.1

    def fill(self, weight: Tensor) -> None:
        """Fill in place."""
        nn.init.uniform_(weight, -self.bound, self.bound)


@INITIALISATIONS.register
@dataclass(frozen=True)
class KaimingUniform(Initialisation):
    """U(−b, b) with b = √(6 / inputs), which keeps the scale through ReLUs (He et al. 2015)."""

    def fill(self, weight: Tensor) -> None:
        """Fill in place."""
        nn.init.kaiming_uniform_(weight, nonlinearity="relu")


@INITIALISATIONS.register
@dataclass(frozen=True)
class KaimingNormal(Initialisation):
    """N(0, 2 / inputs), which keeps the scale through ReLUs (He et al. 2015)."""

    def fill(self, weight: Tensor) -> None:
        """Fill in place."""
        nn.init.kaiming_normal_(weight, nonlinearity="relu")


@INITIALISATIONS.register
@dataclass(frozen=True)
class XavierUniform(Initialisation):
    """U(−b, b) with b = √(6 / (inputs + outputs)) (Glorot & Bengio 2010)."""

    def fill(self, weight: Tensor) -> None:
        """Fill in place."""
        nn.init.xavier_uniform_(weight)


@INITIALISATIONS.register
@dataclass(frozen=True)
class XavierNormal(Initialisation):
    """N(0, 2 / (inputs + outputs)) (Glorot & Bengio 2010)."""

    def fill(self, weight: Tensor) -> None:
        """Fill in place."""
        nn.init.xavier_normal_(weight)
