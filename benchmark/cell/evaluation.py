"""How good a network is, by what its task is scored by."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import nn

from ...datasets import Split, Task
from ...metrics import Measurements, Subject, own_metric
from ...seeding import seeded


def quality(model: nn.Module, task: Task, split: Split) -> Measurements:
    """What the task's own metric says of ``model`` on a split."""
    with drawing_alike(task.device):
        return own_metric(task).measure(_on(model, task, split))


def quality_in_detail(
    model: nn.Module, task: Task, split: Split
) -> tuple[Measurements, Measurements]:
    """The same, and the quality of each class."""
    with drawing_alike(task.device):
        return own_metric(task).in_detail(_on(model, task, split))


def drawing_alike(device: torch.device) -> AbstractContextManager[None]:
    """Within it networks and metrics that draw random numbers draw the same ones each time.

    So what is measured depends on nothing that was run before.
    """
    return seeded(0, "measuring", device=device)


def _on(model: nn.Module, task: Task, split: Split) -> Subject:
    return Subject(model, model, task, (), split)


def merit_of(measured: Measurements, task: Task) -> float:
    """The first quality number, so signed that more is better; minus infinity if it is NaN."""
    name, quality = next(iter(own_metric(task).qualities().items()))
    value = measured[name] if quality.higher_is_better else -measured[name]
    return value if value == value else -torch.inf
