"""Which weights the operations of a traced network multiply by, wherever it keeps them.

A module may multiply by weights of others, by parts of a weight, and by none: attention has one
matrix for queries, keys and values, and multiplies them with each other. So each operation is
followed back to the parameters that enter it, through views, slices, casts and whatever else a
network does to weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

RECURRENT = ("aten::lstm", "aten::gru", "aten::rnn_tanh", "aten::rnn_relu")

# Which inputs of an operation may be weights; those of others may be activations only.
_PLACES = {
    "aten::linear": slice(1, 2),
    "aten::_convolution": slice(1, 2),
    "aten::_convolution_mode": slice(1, 2),
    "torchvision::deform_conv2d": slice(1, 2),
    "aten::addmm": slice(1, 3),
    "aten::addmv": slice(1, 3),
    "aten::baddbmm": slice(1, 3),
    "aten::addbmm": slice(1, 3),
    "aten::mm": slice(0, 2),
    "aten::mv": slice(0, 2),
    "aten::bmm": slice(0, 2),
    "aten::dot": slice(0, 2),
    "aten::inner": slice(0, 2),
    "aten::matmul": slice(0, 2),
    "aten::tensordot": slice(0, 2),
    "aten::bilinear": slice(2, 3),
    "aten::scaled_dot_product_attention": slice(0, 3),
}

# Which input is a list of all that is multiplied.
_LISTS = {"aten::einsum": 1, "aten::linalg_multi_dot": 0, "aten::chain_matmul": 0}


class Factor(NamedTuple):
    """What an operation multiplies by.

    Attributes:
        weight: name of the parameter that it is or is a part of, the largest one if the network
            computes it from several, as weight normalisation does; None if it depends on the
            inputs of the network, so that no weight takes part.
        density: fraction of it that is not zero, 1 where no weight takes part. Of two weights that
            are multiplied with each other it is the product of both.
        made_by: where no weight takes part, the weight whose outputs it consists of, if any.
    """

    weight: str | None
    density: float = 1.0
    made_by: str | None = None


class _Known(NamedTuple):
    """A value that depends on no input: what it is, and the largest parameter in it."""

    content: Any
    parameter: str | None


_NOT_COMPUTED = object()


class TracedWeights:
    """What is known of the values in a graph that ``torch.jit`` traced, before it is run.

    Args:
        model: the network that the graph is of.
    """

    def __init__(self, model: nn.Module) -> None:
        self._parameters = dict(model.named_parameters())
        names = {id(parameter): name for name, parameter in self._parameters.items()}
        # A graph's last inputs are these, a tensor that has several names once.
        state = {id(each): each for each in model.state_dict(keep_vars=True).values()}
        self._state = [_Known(each.detach(), names.get(key)) for key, each in state.items()]
        self._known: dict[int, _Known] = {}
        self._made_by: dict[int, str] = {}

    def factor(self, operands: Sequence[Any]) -> Factor:
        """What an operation multiplies by that has these inputs, places of weights among them."""
        self._follow(operands[0].node().owningBlock())
        known = [self._known.get(operand.unique(), _Known(None, None)) for operand in operands]
        weights = [each for each in known if each.parameter is not None]
        if not weights:
            return Factor(None, made_by=self._made_by.get(operands[-1].unique()))
        density = 1.0
        for each in weights:
            density *= self._density(each)
        return Factor(self._largest(weights), density)

    def _density(self, weight: _Known) -> float:
        """Of what the network computes; of the parameter if only the network can compute it."""
        tensor = weight.content
        if not isinstance(tensor, Tensor):
            tensor = self._parameters[str(weight.parameter)]
        return int(torch.count_nonzero(tensor)) / tensor.numel() if tensor.numel() else 1.0

    def _largest(self, values: Sequence[_Known]) -> str | None:
        names = [each.parameter for each in values if each.parameter is not None]
        return max(names, key=lambda name: self._parameters[name].numel(), default=None)

    @torch.no_grad()
    def _follow(self, block: Any) -> None:
        """Go through a graph once, from its inputs on."""
        if self._known:
            return
        inputs = list(block.inputs())
        for value, known in zip(reversed(inputs), reversed(self._state), strict=False):
            self._known[value.unique()] = known
        for node in block.nodes():
            inputs, outputs = list(node.inputs()), list(node.outputs())
            found = [self._known.get(value.unique()) for value in inputs]
            if node.kind() == "aten::size" and found[0] is None:
                found[0] = _Known(inputs[0], None)  # a shape is known of activations too
            known = [each for each in found if each is not None]
            if len(known) == len(found):
                parameter = self._largest(known)
                contents = _computed(node, [each.content for each in known], len(outputs))
                for value, content in zip(outputs, contents, strict=True):
                    self._known[value.unique()] = _Known(content, parameter)
            elif (maker := self._maker(node.kind(), inputs)) is not None:
                self._made_by |= dict.fromkeys((value.unique() for value in outputs), maker)

    def _maker(self, kind: str, inputs: Sequence[Any]) -> str | None:
        """The weight whose outputs an operation gives: its own, or that of what it changes."""
        weights = (self._known.get(each.unique()) for each in operands(kind, inputs))
        own = [each.parameter for each in weights if each is not None and each.parameter]
        makers = (self._made_by.get(value.unique()) for value in inputs)
        return own[-1] if own else next(filter(None, makers), None)


def operands(kind: str, inputs: Sequence[Any]) -> list[Any]:
    """Those of an operation's inputs that may be weights; of a recurrent layer its matrices."""
    if kind in RECURRENT:
        lists = [value.node() for value in inputs if value.node().kind() == "prim::ListConstruct"]
        return [value for value in lists[-1].inputs() if len(value.type().sizes()) == 2]
    if kind in _LISTS:
        return list(inputs[_LISTS[kind]].node().inputs())
    return list(inputs[_PLACES[kind]]) if kind in _PLACES else []


def _computed(node: Any, arguments: list[Any], count: int) -> list[Any]:
    """The values of an operation's outputs."""
    kind = node.kind()
    if kind == "prim::Constant":
        return [node.output().toIValue()]
    if any(each is _NOT_COMPUTED for each in arguments):
        return [_NOT_COMPUTED] * count
    if kind in ("prim::ListConstruct", "prim::TupleConstruct"):
        return [arguments]
    if kind in ("prim::ListUnpack", "prim::TupleUnpack"):
        return list(arguments[0])
    if kind == "aten::size" and not isinstance(arguments[0], Tensor):
        sizes = arguments[0].type().sizes()
        return [sizes[arguments[1]] if len(arguments) > 1 else sizes]
    try:
        result = _operation(node)(*arguments)
    except Exception:  # an operation of the network's own, for one
        return [_NOT_COMPUTED] * count
    return list(result) if count > 1 else [result]


def _operation(node: Any) -> Callable[..., Any]:
    """The function that a node of a graph calls; not in place, since weights are not to change."""
    schema = torch._C.parse_schema(node.schema())
    namespace, _, name = schema.name.partition("::")
    if not name.endswith("__"):
        name = name.removesuffix("_")
    function = getattr(getattr(torch.ops, namespace), name)

    def call(*values: Any) -> Any:
        pairs = list(zip(schema.arguments, values, strict=True))
        keywords = {each.name: value for each, value in pairs if each.kwarg_only}
        return function(*(value for each, value in pairs if not each.kwarg_only), **keywords)

    return call
