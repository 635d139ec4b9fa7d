"""Initialisations: from which random weights a network begins.

Each sets the weights of convolutions, linear, recurrent and embedding layers and of attention, and
their biases to zero; a recurrent layer's gates are one matrix each, and so are attention's queries,
keys and values, and the groups of a transposed convolution. Normalisation is left as it is.
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from ..errors import UsageError
from ..hyperparameters import Configured
from ..orientation import is_conv1d, is_transposed
from ..registry import Registry

_LAYERS = (nn.Linear, _ConvNd, nn.Embedding, nn.RNNBase, nn.MultiheadAttention)
_GATES = {"LSTM": 4, "GRU": 3}
_OF_ATTENTION = 3

# Standard deviation of N(0, 1) between -2 and 2.
_STD_WITHIN_TWO = 0.8796256610342398


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
            if not (isinstance(module, _LAYERS) or is_conv1d(module)):
                continue
            turned = is_transposed(module)
            gates = _GATES.get(getattr(module, "mode", ""), 1)
            # With the inputs first a kernel has those of all its groups, otherwise those of one.
            groups = getattr(module, "groups", 1) if turned else 1
            for name, parameter in module.named_parameters(recurse=False):
                if "bias" in name:
                    nn.init.zeros_(parameter)
                else:
                    matrices = _OF_ATTENTION if name == "in_proj_weight" else gates * groups
                    for matrix in parameter.data.chunk(matrices):
                        self.fill(matrix.transpose(0, 1) if turned else matrix)
                    if (padding := getattr(module, "padding_idx", None)) is not None:
                        nn.init.zeros_(parameter.data[padding])

    @abstractmethod
    def fill(self, weight: Tensor) -> None:
        """Fill one weight matrix or kernel in place."""


INITIALISATIONS: Registry[Initialisation] = Registry(
    "initialisation", "initialisations", Initialisation, home=__name__
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
class LeCunNormal(Initialisation):
    """N(0, 1 / inputs) cut off at two standard deviations, then widened to that variance again.

    TensorFlow's variance scaling at its defaults, from which SNIP's authors begin (LeCun et al.
    1998).
    """

    def fill(self, weight: Tensor) -> None:
        """Fill in place."""
        std = 1 / (_STD_WITHIN_TWO * math.sqrt(weight[0].numel()))
        nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)


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
        path: the file; a dict that has the weights under ``state_dict``, ``model_state_dict`` or
            ``model`` will do, and so will names that DataParallel or torch.compile have begun with
            ``module.`` or ``_orig_mod.``.
    """

    draws = False

    path: str = field(kw_only=True)

    def __call__(self, model: nn.Module) -> None:
        """Load the weights, all of them.

        Raises:
            UsageError: the file cannot be read, or its weights are not those of the model.
        """
        state = _unwrapped(_state_of(Path(self.path)), model.state_dict().keys())
        load_state(model, state, f"initialisation FromFile: {self.path}")

    def fill(self, weight: Tensor) -> None:
        """Leave the weight as it is."""

    @classmethod
    def identity_of(cls, arguments: Mapping[str, Any]) -> str:
        """The name with the digest of the file's contents in the place of its path."""
        path = Path(arguments["path"])
        return f"FromFile@{_digest(path, _changed(path))}"


def load_state(model: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Give a network the parameters and buffers of ``source``, all of them.

    Raises:
        UsageError: ``state`` has other names or shapes than the network, or no plain tensors.
    """
    own = model.state_dict()
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
            f"{source} does not have the weights of {type(model).__name__}: {'; '.join(problems)}"
        )
    try:
        model.load_state_dict(state)
    except RuntimeError as error:  # sparse and quantised tensors, among others
        reason = str(error).splitlines()[-1].strip()
        raise UsageError(
            f"{source} does not have the weights of {type(model).__name__}: {reason}"
        ) from None


_KEYS = ("state_dict", "model_state_dict", "model")
"""Under which of these a dict may have the weights."""

_WRAPPERS = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before all names."""


@cache
def _digest(path: Path, changed: int) -> str:
    """SHA-256 of a file that was last changed at that time; it is read once."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _changed(path: Path) -> int:
    """When a file was last changed.

    Raises:
        UsageError: it is not there, cannot be read, or is no file.
    """
    try:
        with path.open("rb"):
            about = path.stat()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(
            f"initialisation FromFile: path: {path} cannot be read ({reason})"
        ) from None
    return about.st_mtime_ns


def _state_of(path: Path) -> dict[str, Tensor]:
    _changed(path)
    try:
        content = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except Exception:  # other files make torch raise all kinds, and advise to execute what is there
        raise UsageError(
            f"initialisation FromFile: {path} holds no weights that can be read: give a state dict "
            "as safetensors (with that suffix) or as torch.save writes it, of tensors alone, such "
            "as model.state_dict() and not the model"
        ) from None
    for key in _KEYS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in content.items()
    ):
        raise UsageError(
            f"initialisation FromFile: {path} holds no state dict: save model.state_dict() alone, "
            f"or in a dict under {', '.join(_KEYS[:-1])} or {_KEYS[-1]}"
        )
    return content


def _unwrapped(state: dict[str, Tensor], own: Iterable[str]) -> dict[str, Tensor]:
    """A state dict without what wrappers have put before each of its names.

    Args:
        state: as it was saved.
        own: the names that the network has itself.
    """
    while state and state.keys().isdisjoint(own):
        shared = [each for each in _WRAPPERS if all(name.startswith(each) for name in state)]
        if not shared:
            break
        state = {name.removeprefix(shared[0]): tensor for name, tensor in state.items()}
    return state
