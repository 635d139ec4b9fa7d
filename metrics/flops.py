"""How many multiply–adds one example costs: counted by fvcore, dense and without the zeros.

A FLOP is one multiply–add of a convolution or a matrix product, those of recurrent layers and of
attention included. Normalisation, activations, pooling and additions are not counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from .gates import shares_of_work
from .metric import Measurements, Metric, Subject, register
from .work import flops_by_module, work_left


@register
@dataclass(frozen=True)
class Flops(Metric):
    """Multiply–adds of one example, and the speedup that skipping the zeros would give."""

    definitions = {
        "flops": "multiply-adds of convolutions and matrix products for one example",
        "effective_flops": "flops without multiplications by weights that are zero, and without "
        "channels that the model closes for an example (the mean over test examples)",
        "theoretical_speedup": "flops of the dense network / effective_flops",
    }

    def measure(self, subject: Subject) -> Measurements:
        """Counts of the model; the dense network has the same graph, unless gates were added."""
        example = subject.task.inputs(1)
        work = subject.work
        shares = shares_of_work(subject.model, subject.task, subject.split)
        total = dense = sum(each.flops for each in work)
        if shares:
            dense = sum(flops_by_module(subject.dense, example).values())
        left = work_left(work, subject.shrunk, example)
        effective = sum(each.effective * shares.get(each.module, 1.0) for each in left)
        return {
            "flops": total,
            "effective_flops": effective,
            "theoretical_speedup": dense / effective if effective else inf,
        }
