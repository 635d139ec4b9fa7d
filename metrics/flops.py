"""How many multiply–adds one example costs: counted by fvcore, dense and without the zeros.

A FLOP is one multiply–add of a convolution or a matrix product, those of recurrent layers and of
attention included. Normalisation, activations, pooling and additions are not counted.
"""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf, prod
from typing import Any

import torch
from torch import Tensor, nn

from .gates import shares_of_work
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

# What fvcore does not know.
_RECURRENT = ("aten::lstm", "aten::gru", "aten::rnn_tanh", "aten::rnn_relu")


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
        by_module = flops_by_module(subject.model, example)
        shares = shares_of_work(subject.model, subject.task, subject.split)
        total = dense = sum(by_module.values())
        if shares:
            dense = sum(flops_by_module(subject.dense, example).values())
        effective = sum(
            flops * _density(subject.model.get_submodule(name)) * shares.get(name, 1.0)
            for name, flops in by_module.items()
        )
        return {
            "flops": total,
            "effective_flops": effective,
            "theoretical_speedup": dense / effective if effective else inf,
        }


def flops_by_module(model: nn.Module, inputs: Tensor) -> Counter[str]:
    """Multiply–adds of each module's own operations, its submodules' not included.

    Args:
        model: any module that torch.jit can trace.
        inputs: a batch; the counts are those of the whole batch.
    """
    with inference(model), _traceable():
        from fvcore.nn import FlopCountAnalysis  # importing it warns: it scripts a loss function

        analysis = FlopCountAnalysis(model, inputs)
        analysis.set_op_handle(**dict.fromkeys(_NOT_COUNTED, _nothing))
        analysis.set_op_handle(**dict.fromkeys(_RECURRENT, _recurrent))
        analysis.set_op_handle("aten::scaled_dot_product_attention", _attention)
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


def _recurrent(inputs: Sequence[Any], outputs: object) -> int:
    """Each weight of a recurrent layer takes part once for each element of each sequence."""
    steps = prod(
        _shape(inputs[0])[:-1]
    )  # also of a packed sequence, whose data are steps × features
    lists = [value.node() for value in inputs if value.node().kind() == "prim::ListConstruct"]
    weights = [shape for shape in map(_shape, lists[-1].inputs()) if len(shape) == 2]
    return steps * sum(map(prod, weights))


def _attention(inputs: Sequence[Any], outputs: object) -> int:
    """The products of queries with keys, and of what comes out with values."""
    query, key, value = map(_shape, inputs[:3])
    return prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def _shape(value: Any) -> tuple[int, ...]:
    """The shape of a tensor in a traced graph."""
    return tuple(value.type().sizes())


def _density(module: nn.Module) -> float:
    """Fraction of a module's own weights that are not zero; 1 if it has none.

    Each weight of a convolution or a linear layer takes part in equally many multiply–adds.
    """
    weights = [weight for weight in module.parameters(recurse=False) if weight.ndim >= 2]
    count = sum(weight.numel() for weight in weights)
    return sum(int(torch.count_nonzero(weight)) for weight in weights) / count if count else 1.0


@contextmanager
def _traceable() -> Iterator[None]:
    """Keep off the terminal what fvcore says of its own imports and of uncounted operations.

    And have attention traced as the operations it consists of, not as one that nothing can count.
    """
    logger = logging.getLogger("fvcore.nn.jit_analysis")
    level = logger.level
    logger.setLevel(logging.ERROR)
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
        torch.backends.mha.set_fastpath_enabled(fused)
