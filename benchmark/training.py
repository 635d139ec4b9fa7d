"""Training: the one loop in which weights change."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, MultiStepLR

from ..datasets import Task
from ..metrics import METRICS, Measurements, Subject
from ..seeding import generator, seeded
from ..strategies import Masks, SparseTraining, State
from .experiment import Recipe

_OPTIMIZERS: dict[str, Any] = {
    "SGD": torch.optim.SGD,
    "Adam": torch.optim.Adam,
    "AdamW": torch.optim.AdamW,
}


@dataclass(frozen=True)
class _Best:
    """The best epoch so far: how good it is, and what the network was then."""

    merit: float
    measured: Measurements
    state: State
    masks: Masks


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
    sparsity: SparseTraining | None = None,
    first_epoch: int = 1,
) -> Measurements:
    """Train ``model`` and leave it as it was after the epoch that the validation split liked best.

    Args:
        model: the model, changed in place.
        task: what is learned.
        recipe: for how long and how.
        purpose: the source of data order and dropout.
        sparsity: keeps pruned weights at zero, or does what else its method does in training. An
            epoch before its masks are settled is not chosen; its masks become those of the chosen.
        first_epoch: the epoch of the recipe from which to begin, as if those before were done.

    Returns:
        The quality on the validation split of the epoch chosen.
    """
    best: _Best | None = None
    for _ in epochs(model, task, recipe, purpose, sparsity, first_epoch):
        if sparsity is not None and not sparsity.settled:
            continue
        measured = quality(model, task, "validation")
        merit = _merit(measured, task)
        if best is None or merit > best.merit:
            masks = sparsity.masks if sparsity is not None else {}
            best = _Best(merit, measured, copy_of_state(model), masks)
    assert best is not None  # a recipe has an epoch at least, and masks settle before its end
    model.load_state_dict(best.state)
    if sparsity is not None:
        sparsity.restore(best.masks)
    return best.measured


def epochs(
    model: nn.Module,
    task: Task,
    recipe: Recipe,
    purpose: Purpose,
    sparsity: SparseTraining | None = None,
    first_epoch: int = 1,
) -> Iterator[int]:
    """Train ``model`` in place, giving the number of each epoch when it is done."""
    steps_in_epoch = task.steps(recipe.batch_size)
    optimizer = _optimizer(model, recipe)
    scheduler = _scheduler(optimizer, recipe, steps_in_epoch, first_epoch)
    penalty = None if recipe.penalty is None else recipe.penalty.create()
    if sparsity is not None:
        sparsity.start(optimizer, (recipe.epochs + 1 - first_epoch) * steps_in_epoch)
    for epoch in range(first_epoch, recipe.epochs + 1):
        order = generator(purpose.seed, purpose.name, "order", epoch)
        model.train()
        with seeded(purpose.seed, purpose.name, "noise", epoch):
            for batch in task.batches("train", recipe.batch_size, order):
                if recipe.label_smoothing:
                    loss = task.smoothed_loss(model, batch, recipe.label_smoothing)
                else:
                    loss = task.loss(model, batch)
                if penalty is not None:
                    loss = loss + penalty(model)
                optimizer.zero_grad()
                loss.backward()
                if sparsity is not None:
                    sparsity.after_backward()
                if recipe.gradient_clipping is not None:
                    nn.utils.clip_grad_norm_(model.parameters(), recipe.gradient_clipping)
                optimizer.step()
                if sparsity is not None:
                    sparsity.after_step()
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


def _scheduler(
    optimizer: Optimizer, recipe: Recipe, steps_in_epoch: int, first_epoch: int
) -> LRScheduler | None:
    """The recipe's schedule, wound on to its ``first_epoch``."""
    steps = recipe.epochs * steps_in_epoch
    scheduler: LRScheduler
    if recipe.learning_rate_schedule == "constant":
        return None
    if recipe.learning_rate_schedule == "cosine":
        scheduler = CosineAnnealingLR(optimizer, T_max=steps)
    else:
        drops = [round(steps * fraction) for fraction in recipe.learning_rate_drops]
        scheduler = MultiStepLR(optimizer, milestones=drops, gamma=0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that no step of the optimizer lies between these
        for _ in range((first_epoch - 1) * steps_in_epoch):
            scheduler.step()
    return scheduler
