"""How weights are distributed: histograms of each layer before and after pruning, and last."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

BINS = 64
"""Bins of a histogram, of equal width, half of them for negative weights."""


class Histograms(NamedTuple):
    """Counts of the weights of a layer that are not zero, in :data:`BINS` bins.

    The bins go from ``-limit`` to ``limit``, the largest magnitude of all three states; a state
    that is not known has no counts.
    """

    name: str
    limit: float
    dense: tuple[int, ...]
    pruned: tuple[int, ...]
    recovered: tuple[int, ...]


def histograms(
    dense: Mapping[str, Tensor], pruned: Mapping[str, Tensor], recovered: Mapping[str, Tensor]
) -> list[Histograms]:
    """A row for each weight of ``recovered``, in its order.

    A weight that is not finite in one of its states, or zero in all of them, has no row.

    Args:
        dense: parameter name → weights of the unpruned network; names may be missing.
        pruned: the same straight after the last pruning.
        recovered: the same at the end.
    """
    rows = []
    for name, weight in recovered.items():
        states = [dense.get(name), pruned.get(name), weight]
        limits = [float(each.abs().max()) for each in states if each is not None and each.numel()]
        limit = max(limits, default=0.0)
        if limit > 0 and all(map(math.isfinite, limits)):
            rows.append(Histograms(name, limit, *(_counts(each, limit) for each in states)))
    return rows


def _counts(weights: Tensor | None, limit: float) -> tuple[int, ...]:
    if weights is None:
        return ()
    there = weights[weights != 0].float().cpu()
    return tuple(torch.histc(there, BINS, -limit, limit).int().tolist())
