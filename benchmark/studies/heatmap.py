"""Where in each weight matrix a finished run has kept weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from ...errors import UsageError
from ...results import Layer, Place, Record, Store
from .restoring import read_weights

_MOST_BLOCKS = 32


def kept_in_blocks(record: Record, store: Store) -> pd.DataFrame:
    """The fraction of weights kept in each block of each prunable weight of a run.

    A weight is a matrix of its first dimension × all else, cut into up to 32 × 32 blocks. The first
    are the outputs, but of layers that keep their inputs first: which these are, only the network
    knows, and it is not made here. The columns are those of
    :data:`prunebench.results.heatmap.HEATMAP_COLUMNS`.

    Raises:
        UsageError: the run has no weights, or they are damaged or not those of the record.
    """
    path = store.weights_path(record.id)
    weights = read_weights(record.id, path)
    prunable = [layer for layer in record.layers if layer.weight_class]
    for layer in prunable:
        _check(layer, weights, path)
    rows = [
        row
        for layer in prunable
        for row in _blocks(layer.name, layer.weight_class, weights[layer.name])
    ]
    if not rows:
        raise UsageError(
            f"the record {record.id} does not say which of its weights are prunable: it is of an "
            "earlier version; run it again with --force"
        )
    return pd.DataFrame(rows)


def _check(layer: Layer, weights: Mapping[str, Tensor], path: Place) -> None:
    if layer.name not in weights:
        raise UsageError(f"{path} does not have the weights of the record: it lacks {layer.name}")
    shape = tuple(weights[layer.name].shape)
    if shape != layer.shape or 0 in (shape or (0,)):
        raise UsageError(
            f"{path} does not have the weights of the record: {layer.name} is {shape} instead of "
            f"{layer.shape}"
        )


def _blocks(name: str, weight_class: str, weight: Tensor) -> Iterator[dict[str, Any]]:
    kept = weight.reshape(len(weight), -1).ne(0).numpy()
    edges = [
        np.linspace(0, size, min(size, _MOST_BLOCKS) + 1).round().astype(int) for size in kept.shape
    ]
    sums = np.add.reduceat(kept.astype(float), edges[0][:-1], axis=0)
    sums = np.add.reduceat(sums, edges[1][:-1], axis=1)
    sizes = np.outer(np.diff(edges[0]), np.diff(edges[1]))
    for (row, column), fraction in np.ndenumerate(sums / sizes):
        yield {
            "weight": name,
            "weight_class": weight_class,
            "first_row": edges[0][row],
            "first_column": edges[1][column],
            "block_rows": edges[0][row + 1] - edges[0][row],
            "block_columns": edges[1][column + 1] - edges[1][column],
            "kept": fraction,
        }
