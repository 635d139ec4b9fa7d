"""How many multiply–adds one example costs: counted by fvcore, dense and without the zeros.

A FLOP is one multiply–add of a convolution or a matrix product. Normalisation, activations,
pooling and additions are not counted.
"""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor, nn

from .metric import Measurements, Metric, Subject, register
from .modes import inference

# What fvcore counts beside convolutions and matrix products, and we do not.
_NOT_COUNTED = (
    "aten::batch_norm",
    "aten::group_norm",
    "aten::layer_norm",
    "aten::instance_norm",
    "aten::upsample_nearest2d",
    "aten::upsample_bilinear2d",
    "aten::adaptive_avg_pool2d",
    "aten::grid_sampler",
)


@register
@dataclass(frozen=True)
class Flops(Metric):
    """Multiply–adds of one example, and the speedup that skipping the zeros would give."""

    definitions = {
        "flops": "multiply-adds of convolutions and matrix products for one example",
        "effective_flops": "flops without multiplications by weights that are zero",
        "theoretical_speedup": "flops of the dense network / effective_flops",
    }

    def measure(self, subject: Subject) -> Measurements:
        """Counts of the model; the dense network has the same graph, hence the same flops."""
        by_module = flops_by_module(subject.model, subject.task.inputs(1))
        total = sum(by_module.values())
        effective = sum(
            flops * _density(subject.model.get_submodule(name)) for name, flops in by_module.items()
        )
        return {
            "flops": total,
            "effective_flops": effective,
            "theoretical_speedup": total / effective if effective else inf,
        }


def flops_by_module(model: nn.Module, inputs: Tensor) -> Counter[str]:
    """Multiply–adds of each module's own operations, its submodules' not included.

    Args:
        model: any module that torch.jit can trace.
        inputs: a batch; the counts are those of the whole batch.
    """
    with inference(model), _silent_tracing():
        from fvcore.nn import FlopCountAnalysis  # importing it warns: it scripts a loss function

        analysis = FlopCountAnalysis(model, inputs)
        analysis.set_op_handle(**dict.fromkeys(_NOT_COUNTED, _nothing))
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        totals = analysis.by_module()
    own = Counter({name: int(flops) for name, flops in totals.items()})
    for name, flops in totals.items():
        if name:
            own[name.rpartition(".")[0]] -= int(flops)
    return Counter({name: flops for name, flops in own.items() if flops > 0})


def _nothing(inputs: object, outputs: object) -> int:
    """The count of an operation that is not counted (fvcore ignores a None for those it knows)."""
    return 0


def _density(module: nn.Module) -> float:
    """Fraction of a module's own weights that are not zero; 1 if it has none.

    Each weight of a convolution or a linear layer takes part in equally many multiply–adds.
    """
    weights = [weight for weight in module.parameters(recurse=False) if weight.ndim >= 2]
    count = sum(weight.numel() for weight in weights)
    return sum(int(torch.count_nonzero(weight)) for weight in weights) / count if count else 1.0


@contextmanager
def _silent_tracing() -> Iterator[None]:
    """Keep off the terminal what fvcore says of its own imports and of uncounted operations."""
    logger = logging.getLogger("fvcore.nn.jit_analysis")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
