"""Finding out which channels of a network can only be removed together.

The network is run once (:mod:`.tracing`). Then each half of the channels is removed for a try:
those of which the network's code loses track, since it has their number written into it, stay.
Heads of attention go as a whole.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ...errors import UsageError
from ...protocols import ChannelGroup, NamesChannels, declared
from .coupling import Coupling, Group
from .nodes import FIXED, Nodes, is_layer, number_nodes
from .shrinking import shrink
from .tracing import Call, Trace, trace


def couple(model: nn.Module, example: Tensor, names: Sequence[str]) -> Coupling:
    """Find the channels of ``model`` that can be removed.

    The network is traced, unless it says itself what its channels are, as recurrent ones do
    (:class:`.NamesChannels`). A module that moves channels about says so (:class:`.MovesChannels`).

    Args:
        model: the network; it is left as it was.
        example: inputs on which it can run.
        names: weights whose outputs may be removed; channels that other weights make stay.

    Raises:
        UsageError: the network cannot be traced.
    """
    if (says := declared(model, NamesChannels)) is not None:
        return _as_declared(model, says.channel_groups(), set(names))
    # With channels last a shrunk network may reshape by other operations than the whole one, as of
    # kernels with one input or one pixel the strides do not tell the format, and pooling over all
    # of an image sets strides by hand, which is not followed.
    model = copy.deepcopy(model).to(memory_format=torch.contiguous_format)
    example = example.contiguous()
    nodes, count = number_nodes(model)
    traced = trace(model, example, nodes)
    if traced.error is not None:
        raise UsageError(
            f"the channels of {type(model).__name__} cannot be traced "
            f"({type(traced.error).__name__}: {traced.error}); use a structure that needs no "
            "tracing"
        ) from traced.error
    fixed: list[Tensor] = []
    while True:
        component = _connected(nodes, count, traced, fixed)
        channel, groups = _numbered(model, nodes, component, traced.read, set(names))
        coupling = _coupling(nodes, traced, channel, groups)
        if not coupling.channels:
            break
        misread = _misread(model, example, nodes, traced, channel, coupling)
        if misread is None:
            break
        fixed.append(misread)
    return _with_heads(model, set(names), coupling)


def _coupling(nodes: Nodes, traced: Trace, channel: Tensor, groups: dict[str, Group]) -> Coupling:
    dimensions: dict[str, dict[int, Tensor]] = {}
    for name, dims in nodes.items():
        for dim, each in dims.items():
            if (channel[each] >= 0).any():
                dimensions.setdefault(name, {})[dim] = channel[each]
    return Coupling(
        groups, dimensions, {name: channel[inputs] for name, inputs in traced.moved.items()}
    )


def _as_declared(model: nn.Module, said: Iterable[ChannelGroup], names: set[str]) -> Coupling:
    """The channels of those groups that weights in ``names`` make, numbered on."""
    first = {id(parameter): name for name, parameter in model.named_parameters()}
    groups: dict[str, Group] = {}
    dimensions: dict[str, dict[int, Tensor]] = {}
    start = 0
    for makers, positions in said:
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


def _connected(nodes: Nodes, count: int, traced: Trace, fixed: Sequence[Tensor]) -> Tensor:
    """For each node the number of what goes together with it, 0 for all that stays."""
    from scipy.sparse import coo_array  # where no channels are sought, it is not needed
    from scipy.sparse.csgraph import connected_components

    stays = torch.cat([torch.tensor([FIXED]), *traced.fixed, *fixed])
    joined = [*traced.joined, (stays, torch.full_like(stays, FIXED))]
    one, other = (np.concatenate([pair[side].numpy() for pair in joined]) for side in (0, 1))
    graph = coo_array((np.ones(len(one), dtype=np.int8), (one, other)), shape=(count, count))
    components = torch.from_numpy(connected_components(graph, directed=False)[1]).long()
    return torch.where(components == components[FIXED], 0, components + 1)


def _numbered(
    model: nn.Module, nodes: Nodes, component: Tensor, read: Sequence[Tensor], names: set[str]
) -> tuple[Tensor, dict[str, Group]]:
    """The number of the channel of each node, −1 for none, and the groups of channels.

    What goes together is a channel if weights in ``names``, and no others, make it, if some layer
    reads it, and if it is not alone in its group, which keeps one.
    """
    makers: dict[int, list[tuple[str, int]]] = {}
    for path, module in model.named_modules():
        name = f"{path}.weight".lstrip(".")
        if is_layer(module) and 0 in nodes.get(name, {}):
            filters = Counter(component[nodes[name][0]].tolist())
            for each, count in filters.items():
                makers.setdefault(each, []).append((name, count))
    are_read = {each for inputs in read for each in component[inputs].tolist()}
    together: dict[tuple[tuple[str, int], ...], list[int]] = {}
    for each, filters_of in makers.items():
        if each and each in are_read and names.issuperset(name for name, _ in filters_of):
            together.setdefault(tuple(filters_of), []).append(each)
    groups: dict[str, Group] = {}
    numbers = torch.full((int(component.max()) + 1,), -1)
    start = 0
    for made_by, channels in together.items():
        if len(channels) > 1:
            weights = tuple(name for name, _ in made_by)
            group = Group(weights, start, start + len(channels))
            groups[_unused(weights[0], groups)] = group
            numbers[channels] = torch.arange(group.start, group.stop)
            start = group.stop
    return numbers[component], groups


def _misread(
    model: nn.Module, example: Tensor, nodes: Nodes, traced: Trace, channel: Tensor, some: Coupling
) -> Tensor | None:
    """Nodes of channels that code would lose track of, if channels were removed; None if none is.

    A network may have a number of channels written into it, where it splits or reshapes. So half
    of the channels are removed, and what is left is traced: everywhere there have to be the nodes
    that stay. Then the other half is: code that drops channels is right about those it drops.
    """
    half = some.half("channels", "tracing")
    tried = (
        _misread_without(model, example, nodes, traced, channel, some, k) for k in (half, ~half)
    )
    return next((misread for misread in tried if misread is not None), None)


def _misread_without(
    model: nn.Module,
    example: Tensor,
    nodes: Nodes,
    traced: Trace,
    channel: Tensor,
    some: Coupling,
    kept: Tensor,
) -> Tensor | None:
    """The same, of the network with the channels in ``kept`` alone."""
    stays = torch.cat([kept, kept.new_ones(1)])[channel]
    left = {
        name: {dim: each[stays[each]] for dim, each in dims.items()} for name, dims in nodes.items()
    }
    shrunk = trace(shrink(model, some, kept), example, left)
    agree = [
        _is_left_of(one, other, stays)
        for one, other in zip(traced.calls, shrunk.calls, strict=False)
    ]
    if all(agree) and len(agree) == len(traced.calls) and shrunk.error is None:
        return None
    removable = channel >= 0
    wrong = min((*agree, False).index(False), len(traced.calls) - 1)
    # If nothing that enters or leaves this operation can go, it is something before.
    for call in reversed(traced.calls[: wrong + 1]):
        if removable[call.nodes].any():
            # What one line of code does in this block, it does in all the others.
            alike = [each.nodes for each in traced.calls if call.place and each.place == call.place]
            nodes_there = torch.cat([call.nodes, *alike])
            return nodes_there[removable[nodes_there]]
    return removable.nonzero().flatten()


def _is_left_of(call: Call, shrunk: Call, stays: Tensor) -> bool:
    """Whether a call gives what that of the whole network gives, but for nodes that go."""
    if (call.operation, call.numbers) != (shrunk.operation, shrunk.numbers):
        return False
    if len(call.outputs) != len(shrunk.outputs):
        return False
    for (shape, nodes), (smaller, left) in zip(call.outputs, shrunk.outputs, strict=True):
        if len(shape) != len(smaller):
            return False
        varies = [size > 1 for size in nodes.shape]
        if any(
            one != other
            for one, other, free in zip(shape, smaller, varies, strict=True)
            if not free
        ):
            return False
        sizes = [size if free else 1 for size, free in zip(smaller, varies, strict=True)]
        if any(one not in (1, other) for one, other in zip(left.shape, sizes, strict=True)):
            return False
        if not torch.equal(nodes[stays[nodes]], left.expand(sizes).flatten()):
            return False
    return True


def _unused(name: str, groups: Mapping[str, Group]) -> str:
    """``name``, or with a number where a layer makes channels of several groups."""
    candidates = (name if n == 1 else f"{name} ({n})" for n in range(1, len(groups) + 2))
    return next(each for each in candidates if each not in groups)


def _with_heads(model: nn.Module, names: set[str], coupling: Coupling) -> Coupling:
    """Number the heads of each attention module on from the channels, a group for each module."""
    groups, dimensions = dict(coupling.groups), dict(coupling.dimensions)
    start = coupling.channels
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
        # Its outputs may be channels themselves, where nothing is added to them.
        outputs = dimensions.get(f"{prefix}out_proj.weight", {})
        dimensions[f"{prefix}out_proj.weight"] = {**outputs, 1: of_position}
        groups[weight] = Group((weight,), start, start + module.num_heads)
        start += module.num_heads
    return Coupling(groups, dimensions, coupling.sources)
