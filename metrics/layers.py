"""The parameter-by-parameter table of a model: shape, density, multiply–adds."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .work import Work


class LayerRow(NamedTuple):
    """One parameter: its name and shape, how much of it is not zero, what it costs.

    ``flops`` and ``effective_flops`` are the multiply–adds of one example by the parameter, dense
    and without its zeros; 0 for biases and normalisation, None where they were not counted.
    """

    name: str
    shape: tuple[int, ...]
    parameters: int
    nonzero: int
    density: float
    flops: int | None
    effective_flops: float | None


def layer_table(model: nn.Module, work: Iterable[Work]) -> list[LayerRow]:
    """A row for each parameter of ``model``, in the order in which it registers them.

    Multiply–adds are in the row of the parameter that they multiply by, wherever it is used, and of
    the largest where the network computes a weight from several. So the rows add up to the whole
    network's but for products of activations, those of queries with keys for one.

    Args:
        model: any module.
        work: its multiply–adds of one example.
    """
    flops: Counter[str | None] = Counter()
    effective: defaultdict[str | None, float] = defaultdict(float)
    for each in work:
        flops[each.factor.weight] += each.flops
        effective[each.factor.weight] += each.effective
    return [
        _row(name, parameter, flops[name], effective[name])
        for name, parameter in model.named_parameters()
    ]


def layer_sizes(model: nn.Module) -> list[LayerRow]:
    """The same rows without multiply–adds, for which the network would have to be run."""
    return [_row(name, parameter, None, None) for name, parameter in model.named_parameters()]


def _row(name: str, parameter: Tensor, flops: int | None, effective: float | None) -> LayerRow:
    nonzero, count = int(torch.count_nonzero(parameter)), parameter.numel()
    shape = tuple(parameter.shape)
    density = nonzero / count if count else 1.0
    return LayerRow(name, shape, count, nonzero, density, flops, effective)
