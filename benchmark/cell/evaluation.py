"""How good a network is, by what its task is scored by."""

from __future__ import annotations

import torch
from torch import nn

from ...datasets import Split, Task
from ...metrics import Measurements, Subject, own_metric


def quality(model: nn.Module, task: Task, split: Split) -> Measurements:
    """What the task's own metric says of ``model`` on a split."""
    return own_metric(task).measure(_on(model, task, split))


def quality_in_detail(
    model: nn.Module, task: Task, split: Split
) -> tuple[Measurements, Measurements]:
    """The same, and the quality of each class."""
    return own_metric(task).in_detail(_on(model, task, split))


def _on(model: nn.Module, task: Task, split: Split) -> Subject:
    return Subject(model, model, task, (), split)


def merit_of(measured: Measurements, task: Task) -> float:
    """The first quality number, so signed that more is better; minus infinity if it is NaN."""
    name, quality = next(iter(own_metric(task).qualities().items()))
    value = measured[name] if quality.higher_is_better else -measured[name]
    return value if value == value else -torch.inf
