"""Digests of what a cell was given and what it made, by which others know that theirs are equal."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from torch import Tensor, uint8

from ...datasets import Split, Task

_BATCH = 500
_SPLITS: tuple[Split, ...] = ("validation", "test")


def digest_of_data(task: Task) -> str:
    """SHA-256 of the examples and labels of the validation and test splits."""
    digest = hashlib.sha256()
    for split in _SPLITS:
        for batch in task.batches(split, _BATCH):
            for tensor in batch:
                digest.update(_content(tensor))
    return digest.hexdigest()


def digest_of_weights(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of parameters and buffers: their names, types, shapes and bits."""
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(_content(tensor))
    return digest.hexdigest()


def _content(tensor: Tensor) -> bytes:
    """The elements of a tensor in the order of its dimensions, however it is stored."""
    return tensor.detach().cpu().contiguous().flatten().view(uint8).numpy().tobytes()
