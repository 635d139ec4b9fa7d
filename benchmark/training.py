"""Training: the one loop in which weights change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

from ..datasets import Task
from ..metrics import METRICS, Measurements, Subject
from ..seeding import generator, seeded
from ..strategies import State
from .experiment import Recipe

_OPTIMIZERS: dict[str, Any] = {
    "SGD": torch.optim.SGD,
    "Adam": torch.optim.Adam,
    "AdamW": torch.optim.AdamW,
}


@dataclass(frozen=True)
class Purpose:
    """What a training is for: its random numbers depend on this and on nothing else."""

    seed: int
    name: str


def train(
    model: nn.Module,
    task: Task,
    recipe: Recipe,
    purpose: Purpose,
    after_step: Callable[[], None] | None = None,
) -> Measurements:
    """Train ``model`` and leave it as it was after the epoch that the validation split liked best.

    Args:
        model: the model, changed in place.
        task: what is learned.
        recipe: for how long and how.
        purpose: the source of data order and dropout.
        after_step: called after each optimizer step, to set pruned weights to zero.

    Returns:
        The quality on the validation split of the epoch chosen.
    """
    best: tuple[float, Measurements, State] | None = None
    for _ in epochs(model, task, recipe, purpose, after_step):
        measured = quality(model, task, "validation")
        merit = _merit(measured, task)
        if best is None or merit > best[0]:
            best = merit, measured, copy_of_state(model)
    assert best is not None  # a recipe has at least one epoch
    model.load_state_dict(best[2])
    return best[1]


def epochs(
    model: nn.Module,
    task: Task,
    recipe: Recipe,
    purpose: Purpose,
    after_step: Callable[[], None] | None = None,
) -> Iterator[int]:
    """Train ``model`` in place, giving the number of each epoch, from 1, when it is done."""
    optimizer = _optimizer(model, recipe)
    scheduler = _scheduler(optimizer, recipe, task)
    for epoch in range(1, recipe.epochs + 1):
        order = generator(purpose.seed, purpose.name, "order", epoch)
        model.train()
        with seeded(purpose.seed, purpose.name, "noise", epoch):
            for batch in task.batches("train", recipe.batch_size, order):
                loss = task.loss(model, batch)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                if after_step is not None:
                    after_step()
                if scheduler is not None:
                    scheduler.step()
        yield epoch


def quality(model: nn.Module, task: Task, split: str) -> Measurements:
    """What the task's own metric says of ``model`` on a split."""
    metric = METRICS.component(task.quality).create()
    return metric.measure(Subject(model, model, task, (), split))  # type: ignore[arg-type]


def copy_of_state(model: nn.Module) -> State:
    """The model's parameters and buffers, copied."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def _merit(measured: Measurements, task: Task) -> float:
    """The first quality number, so signed that more is better; minus infinity if it is NaN."""
    metric = METRICS.component(task.quality).create()
    name, better = next(iter(metric.quality.items()))
    value = measured[name] if better == "higher" else -measured[name]
    return value if value == value else -torch.inf


def _optimizer(model: nn.Module, recipe: Recipe) -> Optimizer:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    settings = {"lr": recipe.learning_rate, "weight_decay": recipe.weight_decay, "fused": True}
    if recipe.optimizer == "SGD":
        settings["momentum"] = recipe.momentum
    return _OPTIMIZERS[recipe.optimizer](trained, **settings)


def _scheduler(optimizer: Optimizer, recipe: Recipe, task: Task) -> LRScheduler | None:
    if recipe.learning_rate_schedule == "constant":
        return None
    steps_in_epoch = -(-task.size("train") // recipe.batch_size)
    return CosineAnnealingLR(optimizer, T_max=recipe.epochs * steps_in_epoch)
