"""The parameter-by-parameter table of a model: shape, density, multiply–adds."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from .flops import flops_by_module


class LayerRow(NamedTuple):
    """One parameter: its name and shape, how much of it is not zero, what it costs.

    ``flops`` and ``effective_flops`` are the multiply–adds of one example in which the parameter
    takes part, dense and without the zeros; 0 for biases and normalisation.
    """

    name: str
    shape: tuple[int, ...]
    parameters: int
    nonzero: int
    density: float
    flops: int
    effective_flops: float


def layer_table(model: nn.Module, example: Tensor) -> list[LayerRow]:
    """A row for each parameter of ``model``, in the order in which it registers them.

    Args:
        model: any module.
        example: an input batch of one example.
    """
    by_module = flops_by_module(model, example)
    return [
        _row(name, parameter, _share(model, name, parameter, by_module[name.rpartition(".")[0]]))
        for name, parameter in model.named_parameters()
    ]


def _row(name: str, parameter: Tensor, flops: int) -> LayerRow:
    nonzero = int(torch.count_nonzero(parameter))
    density = nonzero / parameter.numel()
    shape = tuple(parameter.shape)
    return LayerRow(name, shape, parameter.numel(), nonzero, density, flops, flops * density)


def _share(model: nn.Module, name: str, parameter: Tensor, flops: int) -> int:
    """A module's multiply–adds, divided among its weight matrices by their size."""
    if parameter.ndim < 2:
        return 0
    module = model.get_submodule(name.rpartition(".")[0])
    total = sum(weight.numel() for weight in module.parameters(recurse=False) if weight.ndim >= 2)
    return round(flops * parameter.numel() / total)
