"""Nodes: numbers for the positions of a network's tensors, and tensors of such numbers.

Every position along the outputs and inputs of a layer, and along each bias, scale or statistic, is
a *node*. The nodes of a tensor's elements are a tensor of as many dimensions, of size 1 along those
on which they do not depend.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

FIXED = 0
"""The node of all that stays."""

Nodes = Mapping[str, Mapping[int, Tensor]]
"""Name of a parameter or buffer → dimension → the node of each position along it."""


def number_nodes(model: nn.Module) -> tuple[Nodes, int]:
    """Give a node to each position that may be removable, and the number of nodes.

    They are positions along outputs and inputs of linear layers and convolutions, and along
    parameters and buffers with one dimension (or one that is larger than 1). The one position
    along a dimension of size 1, and what several modules share, is fixed.
    """
    owners: dict[int, int] = {}
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            owners[id(parameter)] = owners.get(id(parameter), 0) + 1
    count = 1
    nodes: dict[str, dict[int, Tensor]] = {}
    for path, module in model.named_modules():
        tensors = dict(module.named_parameters(recurse=False))
        tensors |= dict(module.named_buffers(recurse=False))
        for name, tensor in tensors.items():
            if owners.get(id(tensor), 1) > 1:
                continue
            for dim in _dimensions(module, name, tensor):
                size = tensor.shape[dim]
                nodes.setdefault(f"{path}.{name}".lstrip("."), {})[dim] = count + torch.arange(size)
                count += size
    return nodes, count


def is_layer(module: nn.Module) -> bool:
    """Whether a module makes channels of its own: a linear layer or a convolution."""
    return isinstance(module, nn.Linear | _ConvNd) and not isinstance(module, _ConvTransposeNd)


def _dimensions(module: nn.Module, name: str, tensor: Tensor) -> list[int]:
    """The dimensions of a module's tensor whose positions may be removable."""
    if is_layer(module) and name == "weight" and isinstance(tensor, nn.Parameter):
        # The inputs of a grouped convolution go with its groups, and not along a dimension.
        dims = [0] if getattr(module, "groups", 1) > 1 else [0, 1]
    elif tensor.ndim == 1:
        dims = [0]
    else:
        dims = list(range(tensor.ndim))
        if prod(tensor.shape) != max(tensor.shape, default=0):
            return []  # not as long as its longest dimension
    return [dim for dim in dims if tensor.shape[dim] > 1]


def along(numbers: Tensor, dim: int, ndim: int) -> Tensor:
    """Nodes that vary along one dimension of a tensor."""
    return numbers.view([-1 if each == dim else 1 for each in range(ndim)])


def varying(nodes: Tensor) -> list[int]:
    """The dimensions along which there is more than one node."""
    return [dim for dim, size in enumerate(nodes.shape) if size > 1]


def without(nodes: Tensor, dim: int) -> Tensor:
    """Nodes of sums along a dimension: those, if any, on which they depend besides."""
    first = nodes.narrow(dim, 0, 1)
    return first if varying(first) else torch.full_like(first, FIXED)


def compact(nodes: Tensor) -> Tensor:
    """Nodes of the elements of a tensor, of size 1 along dimensions on which they do not depend."""
    for dim in range(nodes.ndim):
        if nodes.shape[dim] > 1:
            first = nodes.narrow(dim, 0, 1)
            if nodes.stride(dim) == 0 or bool((nodes == first).all()):
                nodes = first
    return nodes.contiguous()
