"""Which channels of a network can only be removed together, and what of each tensor is theirs.

A channel is more than a filter: the bias and the normalisation that follow belong to it, so do the
columns of all layers that read it, and where outputs are added up, the filters of all of them.
Removed with all of it, a channel leaves a smaller network that computes the same as the masked one.

The graph of layers is traced by Torch-Pruning (Fang et al.: DepGraph: Towards Any Structural
Pruning, CVPR 2023). What it does not tell is added here: groups of a grouped convolution stay or go
as a whole, and so do heads of attention; channels that a layer normalisation averages over, and
those that leave the network, cannot be removed.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from ..errors import UsageError
from .activations import CONVOLUTIONS
from .masks import Masks
from .modes import evaluation_mode

Side = Literal["in", "out"]

# Tensors of a layer → the dimension of its outputs and, where it has one of its own, of its inputs.
_LAYER: dict[str, dict[Side, int]] = {"weight": {"out": 0, "in": 1}, "bias": {"out": 0}}
_ELEMENTWISE: dict[str, dict[Side, int]] = {
    name: {"out": 0} for name in ("weight", "bias", "running_mean", "running_var")
}


class Group(NamedTuple):
    """Channels that the same layers make, so that they are ranked against each other.

    Attributes:
        weights: names of the weights that make the channels.
        start: the number of the first channel.
        stop: one more than the number of the last.
    """

    weights: tuple[str, ...]
    start: int
    stop: int


@dataclass(frozen=True)
class Coupling:
    """The channels of a network that can be removed, numbered from 0, group after group.

    Attributes:
        groups: by the name of the first weight that makes the channels.
        dimensions: name of a parameter or buffer → dimension → for each position along it the
            number of the channel that it belongs to, −1 for none.
        sources: name of a module that moves channels (see :func:`couple`) → for each of its inputs
            the number of the channel, −1 for none.
    """

    groups: Mapping[str, Group]
    dimensions: Mapping[str, Mapping[int, Tensor]]
    sources: Mapping[str, Tensor]

    @property
    def channels(self) -> int:
        """How many channels there are."""
        return max((group.stop for group in self.groups.values()), default=0)

    def positions(self, name: str, kept: Tensor) -> dict[int, Tensor]:
        """Where along each dimension of a tensor are those that stay: dimension → bool tensor.

        Args:
            name: of a tensor in ``dimensions``.
            kept: for each channel whether it stays.
        """
        stays = torch.cat([kept, kept.new_ones(1)])  # −1, no channel, is the last
        return {dim: stays[channels] for dim, channels in self.dimensions[name].items()}

    def masks(self, model: nn.Module, kept: Tensor) -> Masks:
        """Masks of all parameters that channels have a part of."""
        parameters = dict(model.named_parameters())
        masks = {}
        for name in self.dimensions:
            if name in parameters:
                weight = parameters[name]
                mask = torch.ones((), dtype=torch.bool, device=weight.device).expand(weight.shape)
                for dim, stays in self.positions(name, kept).items():
                    shape = [-1 if each == dim else 1 for each in range(weight.ndim)]
                    mask = mask & stays.to(weight.device).view(shape)
                masks[name] = mask
        return masks

    def kept(self, masks: Mapping[str, Tensor]) -> Tensor:
        """For each channel whether masks of the weights that make it keep anything of it."""
        kept = torch.zeros(self.channels, dtype=torch.bool)
        for group in self.groups.values():
            for name in group.weights:
                dim, numbers = self._made_along(name, group)
                left = masks[name].movedim(dim, 0).flatten(1).any(1).cpu()
                kept[numbers[left & (numbers >= 0)]] = True
        return kept

    def rows(self, group: Group, tensors: Mapping[str, Tensor]) -> Tensor:
        """All elements of the weights that make each channel of a group (channels × elements)."""
        parts = []
        for name in group.weights:
            dim, numbers = self._made_along(name, group)
            inside = (numbers >= 0).nonzero().squeeze(1)
            order = inside[numbers[inside].argsort(stable=True)].to(tensors[name].device)
            filters = tensors[name].movedim(dim, 0).flatten(1)[order]
            parts.append(filters.reshape(group.stop - group.start, -1))
        return torch.cat(parts, 1) if len(parts) > 1 else parts[0]

    def _made_along(self, name: str, group: Group) -> tuple[int, Tensor]:
        """The dimension of a weight along which it makes a group's channels, and their numbers.

        It is the first, but for embeddings, whose rows are no channels. All else is −1.
        """
        own = {
            dim: numbers.where((numbers >= group.start) & (numbers < group.stop), -1)
            for dim, numbers in self.dimensions[name].items()
        }
        dim = min(dim for dim, numbers in own.items() if (numbers >= 0).any())
        return dim, own[dim]

    def kept_fractions(self, kept: Tensor) -> dict[str, float]:
        """For each tensor in ``dimensions`` the fraction of its elements that stays."""
        return {
            name: prod(float(each.double().mean()) for each in self.positions(name, kept).values())
            for name in self.dimensions
        }


def couple(model: nn.Module, example: Tensor, names: Sequence[str]) -> Coupling:
    """Find the channels of ``model`` that can be removed.

    The graph of layers is traced, unless the model says in a method ``channel_groups()`` what its
    channels are, as recurrent ones do (see :class:`prunebench.models.architecture.ChannelGroup`).

    A module that moves channels about, such as a shortcut that pads with zeros, says so by a buffer
    ``channel_source``: for each of its outputs the number of the input that it is, −1 for zeros.

    Args:
        model: the network; it is left as it was.
        example: inputs on which it can run.
        names: weights whose outputs may be removed; channels that other weights make stay.

    Raises:
        UsageError: the network cannot be traced.
    """
    declared: Callable[[], Iterable[Any]] | None = getattr(model, "channel_groups", None)
    if declared is not None:
        return _as_declared(model, declared(), set(names))
    nodes = _Nodes(model)
    for block, positions, root, roots in _traced(model, example):
        nodes.join(block, positions, root, roots)
    nodes.join_convolution_groups()
    nodes.join_moved_channels()
    numbers, groups = nodes.numbered(set(names))
    dimensions: dict[str, dict[int, Tensor]] = {}
    sources: dict[str, Tensor] = {}
    module_names = {module: name for name, module in model.named_modules()}
    for (module, side), channels in numbers.items():
        prefix = f"{module_names[module]}." if module_names[module] else ""
        if hasattr(module, "channel_source"):
            if side == "in":
                sources[module_names[module]] = channels
            else:
                dimensions[f"{prefix}channel_source"] = {0: channels}
            continue
        for tensor, sides in _tensors(module).items():
            if side in sides:
                dimensions.setdefault(f"{prefix}{tensor}", {})[sides[side]] = channels
    _add_heads(model, set(names), dimensions, groups)
    removable = {
        name: dims
        for name, dims in dimensions.items()
        if any(bool((channels >= 0).any()) for channels in dims.values())
    }
    return Coupling(groups, removable, sources)


def _as_declared(model: nn.Module, declared: Iterable[Any], names: set[str]) -> Coupling:
    """The channels of those groups that weights in ``names`` make, numbered on."""
    first = {id(parameter): name for name, parameter in model.named_parameters()}
    groups: dict[str, Group] = {}
    dimensions: dict[str, dict[int, Tensor]] = {}
    start = 0
    for makers, positions in declared:
        # Tied weights make them once.
        made_by = tuple(dict.fromkeys(first[id(model.get_parameter(name))] for name in makers))
        if not names.issuperset(made_by):
            continue
        count = 1 + max(int(each.max()) for dims in positions.values() for each in dims.values())
        groups[made_by[0]] = Group(made_by, start, start + count)
        for name, dims in positions.items():
            known = dimensions.setdefault(name, {})
            for dim, numbers in dims.items():
                mine = torch.where(numbers >= 0, numbers + start, -1)
                known[dim] = torch.maximum(known.get(dim, mine), mine)
        start += count
    return Coupling(groups, dimensions, {})


# A module, or a parameter that belongs to none, and a side of it.
_Block = tuple[Any, Side]


def _traced(
    model: nn.Module, example: Tensor
) -> Iterator[tuple[_Block, list[int], _Block, list[int]]]:
    """For each layer its outputs, and for each of these whatever must go with it."""
    from torch_pruning import DependencyGraph  # importing it takes time

    moving = {type(module) for module in model.modules() if hasattr(module, "channel_source")}
    graph = DependencyGraph()
    with evaluation_mode(model), _unfrozen(model), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it says of parameters outside of layers
        try:
            pruners = {kind: _MovedChannels() for kind in moving}
            graph.build_dependency(model, example, customized_pruners=pruners, verbose=False)
            roots = (nn.Linear, *CONVOLUTIONS, *moving)
            for group in graph.get_all_groups(root_module_types=roots):
                root: _Block = (group[0].dep.target.module, "out")
                for item in group.items:
                    module = item.dep.target.module
                    outputs = graph.is_out_channel_pruning_fn(item.dep.handler)
                    yield (module, "out" if outputs else "in"), item.idxs, root, item.root_idxs
        except Exception as error:  # whatever the library or the model's forward pass raises
            raise UsageError(
                f"the channels of {type(model).__name__} cannot be traced "
                f"({type(error).__name__}: {error}); use a structure that needs no tracing"
            ) from error


@contextmanager
def _unfrozen(model: nn.Module) -> Iterator[None]:
    """Have autograd, which is what is traced, pass through frozen layers too."""
    frozen = [
        parameter
        for parameter in model.parameters()
        if parameter.is_floating_point() and not parameter.requires_grad
    ]
    try:
        for parameter in frozen:
            parameter.requires_grad_(True)
        with torch.enable_grad():
            yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)


class _MovedChannels:
    """What Torch-Pruning asks of a module with ``channel_source``, which nothing passes through."""

    def prune_out_channels(self, layer: nn.Module, idxs: list[int]) -> nn.Module:
        return layer

    def prune_in_channels(self, layer: nn.Module, idxs: list[int]) -> nn.Module:
        return layer

    def get_out_channels(self, layer: Any) -> int:
        return len(layer.channel_source)

    def get_in_channels(self, layer: Any) -> int:
        return int(layer.inputs)

    def get_in_channel_groups(self, layer: nn.Module) -> int:
        return 1

    def get_out_channel_groups(self, layer: nn.Module) -> int:
        return 1


def _tensors(module: nn.Module) -> dict[str, dict[Side, int]]:
    """The tensors of a module that channels have a part of, and along which dimension."""
    if isinstance(module, _BatchNorm | nn.PReLU):
        known = _ELEMENTWISE
    elif isinstance(module, nn.Linear):
        known = _LAYER
    else:
        # The inputs of a grouped convolution go with its groups, and not along a dimension.
        own_inputs = getattr(module, "groups", 1) == 1
        known = _LAYER if own_inputs else {name: {"out": 0} for name in _LAYER}
    return {name: sides for name, sides in known.items() if getattr(module, name, None) is not None}


class _Nodes:
    """Inputs and outputs of modules, joined where one cannot be removed without the other."""

    def __init__(self, model: nn.Module) -> None:
        self._names = {module: name for name, module in model.named_modules()}
        owners: dict[int, int] = {}
        for module in model.modules():
            for parameter in module.parameters(recurse=False):
                owners[id(parameter)] = owners.get(id(parameter), 0) + 1
        self._tied = {key for key, count in owners.items() if count > 1}
        self._first: dict[_Block, int] = {}
        self._size: dict[_Block, int] = {}
        self._edges: list[tuple[np.ndarray, np.ndarray]] = []
        self._fixed: list[np.ndarray] = []
        self._count = 0

    def join(self, block: _Block, positions: list[int], root: _Block, roots: list[int]) -> None:
        """Positions of one block go together with those of another, pair by pair."""
        ends = self._nodes(root)[roots]
        if isinstance(block[0], nn.PReLU) and block[0].num_parameters == 1:
            return  # one slope for all channels is no part of any
        if block[0] in self._names and self._is_known(block[0]):
            self._edges.append((self._nodes(block)[positions], ends))
        elif isinstance(block[0], nn.Parameter) or block[0] in self._names:
            self._fixed.append(ends)

    def join_moved_channels(self) -> None:
        """A channel goes wherever it is moved: nothing there could mask it."""
        for module, side in list(self._first):
            if side == "out" and hasattr(module, "channel_source"):
                source = np.asarray(module.channel_source.cpu())
                inputs, outputs = self._nodes((module, "in")), self._nodes((module, "out"))
                self._edges.append((inputs[source[source >= 0]], outputs[source >= 0]))

    def join_convolution_groups(self) -> None:
        """All inputs and outputs of a group of a convolution go together."""
        for module, side in list(self._first):
            groups = getattr(module, "groups", 1)
            if side == "out" and isinstance(module, _ConvNd) and groups > 1:
                outputs = self._nodes((module, "out")).reshape(groups, -1)
                inputs = outputs
                if (module, "in") in self._first:  # an input of a depthwise one is its output too
                    inputs = self._nodes((module, "in")).reshape(groups, -1)
                for nodes in (outputs, inputs):
                    self._edges.append(
                        (nodes.ravel(), outputs[:, :1].repeat(nodes.shape[1], 1).ravel())
                    )

    def numbered(self, names: set[str]) -> tuple[dict[_Block, Tensor], dict[str, Group]]:
        """The number of the channel of each position of each block, and the groups of channels.

        What is joined is a channel if weights in ``names``, and no others, make it, if some layer
        reads it, and if nothing in it is fixed.
        """
        component = self._components()
        blocks = self._in_order()
        makers: dict[int, list[str]] = {}
        read: set[int] = set()
        for module, side in blocks:
            joined = dict.fromkeys(component[self._nodes((module, side))].tolist())
            if side == "in":
                read.update(joined)
            elif isinstance(module, nn.Linear | _ConvNd):
                for each in joined:
                    makers.setdefault(each, []).append(f"{self._names[module]}.weight".lstrip("."))
        fixed = {each for nodes in self._fixed for each in component[nodes].tolist()}
        together: dict[tuple[str, ...], list[int]] = {}
        for each, weights in makers.items():
            if each in read and each not in fixed and names.issuperset(weights):
                together.setdefault(tuple(weights), []).append(each)
        groups: dict[str, Group] = {}
        numbers = np.full(self._count, -1)
        start = 0
        for made_by, channels in together.items():
            group = Group(made_by, start, start + len(channels))
            groups[_unused(made_by[0], groups)] = group
            numbers[channels] = range(group.start, group.stop)
            start = group.stop
        return {
            block: torch.from_numpy(numbers[component[self._nodes(block)]]) for block in blocks
        }, groups

    def _in_order(self) -> list[_Block]:
        """The blocks that were met, in the order of the model."""
        sides: tuple[Side, Side] = ("out", "in")
        blocks: list[_Block] = [(module, side) for module in self._names for side in sides]
        return [block for block in blocks if block in self._first]

    def _components(self) -> np.ndarray:
        none = np.empty(0, dtype=np.int64)
        one, other = (
            np.concatenate([none, *(each[side] for each in self._edges)]) for side in (0, 1)
        )
        ones = np.ones(len(one), dtype=np.int8)
        graph = coo_array((ones, (one, other)), shape=(self._count, self._count))
        return np.asarray(connected_components(graph, directed=False)[1])

    def _nodes(self, block: _Block) -> np.ndarray:
        """The nodes of a block, which gets them when it is first met."""
        if block not in self._first:
            self._first[block], self._size[block] = self._count, _width(*block)
            self._count += self._size[block]
        return np.arange(self._first[block], self._first[block] + self._size[block])

    def _is_known(self, module: nn.Module) -> bool:
        """Whether a module's tensors can be cut: it is of a known kind and shares none of them."""
        kind = (
            isinstance(module, nn.Linear | _BatchNorm | nn.PReLU | _ConvNd)
            and not isinstance(module, _ConvTransposeNd)
        ) or hasattr(module, "channel_source")
        own = dict(module.named_parameters(recurse=False))
        plain = (
            isinstance(module, _BatchNorm) or hasattr(module, "channel_source") or "weight" in own
        )
        return kind and plain and not any(id(parameter) in self._tied for parameter in own.values())


def _width(module: Any, side: Side) -> int:
    """How many inputs or outputs a module of a known kind has."""
    if hasattr(module, "channel_source"):
        return len(module.channel_source) if side == "out" else int(module.inputs)
    if isinstance(module, _BatchNorm):
        return module.num_features
    if isinstance(module, nn.PReLU):
        return module.num_parameters
    if isinstance(module, nn.Linear):
        return module.out_features if side == "out" else module.in_features
    width: int = module.out_channels if side == "out" else module.in_channels
    return width


def _unused(name: str, groups: Mapping[str, Group]) -> str:
    """``name``, or with a number where a layer makes channels of several groups."""
    candidates = (name if n == 1 else f"{name} ({n})" for n in range(1, len(groups) + 2))
    return next(each for each in candidates if each not in groups)


def _add_heads(
    model: nn.Module,
    names: set[str],
    dimensions: dict[str, dict[int, Tensor]],
    groups: dict[str, Group],
) -> None:
    """Number the heads of each attention module on from the channels, a group for each module."""
    start = max((group.stop for group in groups.values()), default=0)
    for name, module in model.named_modules():
        if not isinstance(module, nn.MultiheadAttention) or module.in_proj_weight is None:
            continue
        prefix = f"{name}." if name else ""
        weight = f"{prefix}in_proj_weight"
        if weight not in names or module.bias_k is not None or module.add_zero_attn:
            continue
        of_position = torch.arange(module.embed_dim) // module.head_dim + start
        dimensions[weight] = {0: of_position.repeat(3)}  # queries, keys, values
        if module.in_proj_bias is not None:
            dimensions[f"{prefix}in_proj_bias"] = {0: of_position.repeat(3)}
        dimensions[f"{prefix}out_proj.weight"] = {1: of_position}
        groups[weight] = Group((weight,), start, start + module.num_heads)
        start += module.num_heads
