"""Initialisations: from which random weights a network begins.

Each sets the weights of convolutions, linear, recurrent and embedding layers, and their biases to
zero; a recurrent layer's gates are one matrix each. Normalisation is left as it is.
"""

from __future__ import annotations

import hashlib
import pickle
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ..errors import UsageError
from ..registry import Configured, Registry

_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Embedding, nn.RNNBase)
_GATES = {"LSTM": 4, "GRU": 3}


@dataclass(frozen=True)
class Initialisation(Configured, ABC):
    """Draws a network's weights from torch's global generator, which the caller has seeded.

    Attributes:
        draws: whether the weights are others the next time.
    """

    draws: ClassVar[bool] = True

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


@INITIALISATIONS.register
@dataclass(frozen=True)
class FromFile(Initialisation):
    """The weights of a file: a state dict, as safetensors or as ``torch.save`` writes it.

    With ``--pretraining.epochs 0`` they are the dense network, as it is. What counts in an
    experiment's identity is the contents of the file.

    Args:
        path: the file; a dict that has the weights under ``state_dict`` or ``model`` will do.
    """

    draws = False

    path: str = field(kw_only=True)

    def __call__(self, model: nn.Module) -> None:
        """Load the weights, all of them.

        Raises:
            UsageError: the file cannot be read, or its weights are not those of the model.
        """
        state, own = _state_of(Path(self.path)), model.state_dict()
        missing, unknown = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
        different = [
            f"{name} {tuple(state[name].shape)} instead of {tuple(own[name].shape)}"
            for name in own
            if name in state and state[name].shape != own[name].shape
        ]
        problems = [
            f"{title} {', '.join(names[:3])}" + (f" and {len(names) - 3} more" if names[3:] else "")
            for title, names in (
                ("it lacks", missing),
                ("it has beside them", unknown),
                ("it has", different),
            )
            if names
        ]
        if problems:
            raise UsageError(
                f"initialisation FromFile: {self.path} does not have the weights of "
                f"{type(model).__name__}: {'; '.join(problems)}"
            )
        model.load_state_dict(state)

    def fill(self, weight: Tensor) -> None:
        """Leave the weight as it is."""

    @classmethod
    def identity_of(cls, arguments: Mapping[str, Any]) -> str:
        """The name with the digest of the file's contents in the place of its path."""
        path = Path(arguments["path"])
        return f"FromFile@{_digest(path, _changed(path))}"


@cache
def _digest(path: Path, changed: int) -> str:
    """SHA-256 of a file that was last changed at that time; it is read once."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _changed(path: Path) -> int:
    """When a file was last changed.

    Raises:
        UsageError: it is not there.
    """
    try:
        return path.stat().st_mtime_ns
    except OSError as error:
        raise UsageError(
            f"initialisation FromFile: path: {path} cannot be read ({error.strerror})"
        ) from None


def _state_of(path: Path) -> dict[str, Tensor]:
    _changed(path)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(
            f"initialisation FromFile: {path} holds no weights that can be read ({reason})"
        ) from None
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(t, Tensor) for t in content.values()):
        raise UsageError(f"initialisation FromFile: {path} holds no state dict")
    return content
