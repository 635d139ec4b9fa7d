"""Which way round layers keep their weights: the outputs first, or the inputs."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.conv import _ConvTransposeNd


def is_conv1d(module: nn.Module) -> bool:
    """Whether a module is what GPT-2 calls Conv1D: a linear layer, with the inputs first."""
    return type(module).__name__ == "Conv1D" and hasattr(module, "nf")


def is_transposed(module: nn.Module) -> bool:
    """Whether a module's weight has its inputs first and its outputs second.

    So it is in transposed convolutions, and in the linear layers that GPT-2 calls Conv1D.
    """
    return is_conv1d(module) or isinstance(module, _ConvTransposeNd)


def transposed_weights(model: nn.Module) -> frozenset[int]:
    """The ``id`` of each parameter of a network that has its inputs first."""
    return frozenset(
        id(parameter)
        for module in model.modules()
        if is_transposed(module)
        for parameter in module.parameters(recurse=False)
        if parameter.ndim >= 2
    )
