"""What rounding weights to 8 bits costs: the rival of pruning where bytes are to be saved."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..orientation import transposed_weights
from .metric import Measurements, Metric, Subject, own_metric, register

_LARGEST = 127


@register
@dataclass(frozen=True)
class Int8Weights(Metric):
    """Quality and bytes of the network as it is with its weights rounded to 8 bits.

    Each output of a matrix or a convolution, and each row of an embedding, has a scale of its own:
    its largest weight is 127 steps from zero. What has one dimension only, such as biases, stays as
    it is, and so do activations, so that nothing is said of speed (``OnnxInt8`` is for that).
    """

    definitions = {
        "int8_quality": "the task's primary quality metric on the test split with weights rounded "
        "to 8 bits",
        "int8_bytes": "bytes of parameters and buffers with weights in 8 bits and a scale in 32 "
        "for each of their outputs",
    }

    def measure(self, subject: Subject) -> Measurements:
        """Round a copy of the network, and have the task's own metric say how good that is."""
        model = deepcopy(subject.model)
        tensors: list[Tensor] = [*model.parameters(), *model.buffers()]
        turned = transposed_weights(model)
        with torch.no_grad():
            for weight in model.parameters():
                if weight.ndim > 1:
                    outputs_first = weight.transpose(0, 1) if id(weight) in turned else weight
                    outputs_first.copy_(rounded(outputs_first))
        stored = sum(_bytes(tensor, int(id(tensor) in turned)) for tensor in tensors)
        return {"int8_quality": _quality(model, subject), "int8_bytes": stored}


def rounded(weight: Tensor) -> Tensor:
    """A weight whose rows are whole multiples, up to 127, of a 127th of their largest magnitude."""
    if weight.numel() == 0:
        return weight
    steps = weight.flatten(1).abs().amax(1).div(_LARGEST).view(-1, *[1] * (weight.ndim - 1))
    return (weight / steps.where(steps > 0, 1)).round() * steps


def _quality(model: nn.Module, subject: Subject) -> float:
    metric = own_metric(subject.task)
    primary = next(iter(metric.qualities()))
    return metric.measure(Subject(model, model, subject.task, (), subject.split))[primary]


def _bytes(tensor: Tensor, outputs: int) -> int:
    """As it is stored, ``outputs`` being the dimension of a weight's outputs."""
    if isinstance(tensor, nn.Parameter) and tensor.ndim > 1:
        return tensor.numel() + 4 * tensor.shape[outputs]
    return tensor.numel() * tensor.element_size()
