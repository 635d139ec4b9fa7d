"""The epochs of a training: the one loop in which weights change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ...datasets import Batch, Task
from ...errors import UsageError
from ...protocols import AddsToGradients, declared
from ...seeding import generator, random_state, seeded, set_random_state
from ...strategies import SparseTraining
from ..recipe import Recipe
from . import distributed
from .checkpoint import Checkpoint
from .optimisation import WeightAverage, make_optimizer, make_scheduler
from .progress import advance

Progress = dict[str, Any]
"""What a training that goes on needs to know."""


@dataclass(frozen=True)
class Purpose:
    """What a training is for: its random numbers depend on this and on nothing else."""

    seed: int
    name: str


class Training(NamedTuple):
    """A training that is to be done.

    Attributes:
        model: the model, changed in place.
        task: what is learned.
        recipe: for how long and how.
        purpose: the source of data order and dropout.
        sparsity: keeps pruned weights at zero, or does what else its method does in training. An
            epoch before its masks are settled is not chosen; its masks become those of the chosen.
        first_epoch: the epoch of the recipe from which to begin, as if those before were done.
        checkpoint: where the training goes on from if it was interrupted, unless the method does
            not say what changes while it trains.
    """

    model: nn.Module
    task: Task
    recipe: Recipe
    purpose: Purpose
    sparsity: SparseTraining | None = None
    first_epoch: int = 1
    checkpoint: Checkpoint | None = None


class EpochDone(NamedTuple):
    """An epoch that has been trained: its number, and the mean of what it minimised."""

    number: int
    loss: float


def epochs(
    training: Training,
    saved: Progress | None = None,
    save: Callable[[Progress], None] | None = None,
) -> Iterator[EpochDone]:
    """Train a network in place, giving each epoch when it is done.

    Where the recipe averages weights, the model has the averages whenever an epoch is done.

    Args:
        training: the training.
        saved: what its checkpoint has, from where it goes on.
        save: given what the next checkpoint is made of when it is due.

    Raises:
        UsageError: the checkpoint is of another number of processes.
    """
    model, task, recipe, purpose, _, first_epoch, checkpoint = training
    if saved is not None and checkpoint is not None:
        checkpoint.require_processes(len(saved["noise"]))
    epoch_now, batches_done = (first_epoch, 0) if saved is None else saved["place"]
    steps_in_epoch, device = task.steps(recipe.batch_size), next(model.parameters()).device
    steps_done = (epoch_now - 1) * steps_in_epoch + batches_done
    advance(steps_done / steps_in_epoch - (first_epoch - 1))
    steps = TrainingSteps(training, steps_done)
    if saved is not None:
        steps.load_state(saved)
    for epoch in range(epoch_now, recipe.epochs + 1):
        order = generator(purpose.seed, purpose.name, "order", epoch)
        model.train()
        # Processes that share the batches draw their own noise for their own examples.
        process = [distributed.rank()] if distributed.rank() else []
        with seeded(purpose.seed, purpose.name, "noise", epoch, *process, device=device):
            batches = enumerate(batches_of_epoch(task, recipe.batch_size, order), 1)
            if saved is not None:
                for _ in islice(batches, batches_done):
                    pass
                set_random_state(saved["noise"][distributed.rank()], device)
                saved = None
            for number, batch in batches:
                steps.step(batch)
                advance(1 / steps_in_epoch)
                if checkpoint is not None and save is not None and checkpoint.is_due(number):
                    noise = distributed.gathered(random_state(device))
                    place = {"finished": False, "place": (epoch, number), "noise": noise}
                    save({**place, **steps.state()})
        distributed.broadcast(model.buffers())
        with steps.averaged():
            yield EpochDone(epoch, steps.mean_loss())


def batches_of_epoch(task: Task, batch_size: int, order: torch.Generator) -> Iterator[Batch]:
    """The batches that a task trains on in an epoch.

    Raises:
        UsageError: they are not as many as the task says, by which learning rates and masks go.
    """
    count, said = 0, task.steps(batch_size)
    for batch in task.training_batches(batch_size, order):
        count += 1
        yield batch
    if count != said:
        raise UsageError(
            f"the task {type(task).__name__} gives {count:,} batches in a pass over the training "
            f"split, and its steps({batch_size}) says {said:,}: have steps() say how many there are"
        )


class TrainingSteps:
    """A training under way: all that its steps change, which a checkpoint has to hold.

    Args:
        training: the training.
        steps_done: how many steps of the recipe are behind it.
    """

    def __init__(self, training: Training, steps_done: int) -> None:
        model, task, recipe, _, sparsity, first_epoch, _ = training
        steps_in_epoch = task.steps(recipe.batch_size)
        self._model, self._sparsity = model, sparsity
        self._clipping = recipe.gradient_clipping
        self._optimizer = make_optimizer(model.parameters(), recipe)
        self._scheduler = make_scheduler(self._optimizer, recipe, steps_in_epoch, steps_done)
        self._backward = _Backward(model, task, recipe)
        if sparsity is not None:
            sparsity.start(self._optimizer, (recipe.epochs + 1 - first_epoch) * steps_in_epoch)
        self._average: WeightAverage | None = None
        if recipe.weight_averaging is not None:
            self._average = WeightAverage(model, recipe.weight_averaging)

    def step(self, batch: Batch) -> None:
        """Change the weights once."""
        scaler = self._backward.scaler
        self._optimizer.zero_grad()
        self._backward(batch)
        scaler.unscale_(self._optimizer)
        if self._sparsity is not None:
            self._sparsity.after_backward()
        if self._clipping is not None:
            clip_gradients(self._model, self._sparsity, self._clipping)
        scaler.step(self._optimizer)
        scale = scaler.get_scale()
        scaler.update()
        if self._sparsity is not None:
            # What float16 cannot hold makes the scaler skip the step, and then scale less.
            self._sparsity.skipped = scaler.get_scale() < scale
            self._sparsity.after_step()
        if self._average is not None:
            self._average.update()
        if self._scheduler is not None:
            self._scheduler.step()

    def mean_loss(self) -> float:
        """The mean of what was minimised since this was asked last."""
        return self._backward.losses.mean()

    def averaged(self) -> AbstractContextManager[None]:
        """Within it the model has its averaged weights, where the recipe averages them."""
        return nullcontext() if self._average is None else self._average.in_place()

    def state(self) -> Progress:
        """What :meth:`load_state` goes on from."""
        return {
            "model": self._model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._backward.scaler.state_dict(),
            "losses": self._backward.losses.state(),
            "average": None if self._average is None else self._average.average,
            "sparsity": None if self._sparsity is None else self._sparsity.state(),
        }

    def load_state(self, saved: Progress) -> None:
        """Have everything as it was when ``saved`` was."""
        self._model.load_state_dict(saved["model"])
        self._optimizer.load_state_dict(saved["optimizer"])
        self._backward.scaler.load_state_dict(saved["scaler"])
        self._backward.losses.load_state(saved["losses"])
        if self._sparsity is not None:
            self._sparsity.load_state(saved["sparsity"])
        if self._average is not None:
            self._average.restore(saved["average"])


class _Losses:
    """The mean over an epoch's examples of what is minimised, on the device until asked for."""

    def __init__(self, device: torch.device) -> None:
        self._sum = torch.zeros((), device=device)
        self._examples = 0.0

    def add(self, loss: Tensor, examples: float) -> None:
        """Count the mean loss of a batch, a scalar."""
        self._sum.add_(loss.detach(), alpha=examples)
        self._examples += examples

    def mean(self) -> float:
        """The mean since the last time that this was asked, over all processes."""
        mean = self._sum.item() / self._examples
        self._sum.zero_()
        self._examples = 0.0
        shared = distributed.gathered(mean)
        return sum(shared) / len(shared)

    def state(self) -> dict[str, float]:
        """What there is so far, for a checkpoint."""
        return {"sum": self._sum.item(), "examples": self._examples}

    def load_state(self, state: dict[str, float]) -> None:
        """Go on from what a checkpoint says."""
        self._sum.fill_(state["sum"])
        self._examples = state["examples"]


class _Backward:
    """From a batch to the gradients of the recipe's loss.

    Attributes:
        scaler: keeps gradients of half precision from vanishing; does nothing for other types.
        losses: what was minimised in the epoch so far.
    """

    def __init__(self, model: nn.Module, task: Task, recipe: Recipe) -> None:
        self._model, self._task, self._recipe = model, task, recipe
        self._runner: Any = distributed.replicated(model)
        if recipe.compiled:
            self._runner = torch.compile(self._runner)
        self._penalty = None if recipe.penalty is None else recipe.penalty.create()
        asked = (declared(module, AddsToGradients) for module in model.modules())
        self._adding = [module for module in asked if module is not None]
        device = next(model.parameters()).device
        self._device = device.type
        self.losses = _Losses(device)
        half = recipe.precision == "float16"
        self.scaler = torch.amp.GradScaler(self._device, enabled=half)

    def __call__(self, batch: Batch) -> None:
        """Add the gradients of the mean loss of a batch, in as many parts as the recipe says."""
        examples = self._task.examples(batch)
        # Processes that share a batch average their gradients.
        own_examples = examples / distributed.world_size()
        own, counts = distributed.share(batch)
        parts: list[Any] = [own]
        if self._recipe.accumulation > 1:
            parts = list(zip(*(each.chunk(self._recipe.accumulation) for each in own), strict=True))
        total = torch.zeros((), device=self._device)
        for number, part in enumerate(parts, 1):
            # Processes may have different numbers of parts, and average once for all of them.
            with distributed.unaveraged(self._runner) if number < len(parts) else nullcontext():
                share = counts * self._task.examples(part) / own_examples
                for module in self._adding:
                    module.loss_factor = self.scaler.get_scale() * share
                loss = self._loss(part) * share
                if self._penalty is not None and number == 1:
                    loss = loss + self._penalty(self._model)
                self.scaler.scale(loss).backward()
            total = total + loss.detach()
        self.losses.add(total, examples)

    def _loss(self, batch: Batch) -> Tensor:
        recipe = self._recipe
        precision = getattr(torch, recipe.precision)
        with torch.autocast(self._device, precision, enabled=precision is not torch.float32):
            if recipe.label_smoothing:
                return self._task.smoothed_loss(self._runner, batch, recipe.label_smoothing)
            return self._task.loss(self._runner, batch)


def clip_gradients(model: nn.Module, sparsity: SparseTraining | None, most: float) -> None:
    """Scale all gradients down until the norm of those that count is at most ``most``.

    Those of pruned weights do not, as ``sparsity`` says: kept weights take steps as long as in a
    network that has no others.
    """
    if sparsity is not None:
        gradients = sparsity.counted_gradients()
    else:
        gradients = [each.grad for each in model.parameters() if each.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    nn.utils.clip_grads_with_norm_(model.parameters(), most, norm)
