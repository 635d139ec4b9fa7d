"""How many parameters a model has, and how many of them are not zero."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from .metric import Measurements, Metric, Subject, register


@register
@dataclass(frozen=True)
class Size(Metric):
    """Parameters, nonzero parameters, compression and sparsity.

    Of the whole network, biases and normalisation included, and of its prunable part. A parameter
    shared by several modules counts once. All is relative to the dense network: one that has grown,
    as run-time gating makes it, has a compression below 1 and a sparsity below 0.
    """

    definitions = {
        "parameters": "number of parameters of the whole dense network",
        "nonzero": "number of parameters of the whole network that are not zero",
        "compression": "parameters / nonzero",
        "sparsity": "1 - nonzero / parameters",
        "prunable_parameters": "number of weights that the strategy may prune",
        "prunable_nonzero": "number of those that are not zero",
        "prunable_compression": "prunable_parameters / prunable_nonzero",
        "prunable_sparsity": "1 - prunable_nonzero / prunable_parameters",
    }

    def measure(self, subject: Subject) -> Measurements:
        """Counts, and their ratios; a compression is infinite where nothing is left."""
        weights = dict(subject.model.named_parameters())
        prunable = [weights[name] for name in subject.prunable]
        part = {f"prunable_{name}": n for name, n in _counts(prunable, prunable).items()}
        return _counts(subject.dense.parameters(), weights.values()) | part


def _counts(dense: Iterable[Tensor], pruned: Iterable[Tensor]) -> Measurements:
    parameters = sum(tensor.numel() for tensor in dense)
    nonzero = sum(int(torch.count_nonzero(tensor)) for tensor in pruned)
    return {
        "parameters": parameters,
        "nonzero": nonzero,
        "compression": parameters / nonzero if nonzero else inf,
        "sparsity": 1 - nonzero / parameters if parameters else 0.0,
    }
