"""Blocks of a transformer, gone through one at a time, each on what the one before it gave out."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ...datasets import Batch, Task
from .activations import hooked
from .modes import evaluation_mode


class BlockByBlock:
    """Batches on their way through the blocks of a network.

    To be shown to a layer of some block they pass that block alone, and not the whole network: what
    they are when they come to it is kept, for every batch, until the next block has its turn.

    Args:
        model: the network, which is in evaluation mode whenever something is sent.
        task: sends a batch through it.
        blocks: as :func:`find_blocks` finds them.
    """

    def __init__(self, model: nn.Module, task: Task, blocks: Sequence[nn.Module]) -> None:
        self._model, self._task, self._blocks = model, task, blocks
        self._place = 0
        self._calls: list[_Call] = []
        self._batches: Sequence[Batch] | None = None

    def send(self, batches: Sequence[Batch], block: int) -> None:
        """Send batches through a block, and once through each before it, as it is by now.

        Args:
            batches: the same list each time, or all begins anew.
            block: its number; blocks have their turns in order, or all begins anew.
        """
        if self._batches is not batches or block < self._place:
            self._calls = [call for batch in batches for call in self._coming(batch)]
            self._batches, self._place = batches, 0
        for passed in self._blocks[self._place : block]:
            for number, call in enumerate(self._calls):
                self._calls[number] = call.followed_by(call.of(passed))
        self._place = block
        for call in self._calls:
            call.of(self._blocks[block])

    def _coming(self, batch: Batch) -> list[_Call]:
        """How the first block is called with a batch, where it goes no further."""
        calls: list[_Call] = []

        def stop(_: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
            calls.append(_Call(inputs, named))
            raise _StopError

        hook = self._blocks[0].register_forward_pre_hook(stop, with_kwargs=True)
        try:
            with suppress(_StopError):
                self._task.loss(self._model, batch)
        finally:
            hook.remove()
        return calls


def find_blocks(model: nn.Module, task: Task) -> list[nn.Module]:
    """The blocks of a network of which each goes on from the one before; none if there are no such.

    They are the modules of an ``nn.ModuleList``, used once each and in turn, whose first input is
    what the one before gives out, or the first of what it does. All else that they are given is the
    same for all of them, so that a block depends on those before it by that input alone. That going
    through them a second time gives the same is tried, on a training example.
    """
    lists = [list(each) for each in model.modules() if isinstance(each, nn.ModuleList)]
    members = {id(block): block for blocks in lists for block in blocks}
    if not members:
        return []
    uses: list[_Use] = []

    def note(block: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], out: Any) -> None:
        values = first.clone() if isinstance(first := _first(out), Tensor) else None
        uses.append(_Use(block, _Call(inputs, named), out, values))

    batch = next(iter(task.batches("train", 1)))
    with evaluation_mode(model), torch.no_grad():
        with hooked(members.values(), note, named=True):
            task.loss(model, batch)
        with hooked([], note):  # so that it is computed in the same way
            found = [blocks for blocks in lists if _goes_on(blocks, uses)]
    return max(found, key=_parameters, default=[])


class _StopError(Exception):
    """A batch has come to the first block."""


class _Call(NamedTuple):
    """What a block is called with."""

    inputs: tuple[Any, ...]
    named: dict[str, Any]

    def of(self, block: nn.Module) -> Any:
        return block(*self.inputs, **self.named)

    def followed_by(self, output: Any) -> _Call:
        """The call of the next block, after this one has given ``output``."""
        return _Call((_first(output), *self.inputs[1:]), self.named)

    def differs_in_more(self, other: _Call) -> bool:
        """Whether anything but the first input is another."""
        if len(self.inputs) != len(other.inputs) or self.named.keys() != other.named.keys():
            return True
        pairs = zip(self.inputs[1:], other.inputs[1:], strict=True)
        named = ((self.named[name], other.named[name]) for name in self.named)
        return not all(_is_same(*pair) for pair in (*pairs, *named))


class _Use(NamedTuple):
    """A call of a block, what it gave, and the values of that, which others may have changed."""

    block: nn.Module
    call: _Call
    output: Any
    values: Tensor | None


def _goes_on(blocks: Sequence[nn.Module], uses: Sequence[_Use]) -> bool:
    """Whether each block goes on from the one before, and depends on those by nothing else."""
    chain = [use for use in uses if use.block in blocks]
    if len(chain) < 2 or [use.block for use in chain] != blocks or chain[-1].values is None:
        return False
    for before, after in pairwise(chain):
        handed_on = after.call.inputs and after.call.inputs[0] is _first(before.output)
        if not handed_on or after.call.differs_in_more(before.call):
            return False
    call = chain[0].call
    for block in blocks:
        call = call.followed_by(call.of(block))
    return torch.equal(call.inputs[0], chain[-1].values)


def _parameters(blocks: Sequence[nn.Module]) -> int:
    return sum(each.numel() for block in blocks for each in block.parameters())


def _first(output: Any) -> Any:
    return output[0] if isinstance(output, tuple) else output


def _is_same(one: object, other: object) -> bool:
    plain = isinstance(one, bool | int | float | str)
    return one is other or (plain and type(one) is type(other) and one == other)
