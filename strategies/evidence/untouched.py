"""Scoring looks at a network and changes nothing: how one is caught that does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ...errors import UsageError
from .context import Context

_OWN_DOING = (
    "; a buffer that the network changes itself whenever it is run is to be changed only where "
    "self.training is true"
)


@contextmanager
def left_untouched(context: Context, strategy: str) -> Iterator[None]:
    """Make sure that what is done inside changes neither masks nor network of ``context``.

    Weights may be changed for a while and put back bit by bit, masks may not be written to.

    Args:
        context: what a strategy is given to score.
        strategy: its name.

    Raises:
        UsageError: something is different afterwards.
    """
    masks = {name: _Mask.of(mask) for name, mask in context.masks.items()}
    sums = _sums(context.model)
    yield
    changed = [
        f"context.masks[{name!r}]" for name, mask in masks.items() if mask.changed(context, name)
    ]
    changed += [
        f"{name} of the network"
        for name, after in _sums(context.model).items()
        if name not in sums or not _same(sums[name], after)
    ]
    if changed:
        buffers = {f"{name} of the network" for name, _ in context.model.named_buffers()}
        hint = "" if buffers.isdisjoint(changed) else _OWN_DOING
        more = f" and {len(changed) - 1} more" if changed[1:] else ""
        raise UsageError(
            f"strategy {strategy}: scoring changes {changed[0]}{more} in place, with which "
            f"everything goes on; compute on copies, as weight.abs() and mask.clone() are{hint}"
        )


class _Mask(NamedTuple):
    """A mask, how often it was written to, and how many weights it keeps."""

    mask: Tensor
    version: int
    kept: int

    @classmethod
    def of(cls, mask: Tensor) -> _Mask:
        version = 0 if mask.is_inference() else mask._version
        return cls(mask, version, int(mask.count_nonzero()))

    def changed(self, context: Context, name: str) -> bool:
        """Whether the context has another one now, or other values in this one."""
        now = context.masks.get(name)
        return now is not self.mask or _Mask.of(now)[1:] != self[1:]


def _sums(model: nn.Module) -> dict[str, Tensor]:
    """The sum of each row of each parameter and buffer: no change that matters keeps them all."""
    return {
        name: tensor.detach().sum(tuple(range(1, tensor.ndim)))
        for name, tensor in model.state_dict().items()
        if isinstance(tensor, Tensor)
    }


def _same(one: Tensor, other: Tensor) -> bool:
    is_like = one.dtype == other.dtype and one.shape == other.shape
    return is_like and torch.allclose(one, other, 0.0, 0.0, equal_nan=True)
