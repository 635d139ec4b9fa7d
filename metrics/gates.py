"""Networks that compute other channels for other inputs: what share of the work they do."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from torch import Tensor, nn

from ..datasets import Split, Task
from ..precision import in_float64
from ..protocols import ClosesChannels, declared
from .modes import inference

_EXAMPLES, _BATCH = 1_000, 250


def shares_of_work(model: nn.Module, task: Task, split: Split) -> dict[str, float]:
    """For each gated convolution the mean share of its multiply–adds that examples need.

    They are the modules that declare :class:`.ClosesChannels`. An example needs the outputs that
    are not closed, of the inputs that are not zero throughout. The mean is over up to 1,000
    examples of the split, in the order in which they are stored. Empty for a model without gates.
    """
    gates = {n: m for n, m in model.named_modules() if declared(m, ClosesChannels) is not None}
    if not gates:
        return {}
    sums = dict.fromkeys(gates, 0.0)
    examples = 0
    with inference(model), ExitStack() as stack:
        for name, module in gates.items():

            def observe(module: nn.Module, inputs: Any, output: Tensor, name: str = name) -> None:
                sums[name] += float((_in_use(inputs[0]) * _in_use(output)).sum())

            stack.callback(module.register_forward_hook(observe).remove)
        for batch in task.batches(split, _BATCH):
            model(batch[0])
            examples += len(batch[0])
            if examples >= _EXAMPLES:
                break
    return {f"{name}.convolution": total / examples for name, total in sums.items()}


def _in_use(images: Tensor) -> Tensor:
    """For each example the share of channels that are not zero throughout."""
    return in_float64(images.flatten(2).any(2)).mean(1)
