"""Digests of what a cell was given and what it made, by which others know that theirs are equal."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from torch import Tensor

from ...datasets import Split, Task
from ...results import Calibration
from ...strategies import content

_BATCH = 500
_SPLITS: tuple[Split, ...] = ("validation", "test")


def digest_of_data(task: Task) -> str:
    """SHA-256 of the examples and labels of the validation and test splits."""
    digest = hashlib.sha256()
    for split in _SPLITS:
        for batch in task.batches(split, _BATCH):
            for tensor in batch:
                digest.update(content(tensor))
    return digest.hexdigest()


def digest_of_weights(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of parameters and buffers: their names, types, shapes and bits."""
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(content(tensor))
    return digest.hexdigest()


def digest_of_calibration(passes: Iterable[Calibration]) -> str:
    """SHA-256 of the digests of all examples that were looked at to prune, pass after pass."""
    return hashlib.sha256("".join(each.digest for each in passes).encode()).hexdigest()
