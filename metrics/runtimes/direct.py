"""Networks whose sparse convolutions run without their zeros, by a kernel of our own."""

from __future__ import annotations

import copy
import math
import operator
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from .direct_convolution import DirectConvolution, Geometry
from .runtime import Run, Runtime, UnsupportedError, quietly, register
from .sparse import SparseLinear, is_faster

_ATEN = torch.ops.aten

# The kernel counts elements of an input in 32 bits.
_MOST_ELEMENTS = 2**31 - 1


@register
@dataclass(frozen=True)
class SparseDirect(Runtime):
    """Convolutions without their zeros, by a kernel that a C compiler makes at first use.

    What follows a convolution (normalisation, addition, rectification) is done with it. Linear
    layers are those of ``SparseCSR``. On the CPU, in float32.

    Source: direct sparse convolution (Park et al. 2017), on planes of channels (Elsen et al. 2020).

    Args:
        everywhere: make all layers sparse, and not those only that are faster for it.
    """

    everywhere: bool = False

    runs_dense = False
    uses_zeros = True

    def prepare(self, model: nn.Module, inputs: Tensor, examples: Tensor | None = None) -> Run:
        """The network's graph, with a sparse layer for each that is faster as one."""
        if inputs.is_cuda:
            raise UnsupportedError("the kernel runs on the CPU only")
        inputs = inputs.contiguous()
        network = _graph(model, inputs)
        replaced = 0
        for node in list(network.graph.nodes):
            layer = _layer(network, node)
            if layer is not None and (self.everywhere or layer.gains()):
                _put(network, layer)
                replaced += 1
        if not replaced:
            raise UnsupportedError("no layer is faster without its zeros")
        _finish(network)
        return lambda: network(inputs)


class _Layer(NamedTuple):
    """What may take the place of nodes of a graph: of ``last`` and those that lead only to it."""

    sparse: nn.Module
    dense: Callable[[Tensor], Tensor]
    inputs: fx.Node
    added: fx.Node | None
    last: fx.Node

    def gains(self) -> bool:
        """Whether the sparse layer is faster on inputs of this shape."""
        return is_faster(self.sparse, self.dense, torch.randn(_shape(self.inputs)))


def _graph(model: nn.Module, inputs: Tensor) -> fx.GraphModule:
    """The network in operations that change none of their inputs, images in rows of pixels."""
    plain = copy.deepcopy(model).to(memory_format=torch.contiguous_format)
    try:
        with quietly():
            program = torch.export.export(plain, (inputs,)).run_decompositions({})
    except Exception as error:  # whatever the exporter raises
        raise UnsupportedError.because("no graph of its operations", error) from error
    network = program.module()
    assert isinstance(network, fx.GraphModule)
    return network


def _layer(network: fx.GraphModule, node: fx.Node) -> _Layer | None:
    if node.target in _GEOMETRIES:
        return _convolution_layer(network, node)
    if node.target is _ATEN.linear.default:
        return _linear_layer(network, node)
    return None


def _linear_layer(network: fx.GraphModule, node: fx.Node) -> _Layer | None:
    inputs, weight, bias = _arguments(network, node, 3)
    if not isinstance(weight, Tensor) or isinstance(bias, fx.Node):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the format is in beta
        sparse = SparseLinear(weight.to_sparse_csr(), bias)
    return _Layer(sparse, partial(F.linear, weight=weight, bias=bias), inputs, None, node)


def _convolution_layer(network: fx.GraphModule, node: fx.Node) -> _Layer | None:
    """The convolution at a node with what follows it; None if the kernel cannot do it."""
    inputs, weight, bias, *windows = _arguments(network, node, 9)
    if not isinstance(weight, Tensor) or isinstance(bias, fx.Node):
        return None
    geometry = _GEOMETRIES[node.target](windows)
    if geometry is None or weight.ndim != 4 or weight.dtype != torch.float32:
        return None
    _, channels, height, width = _shape(inputs)
    padded = (height + 2 * geometry.padding[0]) * (width + 2 * geometry.padding[1])
    if channels * math.prod(geometry.stride) * padded > _MOST_ELEMENTS:
        return None
    bias = weight.new_zeros(len(weight)) if bias is None else bias
    last, weight, bias = _normalised(network, node, weight, bias)
    last, added = _summed(last)
    last, rectified = _rectified(last)
    sparse = DirectConvolution(weight, bias, geometry, (channels, height, width), rectified)

    def dense(images: Tensor) -> Tensor:
        return F.conv2d(images, weight, bias, *geometry)

    return _Layer(sparse, dense, inputs, added, last)


def _normalised(
    network: fx.GraphModule, node: fx.Node, weight: Tensor, bias: Tensor
) -> tuple[fx.Node, Tensor, Tensor]:
    """The weight and the bias with the batch normalisation that follows, and where that ends."""
    norm = _only_user(node)
    if norm is None or norm.target is not _ATEN._native_batch_norm_legit_no_training.default:
        return node, weight, bias
    output = _only_user(norm)
    if output is None or output.target is not operator.getitem or output.args[1] != 0:
        return node, weight, bias
    _, scale, shift, mean, variance, _, epsilon = _arguments(network, norm, 7)
    factor = torch.rsqrt(variance + epsilon)
    factor = factor if scale is None else factor * scale
    bias = (bias - mean) * factor
    return output, weight * factor[:, None, None, None], bias if shift is None else bias + shift


def _summed(node: fx.Node) -> tuple[fx.Node, fx.Node | None]:
    """What is added to a node and to nothing else, if it has its shape, and where that ends."""
    total = _only_user(node)
    if total is None or total.target is not _ATEN.add.Tensor or total.kwargs:
        return node, None
    others = [each for each in total.args if each is not node]
    if len(others) != 1 or not isinstance(others[0], fx.Node) or _shape(others[0]) != _shape(node):
        return node, None
    return total, others[0]


def _rectified(node: fx.Node) -> tuple[fx.Node, bool]:
    after = _only_user(node)
    if after is None or after.target is not _ATEN.relu.default:
        return node, False
    return after, True


def _of_conv2d(windows: Sequence[Any]) -> Geometry | None:
    stride, padding, dilation, groups, *_ = windows
    return Geometry(_pair(stride, 1), _pair(padding, 0), _pair(dilation, 1), groups or 1)


def _of_convolution(windows: Sequence[Any]) -> Geometry | None:
    stride, padding, dilation, transposed, _, groups = windows
    if transposed:
        return None
    return Geometry(_pair(stride, 1), _pair(padding, 0), _pair(dilation, 1), groups)


_GEOMETRIES: dict[Any, Callable[[Sequence[Any]], Geometry | None]] = {
    _ATEN.conv2d.default: _of_conv2d,
    _ATEN.convolution.default: _of_convolution,
}


def _pair(sizes: Sequence[int] | None, default: int) -> tuple[int, int]:
    """Of height and width, for which one size may stand."""
    if sizes is None:
        return default, default
    return sizes[0], sizes[-1]


def _put(network: fx.GraphModule, layer: _Layer) -> None:
    """Have a sparse layer compute what it may take the place of."""
    name = f"sparse_{layer.last.name}"
    network.add_submodule(name, layer.sparse)
    operands = (layer.inputs,) if layer.added is None else (layer.inputs, layer.added)
    with network.graph.inserting_before(layer.last):
        node = network.graph.call_module(name, operands)
    node.meta = layer.last.meta
    layer.last.replace_all_uses_with(node)


def _finish(network: fx.GraphModule) -> None:
    for node in network.graph.nodes:
        if node.target is _ATEN.max_pool2d.default:
            node.target = _max_pool
    network.graph.eliminate_dead_code()
    network.recompile()


def _max_pool(images: Tensor, *arguments: Any) -> Tensor:
    """As in torch, which takes ten times as long where channels are not last."""
    channels_last = images.contiguous(memory_format=torch.channels_last)
    return F.max_pool2d(channels_last, *arguments).contiguous()


def _arguments(network: fx.GraphModule, node: fx.Node, count: int) -> list[Any]:
    """The arguments of a node, None where it has fewer; parameters in the place of their nodes."""
    values = [*node.args, *[None] * count][:count]
    return [_parameter(network, each) for each in values]


def _parameter(network: fx.GraphModule, value: Any) -> Any:
    if isinstance(value, fx.Node) and value.op == "get_attr":
        return operator.attrgetter(str(value.target))(network).detach()
    return value


def _shape(node: fx.Node) -> tuple[int, ...]:
    return tuple(node.meta["val"].shape)


def _only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None
