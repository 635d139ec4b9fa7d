"""Which examples were looked at: their number, their shape, and the digest of their contents."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

from torch import Tensor, uint8

from ...datasets import Batch


class Pass(NamedTuple):
    """A pass over training examples.

    Attributes:
        batches: how many there were.
        examples: how many they had together.
        shape: of one example's input, such as the length of a sequence.
        digest: SHA-256 of inputs and labels, batch after batch.
    """

    batches: int
    examples: int
    shape: tuple[int, ...]
    digest: str


def noted(batches: Iterator[Batch], passes: list[Pass]) -> Iterator[Batch]:
    """The batches; what they were is added to ``passes`` when they have been looked at."""
    digest = hashlib.sha256()
    sizes: list[int] = []
    shape: tuple[int, ...] = ()
    try:
        for batch in batches:
            for part in batch:
                digest.update(content(part))
            sizes.append(len(batch[0]))
            shape = tuple(batch[0].shape[1:])
            yield batch
    finally:
        if sizes:
            passes.append(Pass(len(sizes), sum(sizes), shape, digest.hexdigest()))


def content(tensor: Tensor) -> bytes:
    """The elements of a tensor in the order of its dimensions, however it is stored."""
    return tensor.detach().cpu().contiguous().flatten().view(uint8).numpy().tobytes()
