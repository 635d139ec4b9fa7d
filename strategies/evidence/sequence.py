"""The layers of a network one after the other, in the order in which it uses them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import nn

from .activations import Owners, hooked, owners
from .blocks import BlockByBlock, find_blocks
from .context import Context, Way
from .modes import evaluation_mode


def in_sequence(context: Context) -> Iterator[Context]:
    """The context of each layer by itself, those that the network does not use last.

    Scoring batches are the same for all layers. Where each is pruned before the next is asked for,
    a layer is calibrated on what the pruned layers before it give out. To come to a layer in a
    block of a transformer they pass that block, and not the whole network.
    """
    modules = owners(context.model, context.masks, (nn.Module,))
    blocks = find_blocks(context.model, context.task)
    parts = [set(block.modules()) for block in blocks]
    walk = BlockByBlock(context.model, context.task, blocks)

    def way(name: str) -> Way | None:
        users = modules.get(name, [])
        places = [place for place, part in enumerate(parts) if not part.isdisjoint(users)]
        if len(places) == 1 and parts[places[0]].issuperset(users):
            return partial(walk.send, block=places[0])
        return None

    return context.layers({name: way(name) for name in _in_order(context, modules)})


def _in_order(context: Context, modules: Owners) -> list[str]:
    """The prunable weights' names in the order of their first use."""
    called: list[nn.Module] = []

    def note(module: nn.Module, inputs: Any, output: Any) -> None:
        called.append(module)

    watched = {id(module): module for group in modules.values() for module in group}
    batch = next(iter(context.task.batches("train", 1)))
    with evaluation_mode(context.model), torch.no_grad(), hooked(watched.values(), note):
        context.task.loss(context.model, batch)
    places = {id(module): place for place, module in reversed(list(enumerate(called)))}
    last = len(called)
    first = {name: min(places.get(id(m), last) for m in group) for name, group in modules.items()}
    return sorted(context.masks, key=lambda name: first.get(name, last))
