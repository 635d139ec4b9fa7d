"""Training: the one loop in which weights change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..datasets import Batch, Task
from ..metrics import METRICS, Measurements, Subject
from ..seeding import generator, seeded
from ..strategies import Masks, SparseTraining, State
from .experiment import Recipe
from .optimisation import WeightAverage, make_optimizer, make_scheduler


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
    if recipe.epochs == 0:
        return quality(model, task, "validation")
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
    """Train ``model`` in place, giving the number of each epoch when it is done.

    Where the recipe averages weights, the model has the averages whenever an epoch is done.
    """
    steps_in_epoch = task.steps(recipe.batch_size)
    optimizer = make_optimizer(model, recipe)
    scheduler = make_scheduler(optimizer, recipe, steps_in_epoch, first_epoch)
    backward = _Backward(model, task, recipe)
    if sparsity is not None:
        sparsity.start(optimizer, (recipe.epochs + 1 - first_epoch) * steps_in_epoch)
    average = None
    if recipe.weight_averaging is not None:
        average = WeightAverage(model, recipe.weight_averaging)
    for epoch in range(first_epoch, recipe.epochs + 1):
        order = generator(purpose.seed, purpose.name, "order", epoch)
        model.train()
        with seeded(purpose.seed, purpose.name, "noise", epoch):
            for batch in task.training_batches(recipe.batch_size, order):
                optimizer.zero_grad()
                backward(batch)
                backward.scaler.unscale_(optimizer)
                if sparsity is not None:
                    sparsity.after_backward()
                if recipe.gradient_clipping is not None:
                    nn.utils.clip_grad_norm_(model.parameters(), recipe.gradient_clipping)
                backward.scaler.step(optimizer)
                backward.scaler.update()
                if sparsity is not None:
                    sparsity.after_step()
                if average is not None:
                    average.update()
                if scheduler is not None:
                    scheduler.step()
        with nullcontext() if average is None else average.in_place():
            yield epoch


class _Backward:
    """From a batch to the gradients of the recipe's loss.

    Attributes:
        scaler: keeps gradients of half precision from vanishing; does nothing for other types.
    """

    def __init__(self, model: nn.Module, task: Task, recipe: Recipe) -> None:
        self._model, self._task, self._recipe = model, task, recipe
        self._runner: Any = torch.compile(model) if recipe.compiled else model
        self._penalty = None if recipe.penalty is None else recipe.penalty.create()
        self._device = next(model.parameters()).device.type
        half = recipe.precision == "float16"
        self.scaler = torch.amp.GradScaler(self._device, enabled=half)

    def __call__(self, batch: Batch) -> None:
        """Add the gradients of the mean loss of a batch, in as many parts as the recipe says."""
        parts: list[Any] = [batch]
        if self._recipe.accumulation > 1:
            parts = list(
                zip(*(each.chunk(self._recipe.accumulation) for each in batch), strict=True)
            )
        examples = self._task.examples(batch)
        for number, part in enumerate(parts):
            loss = self._loss(part) * (self._task.examples(part) / examples)
            if self._penalty is not None and number == 0:
                loss = loss + self._penalty(self._model)
            self.scaler.scale(loss).backward()

    def _loss(self, batch: Batch) -> Tensor:
        recipe = self._recipe
        precision = getattr(torch, recipe.precision)
        with torch.autocast(self._device, precision, enabled=precision is not torch.float32):
            if recipe.label_smoothing:
                return self._task.smoothed_loss(self._runner, batch, recipe.label_smoothing)
            return self._task.loss(self._runner, batch)


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
