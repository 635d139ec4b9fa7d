"""Which positions of a network's tensors belong together, found by running it once.

A run of the network carries along with each tensor the nodes (:mod:`.nodes`) that its elements come
from, and each operation says what it does to them: movements of data move nodes in the same way,
elementwise operations join the nodes of what meets, layers join those that come in with their
inputs and give their outputs. What an operation is not known to do *fixes* the nodes that enter
it: they stay. So nothing is removed by guess, and what is not understood costs only what passes
through it.

The graph that comes out is that of Fang et al.: DepGraph: Towards Any Structural Pruning (CVPR
2023).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map
from torch.utils.weak import WeakTensorKeyDictionary

from ...protocols import MovesChannels, declared
from ..evidence.modes import evaluation_mode
from .nodes import FIXED, Nodes, along, compact, is_layer, varying, without


@dataclass(frozen=True)
class Call:
    """One operation of a run.

    Attributes:
        operation: its name.
        place: the file and line of the network's code that asks for it, and what for; None where no
            code but torch's does.
        numbers: factors and addends that are given as numbers.
        nodes: all nodes that enter it or leave it.
        outputs: of each tensor that leaves it the shape, and its nodes: a tensor of as many
            dimensions, of size 1 along those on which they do not depend.
    """

    operation: str
    place: tuple[str, int, str] | None
    numbers: tuple[float, ...]
    nodes: Tensor
    outputs: tuple[tuple[tuple[int, ...], Tensor], ...]


@dataclass
class Trace:
    """What a run of a network has shown.

    Attributes:
        joined: pairs of nodes, of which neither goes without the other.
        fixed: nodes that stay.
        read: nodes that a layer has as inputs.
        moved: name of a module with a ``channel_source`` → the nodes of its inputs.
        calls: the operations, in order.
        error: what was raised, if the run did not come to its end.
    """

    joined: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    fixed: list[Tensor] = field(default_factory=list)
    read: list[Tensor] = field(default_factory=list)
    moved: dict[str, Tensor] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    error: Exception | None = None

    def join(self, one: Tensor, other: Tensor) -> None:
        """Nodes go together, pair by pair (tensors of shapes that broadcast)."""
        one, other = torch.broadcast_tensors(one, other)
        differ = one != other
        if differ.any():
            pairs = (one[differ] << 32 | other[differ]).unique()
            self.joined.append((pairs >> 32, pairs & 0xFFFFFFFF))


def trace(model: nn.Module, example: Tensor, nodes: Nodes) -> Trace:
    """Run a network in evaluation mode, and follow its nodes.

    An error of the network's ends the run and is part of what is returned.

    Args:
        model: the network, which is left as it was.
        example: a batch of one input.
        nodes: those of the network's tensors.
    """
    tracer = _Tracer(model, nodes)
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with (
            evaluation_mode(model),
            torch.inference_mode(False),
            torch.no_grad(),
            sdpa_kernel(SDPBackend.MATH),  # attention as the operations it consists of
            tracer.hooks(),
            tracer,
        ):
            outputs = model(example)
        for output in _tensors(outputs):
            tracer.fix(tracer.of(output))
    except Exception as error:  # whatever the model's forward pass raises
        tracer.trace.error = error
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    return tracer.trace


# Operations (of aten) by what they do. What is not known here fixes the nodes that enter it.

# Each element of the outputs is a function of those of the inputs at its place; so are those that
# torch marks as pointwise.
_ELEMENTWISE = {"hardswish", "hardswish_", "copy_", "native_dropout", "_prelu_kernel"}
# The output has the shape and the elements of the input, or new ones of no place.
_COPIES = {
    *("clone", "contiguous", "detach", "alias", "_to_copy", "lift_fresh", "fill_", "zero_"),
    *("zeros_like", "ones_like", "full_like", "empty_like"),
}
# The output has the elements of the input in the same order.
_VIEWS = {"view", "_unsafe_view", "reshape", "_reshape_alias", "unsqueeze", "squeeze", "unflatten"}
# The outputs have elements of the input: what these do to elements, they can do to their nodes.
_MOVEMENTS = {
    *("permute", "transpose", "t", "expand", "slice", "select", "unbind", "split", "repeat"),
    *("split_with_sizes", "index", "index_select", "flip"),
}
# Along some dimensions all elements have a part in all outputs: which argument says so.
_REDUCTIONS = {
    **dict.fromkeys(("mean", "sum", "amax", "amin", "var", "std", "logsumexp", "var_mean"), 1),
    **dict.fromkeys(("_softmax", "_log_softmax", "_safe_softmax", "cumsum", "max", "min"), 1),
    "linalg_vector_norm": 2,
}
# Outputs depend on what is around their place in the same channel: in so many dimensions.
_NEIGHBOURHOODS = {
    **dict.fromkeys(("avg_pool2d", "_adaptive_avg_pool2d", "max_pool2d_with_indices"), 2),
    **dict.fromkeys(("adaptive_max_pool2d", "reflection_pad2d", "replication_pad2d"), 2),
    **dict.fromkeys(("upsample_nearest2d", "upsample_bilinear2d", "upsample_bicubic2d"), 2),
    **dict.fromkeys(("_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa"), 2),
    **dict.fromkeys(("avg_pool3d", "_adaptive_avg_pool3d", "max_pool3d_with_indices"), 3),
}
_BATCH_NORMALISATIONS = {
    *("native_batch_norm", "_native_batch_norm_legit_no_training", "_native_batch_norm_legit"),
    *("cudnn_batch_norm", "miopen_batch_norm", "_batch_norm_with_update", "batch_norm"),
}


class _Operation(NamedTuple):
    """What was called with what, and the tensors among its arguments and results."""

    function: Any
    name: str
    args: tuple[Any, ...]
    keywords: dict[str, Any]
    inputs: list[Tensor]
    results: list[Tensor]

    @property
    def elementwise(self) -> bool:
        return self.name not in _COPIES and (
            self.name in _ELEMENTWISE or torch.Tag.pointwise in self.function.tags
        )


class _Tracer(TorchDispatchMode):
    """Follows nodes through all operations that are called while it is active."""

    def __init__(self, model: nn.Module, nodes: Nodes) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.trace = Trace()
        self._model, self._named = model, nodes
        self._paused = False
        # The nodes of each tensor's elements, in the form of Call.outputs.
        self._nodes: Any = WeakTensorKeyDictionary()
        # Weights of layers and their transposes: the name, and which of its dimensions each is.
        self._weights: Any = WeakTensorKeyDictionary()
        layers = {id(module.weight) for module in model.modules() if is_layer(module)}
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if id(tensor) in layers:
                self._weights[tensor] = (name, tuple(range(tensor.ndim)))
            else:
                for dim, numbers in nodes.get(name, {}).items():
                    self._nodes[tensor] = along(numbers, dim, tensor.ndim)

    def of(self, tensor: Tensor) -> Tensor:
        """The nodes of a tensor's elements, in the form of :attr:`Call.outputs`.

        Those of a layer's weight are fixed, as it is something else than a layer that asks.
        """
        if tensor in self._weights:
            for numbers in self._named.get(self._weights[tensor][0], {}).values():
                self.fix(numbers)
        nodes: Tensor | None = self._nodes.get(tensor)
        return torch.full((1,) * tensor.ndim, FIXED) if nodes is None else nodes

    def fix(self, nodes: Tensor) -> None:
        """Nodes stay."""
        self.trace.fixed.append(nodes.unique())

    @contextmanager
    def hooks(self) -> Iterator[None]:
        """Have modules that say which channels they move not looked into."""
        with ExitStack() as stack:
            for name, module in self._model.named_modules():
                if declared(module, MovesChannels) is not None:
                    before = module.register_forward_pre_hook(self._pause)
                    after = module.register_forward_hook(partial(self._moved, name), prepend=True)
                    stack.callback(before.remove)
                    stack.callback(after.remove)
            yield

    def _pause(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._paused = True

    def _moved(self, name: str, module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        entering = self._in_channels(inputs[0])
        self.trace.moved[name] = entering
        leaving = self._numbers(f"{name}.channel_source", 0)
        source = module.channel_source.cpu()
        self.trace.join(entering[source[source >= 0]], leaving.expand(len(source))[source >= 0])
        self._nodes[output] = along(leaving, 1, output.ndim)
        self._paused = False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Do what was called, then find the nodes of what it gives."""
        keywords = kwargs or {}
        outputs = func(*args, **keywords)
        inputs = _tensors((args, keywords))
        known = [each for each in inputs if each in self._nodes]
        if self._paused or not (known or any(each in self._weights for each in inputs)):
            return outputs
        entering = [self._nodes[each] for each in known]
        name = func.overloadpacket.__name__
        operation = _Operation(func, name, args, keywords, inputs, _tensors(outputs))
        for tensor, nodes in zip(operation.results, self._follow(operation), strict=True):
            if nodes is not None:
                self._nodes[tensor] = compact(nodes)
        self._record(operation, entering)
        return outputs

    def _record(self, operation: _Operation, entering: list[Tensor]) -> None:
        leaving = [
            (tuple(each.shape), self._nodes[each])
            for each in operation.results
            if each in self._nodes
        ]
        numbers: list[float] = []
        if operation.elementwise:
            given = _leaves((operation.args, operation.keywords))
            numbers = [each for each in given if isinstance(each, int | float)]
        met = [torch.empty(0, dtype=torch.int64), *entering, *(nodes for _, nodes in leaving)]
        nodes = torch.cat([each.flatten() for each in met]).unique()
        self.trace.calls.append(
            Call(
                str(operation.function),
                _place(operation.name),
                tuple(numbers),
                nodes,
                tuple(leaving),
            )
        )

    def _follow(self, operation: _Operation) -> Sequence[Tensor | None]:
        """The nodes of each result but weights, after what the operation joins and fixes."""
        name, inputs = operation.name, operation.inputs
        if operation.elementwise:
            shape = operation.results[0].shape if operation.results else ()
            met = self._meet([(self.of(each), each.shape) for each in inputs], len(shape))
            return [met] * len(operation.results)
        if name in ("t", "transpose", "permute", "detach", "alias") and inputs[0] in self._weights:
            return self._turn(operation)
        if name in ("mm", "addmm") and inputs[-1] in self._weights:
            return self._linear(*inputs[:-2], x=inputs[-2], weight=inputs[-1])
        if name == "convolution" and inputs[1] in self._weights:
            return self._convolution(operation)
        if name in ("mm", "addmm", "bmm", "baddbmm"):
            return self._product(*inputs)
        for rule, names in (
            (self._copy, _COPIES),
            (self._view, _VIEWS),
            (self._movement, _MOVEMENTS),
            (self._reduction, _REDUCTIONS),
            (self._neighbourhood, _NEIGHBOURHOODS),
            (self._batch_normalisation, _BATCH_NORMALISATIONS),
            (self._concatenation, {"cat", "stack"}),
            (self._padding, {"constant_pad_nd"}),
            (self._rotation, {"roll"}),
        ):
            if name in names:
                return rule(operation)
        return self._unknown(operation)

    def _unknown(self, operation: _Operation) -> Sequence[Tensor]:
        for each in operation.inputs:
            self.fix(self.of(each))
        return [torch.full((1,) * each.ndim, FIXED) for each in operation.results]

    def _meet(self, operands: Sequence[tuple[Tensor, Sequence[int]]], ndim: int) -> Tensor:
        """The nodes where tensors (their nodes and shapes) are broadcast and meet."""
        aligned = [
            (
                nodes.view((1,) * (ndim - nodes.ndim) + nodes.shape),
                (1,) * (ndim - len(shape)) + (*shape,),
            )
            for nodes, shape in operands
        ]
        free = [(nodes, shape) for nodes, shape in aligned if (nodes != FIXED).any()]
        if not free:
            return torch.full((1,) * ndim, FIXED)
        met = free[0][0]
        for nodes, _ in free[1:]:
            self.trace.join(met, nodes)
            met = met.expand(torch.broadcast_shapes(met.shape, nodes.shape))
        for nodes, shape in aligned:
            # What stays holds all that it meets along its own dimensions; a single one holds none.
            if not (nodes != FIXED).any() and any(shape[dim] > 1 for dim in varying(met)):
                self.fix(met)
        return met

    def _turn(self, operation: _Operation) -> Sequence[None]:
        """A layer's weight with its dimensions in another order."""
        name, dims = self._weights[operation.inputs[0]]
        if operation.name in ("t", "transpose", "permute"):
            # What it does to dimensions, it does to those of a tensor that has numbers for sizes.
            places = torch.empty(tuple(range(1, len(dims) + 1)))
            turned = operation.function(places, *operation.args[1:], **operation.keywords)
            dims = tuple(dims[size - 1] for size in turned.shape)
        self._weights[operation.results[0]] = (name, dims)
        return [None]

    def _linear(self, *bias: Tensor, x: Tensor, weight: Tensor) -> Sequence[Tensor]:
        name, dims = self._weights[weight]
        inputs, outputs = (self._numbers(name, dim) for dim in dims)
        nodes = self.of(x)
        self.trace.read.append(nodes.unique())
        self.trace.join(nodes, inputs)
        for each in bias:
            self.trace.join(self.of(each), outputs)
        rows = without(nodes, 1)
        return [self._meet([(rows, (len(x), 1)), (outputs.view(1, -1), (1, weight.shape[1]))], 2)]

    def _convolution(self, operation: _Operation) -> Sequence[Tensor]:
        x, weight, *bias = operation.inputs
        transposed, groups = operation.args[6], operation.args[8]
        name, dims = self._weights[weight]
        if transposed or dims != tuple(range(weight.ndim)):
            return self._unknown(operation)
        nodes = self._in_channels(x)
        outputs = self._numbers(name, 0).expand(len(weight))
        self.trace.read.append(nodes.unique())
        if groups == 1:
            self.trace.join(nodes, self._numbers(name, 1))
        else:  # all inputs and outputs of a group go together
            makers = outputs.view(groups, -1)
            for each in (nodes.view(groups, -1), makers):
                self.trace.join(each, makers[:, :1])
        for each in bias:
            self.trace.join(self.of(each), outputs)
        return [along(outputs, 1, x.ndim)]

    def _product(self, *inputs: Tensor) -> Sequence[Tensor]:
        """A matrix product of two tensors, of which neither is a layer's weight."""
        *added, left, right = inputs
        rows, columns = self.of(left), self.of(right)
        # What the sum goes over need not be zero where it is masked.
        for nodes, dim in ((rows, -1), (columns, -2)):
            if nodes.shape[dim] > 1:
                self.fix(nodes)
        operands = [
            (without(rows, -1), (*left.shape[:-1], 1)),
            (without(columns, -2), (*right.shape[:-2], 1, right.shape[-1])),
        ]
        return [
            self._meet([*operands, *((self.of(each), each.shape) for each in added)], left.ndim)
        ]

    def _copy(self, operation: _Operation) -> Sequence[Tensor]:
        return [self.of(operation.inputs[0])]

    def _view(self, operation: _Operation) -> Sequence[Tensor]:
        (x,), (result,) = operation.inputs, operation.results
        before = self.of(x)
        after = compact(before.expand(x.shape).reshape(result.shape))
        if len(varying(before)) == 1:
            self._make_rectangular(after)
        elif len(varying(after)) > 1 and not torch.equal(before.squeeze(), after.squeeze()):
            self.fix(before)
        return [after]

    def _make_rectangular(self, nodes: Tensor) -> None:
        """Where they vary along several dimensions, let them go in the last of these only.

        Otherwise what is left would be no tensor.
        """
        for dim in varying(nodes)[:-1]:
            self.trace.join(nodes, nodes.narrow(dim, 0, 1))

    def _movement(self, operation: _Operation) -> Sequence[Tensor]:
        x, *others = operation.inputs
        if any(each in self._nodes for each in others):
            return self._unknown(operation)
        nodes = self.of(x)
        args, keywords = tree_map(_on_cpu, (operation.args[1:], operation.keywords))
        moved = _tensors(operation.function(nodes.expand(x.shape), *args, **keywords))
        parts = [compact(each) for each in moved]
        for each in parts:
            if len(varying(each)) > len(varying(nodes)):
                self._make_rectangular(each)
            if operation.name.startswith("split") and each.shape == parts[0].shape:
                self.trace.join(each, parts[0])  # so that equal parts stay equal
        return parts

    def _reduction(self, operation: _Operation) -> Sequence[Tensor]:
        x = operation.inputs[0]
        given = operation.args[_REDUCTIONS[operation.name] :][:1] or [operation.keywords.get("dim")]
        named = [given[0]] if isinstance(given[0], int) else given[0]
        dims = {dim % x.ndim for dim in named or range(x.ndim)} if x.ndim else set()
        nodes = self.of(x)
        taken = [dim for dim in varying(nodes) if dim in dims]
        if taken == varying(nodes):
            self.fix(nodes)  # over all channels
        for dim in taken:
            self.trace.join(nodes, nodes.narrow(dim, 0, 1))
        reduced = nodes
        for dim in sorted(dims, reverse=True):
            reduced = reduced.narrow(dim, 0, 1)
        dropped = reduced.squeeze(tuple(dims)) if dims else reduced
        shapes = {x.ndim - len(dims): dropped, x.ndim: reduced}
        return [
            nodes if result.shape == x.shape else shapes[result.ndim]
            for result in operation.results
        ]

    def _neighbourhood(self, operation: _Operation) -> Sequence[Tensor]:
        nodes = self.of(operation.inputs[0])
        places = range(nodes.ndim - _NEIGHBOURHOODS[operation.name], nodes.ndim)
        if set(places) & set(varying(nodes)):
            self.fix(nodes)
        for dim in places:
            nodes = nodes.narrow(dim, 0, 1)
        return [nodes] * len(operation.results)

    def _batch_normalisation(self, operation: _Operation) -> Sequence[Tensor]:
        x, *others = operation.inputs
        nodes = self._in_channels(x)
        for each in others:
            self.trace.join(self.of(each), nodes)
        same = along(nodes, 1, x.ndim)
        return [
            same if result.shape == x.shape else torch.full((1,) * result.ndim, FIXED)
            for result in operation.results
        ]

    def _concatenation(self, operation: _Operation) -> Sequence[Tensor]:
        parts = [each for each in operation.inputs if each.numel()]
        (result,) = operation.results
        dim = operation.args[1] if len(operation.args) > 1 else operation.keywords.get("dim", 0)
        nodes, shapes = [self.of(each) for each in parts], [each.shape for each in parts]
        dim %= result.ndim
        if operation.name == "stack":
            nodes = [each.unsqueeze(dim) for each in nodes]
            shapes = [torch.Size([*shape[:dim], 1, *shape[dim:]]) for shape in shapes]
        others = {each for part in nodes for each in varying(part)} - {dim}
        for part, shape in zip(nodes, shapes, strict=True):
            # What is beside each other goes together.
            here, first = (each.narrow(dim, 0, 1) for each in (part, nodes[0]))
            if others:
                self.trace.join(
                    *(
                        each.expand([n if d in others else 1 for d, n in enumerate(shape)])
                        if (each == FIXED).all()
                        else each
                        for each in (here, first)
                    )
                )
        return [
            torch.cat(
                [
                    part.expand([n if d in others | {dim} else 1 for d, n in enumerate(shape)])
                    for part, shape in zip(nodes, shapes, strict=True)
                ],
                dim,
            )
        ]

    def _padding(self, operation: _Operation) -> Sequence[Tensor]:
        nodes = self.of(operation.inputs[0])
        pads = list(operation.args[1])
        for place in range(0, len(pads), 2):
            if nodes.shape[nodes.ndim - 1 - place // 2] == 1:
                pads[place : place + 2] = 0, 0  # beside a channel, not beside channels
        return [F.pad(nodes, pads, value=FIXED)]

    def _rotation(self, operation: _Operation) -> Sequence[Tensor]:
        _, shifts, *dims = operation.args
        nodes = self.of(operation.inputs[0])
        if not dims or not dims[0]:
            return self._unknown(operation)
        return [nodes.roll(shifts, dims[0])]

    def _numbers(self, name: str, dim: int) -> Tensor:
        """The nodes along a dimension of a named tensor, one alone if they all stay."""
        return self._named.get(name, {}).get(dim, torch.tensor([FIXED]))

    def _in_channels(self, x: Tensor) -> Tensor:
        """The nodes along dimension 1 of a tensor; others, along which a channel varies, stay."""
        nodes = self.of(x)
        if set(varying(nodes)) - {1}:
            self.fix(nodes)
            return torch.full((x.shape[1],), FIXED)
        return nodes.flatten().expand(x.shape[1])


def _leaves(value: Any) -> list[Any]:
    """All that is in tuples, lists and dictionaries (torch's own way to find it takes longer)."""
    if isinstance(value, tuple | list):
        return [leaf for each in value for leaf in _leaves(each)]
    return _leaves([*value.values()]) if isinstance(value, dict) else [value]


def _tensors(value: Any) -> list[Tensor]:
    return [each for each in _leaves(value) if isinstance(each, Tensor)]


def _on_cpu(value: Any) -> Any:
    return value.cpu() if isinstance(value, Tensor) else value


def _place(operation: str) -> tuple[str, int, str] | None:
    """The line of code outside of torch that asks for an operation, which is the present one."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code is not trace.__code__:
        file = frame.f_code.co_filename
        if file != __file__ and not file.startswith(_TORCH):
            return file, frame.f_lineno, operation
        frame = frame.f_back
    return None


_TORCH = str(Path(torch.__file__).parent / "_")[:-1]
