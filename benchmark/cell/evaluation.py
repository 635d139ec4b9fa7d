"""How good a network is, by what its task is scored by."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...datasets import Split, Task
from ...errors import UsageError
from ...metrics import Measurements, Metric, Subject, own_metric
from ...seeding import seeded


def quality(model: nn.Module, task: Task, split: Split) -> Measurements:
    """What the task's own metric says of ``model`` on a split."""
    return measured(own_metric(task), _on(model, task, split))


def quality_in_detail(
    model: nn.Module, task: Task, split: Split
) -> tuple[Measurements, Measurements]:
    """The same, and the quality of each class."""
    metric = own_metric(task)
    with _drawing_alike(task.device):
        found, by_class = metric.in_detail(_on(model, task, split))
    return _numbers(metric, found), by_class


def measured(metric: Metric, subject: Subject) -> Measurements:
    """What a metric says, as plain numbers.

    Raises:
        UsageError: something that it gives is no number, or its first quality is not there.
    """
    with _drawing_alike(subject.task.device):
        return _numbers(metric, metric.measure(subject))


def _drawing_alike(device: torch.device) -> AbstractContextManager[None]:
    """Within it networks and metrics that draw random numbers draw the same ones each time.

    So what is measured depends on nothing that was run before.
    """
    return seeded(0, "measuring", device=device)


def _numbers(metric: Metric, found: Mapping[str, Any]) -> Measurements:
    """Numbers as JSON has them: those of numpy and tensors with one element are taken."""
    name = type(metric).__name__
    numbers = {}
    for each, value in found.items():
        one = isinstance(value, Tensor | np.ndarray | np.generic) and math.prod(value.shape) == 1
        number = value.item() if one else value
        if not isinstance(number, int | float):
            raise UsageError(
                f"metric {name}: measure() gives {each} as a {type(value).__name__}, and not as a "
                "number, nan where there is none"
            )
        numbers[each] = number
    if (missing := next(iter(metric.qualities()), None)) not in (None, *numbers):
        raise UsageError(
            f"metric {name}: measure() gives no {missing}, which its quality names first; it gives "
            f"{', '.join(numbers) or 'nothing'}"
        )
    return numbers


def _on(model: nn.Module, task: Task, split: Split) -> Subject:
    return Subject(model, model, task, (), split)


def merit_of(measured: Measurements, task: Task) -> float:
    """The first quality number, so signed that more is better; minus infinity if it is NaN."""
    name, quality = next(iter(own_metric(task).qualities().items()))
    value = measured[name] if quality.higher_is_better else -measured[name]
    return value if value == value else -torch.inf
