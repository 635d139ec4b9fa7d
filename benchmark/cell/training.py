"""Training: the one loop in which weights change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ...datasets import Batch, Task
from ...errors import UsageError
from ...metrics import METRICS, Measurements, Metric, Subject
from ...results import Epoch
from ...seeding import generator, seeded
from ...strategies import Masks, SparseTraining, State
from ..experiment import Recipe
from . import distributed
from .checkpoint import Checkpoint
from .optimisation import WeightAverage, make_optimizer, make_scheduler
from .progress import advance

Progress = dict[str, Any]
"""What a training that goes on needs to know."""


@dataclass(frozen=True)
class _Best:
    """The best epoch so far: how good it is, and what the network was then."""

    merit: float
    measured: Measurements
    state: State
    masks: Masks

    def restored(self, model: nn.Module, sparsity: SparseTraining | None) -> Measurements:
        """Leave the network as it was then, which was this good."""
        model.load_state_dict(self.state)
        if sparsity is not None:
            device = next(model.parameters()).device
            sparsity.restore({name: mask.to(device) for name, mask in self.masks.items()})
        return self.measured


@dataclass(frozen=True)
class Purpose:
    """What a training is for: its random numbers depend on this and on nothing else."""

    seed: int
    name: str


class Trained(NamedTuple):
    """What a training leaves beside the network.

    Attributes:
        validation: quality on the validation split of the epoch chosen.
        curve: all epochs, those before an interruption too.
    """

    validation: Measurements
    curve: list[Epoch]


class EpochDone(NamedTuple):
    """An epoch that has been trained: its number, and the mean of what it minimised."""

    number: int
    loss: float


def train(
    model: nn.Module,
    task: Task,
    recipe: Recipe,
    purpose: Purpose,
    sparsity: SparseTraining | None = None,
    first_epoch: int = 1,
    checkpoint: Checkpoint | None = None,
) -> Trained:
    """Train ``model`` and leave it as it was after the epoch that the validation split liked best.

    Args:
        model: the model, changed in place.
        task: what is learned.
        recipe: for how long and how.
        purpose: the source of data order and dropout.
        sparsity: keeps pruned weights at zero, or does what else its method does in training. An
            epoch before its masks are settled is not chosen; its masks become those of the chosen.
        first_epoch: the epoch of the recipe from which to begin, as if those before were done.
        checkpoint: where the training goes on from if it was interrupted, unless the method does
            not say what changes while it trains.

    Returns:
        The quality on the validation split of the epoch chosen, and the curve of the training.
    """
    if recipe.epochs == 0:
        return Trained(quality(model, task, "validation"), [])
    if sparsity is not None and not sparsity.resumable:
        checkpoint = None
    best: _Best | None = None
    curve: list[Epoch] = []
    if checkpoint is not None and (saved := checkpoint.load()) is not None:
        if saved["best"] is not None:
            best = _Best(**saved["best"])
        curve = [Epoch(**point) for point in saved["curve"]]
        if saved["finished"]:
            assert best is not None  # it was found before the training was finished
            advance(recipe.epochs + 1 - first_epoch)
            return Trained(best.restored(model, sparsity), curve)

    def save(progress: Progress) -> None:
        assert checkpoint is not None  # else nothing is to be saved
        points = [point.model_dump() for point in curve]
        known = {"best": None if best is None else vars(best), "curve": points}
        checkpoint.save({**known, **progress})

    for done in epochs(model, task, recipe, purpose, sparsity, first_epoch, checkpoint, save):
        measured = quality(model, task, "validation")
        curve.append(
            Epoch(training=purpose.name, epoch=done.number, loss=done.loss, validation=measured)
        )
        if sparsity is not None and not sparsity.settled:
            continue
        merit = _merit(measured, task)
        if best is None or merit > best.merit:
            masks = sparsity.masks if sparsity is not None else {}
            best = _Best(merit, measured, copy_of_state(model), masks)
    assert best is not None  # a recipe has an epoch at least, and masks settle before its end
    if checkpoint is not None and (checkpoint.exists() or checkpoint.is_due()):
        save({"finished": True})
    return Trained(best.restored(model, sparsity), curve)


def epochs(
    model: nn.Module,
    task: Task,
    recipe: Recipe,
    purpose: Purpose,
    sparsity: SparseTraining | None = None,
    first_epoch: int = 1,
    checkpoint: Checkpoint | None = None,
    save: Callable[[Progress], None] | None = None,
) -> Iterator[EpochDone]:
    """Train ``model`` in place, giving each epoch when it is done.

    Where the recipe averages weights, the model has the averages whenever an epoch is done. Where
    there is a ``checkpoint`` of this training, it goes on from there; ``save`` is given what the
    next one is made of when it is due.
    """
    saved = None if checkpoint is None else checkpoint.load()
    epoch_now, batches_done = (first_epoch, 0) if saved is None else saved["place"]
    steps_in_epoch = task.steps(recipe.batch_size)
    optimizer = make_optimizer(model, recipe)
    steps_done = (epoch_now - 1) * steps_in_epoch + batches_done
    advance(steps_done / steps_in_epoch - (first_epoch - 1))
    scheduler = make_scheduler(optimizer, recipe, steps_in_epoch, steps_done)
    backward = _Backward(model, task, recipe)
    if sparsity is not None:
        sparsity.start(optimizer, (recipe.epochs + 1 - first_epoch) * steps_in_epoch)
    average = None
    if recipe.weight_averaging is not None:
        average = WeightAverage(model, recipe.weight_averaging)
    if saved is not None:
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        backward.scaler.load_state_dict(saved["scaler"])
        backward.losses.load_state(saved["losses"])
        if sparsity is not None:
            sparsity.load_state(saved["sparsity"])
        if average is not None:
            average.restore(saved["average"])
    for epoch in range(epoch_now, recipe.epochs + 1):
        order = generator(purpose.seed, purpose.name, "order", epoch)
        model.train()
        # Processes that share the batches draw their own noise for their own examples.
        process = [distributed.rank()] if distributed.rank() else []
        with seeded(purpose.seed, purpose.name, "noise", epoch, *process):
            for number, batch in enumerate(task.training_batches(recipe.batch_size, order), 1):
                if saved is not None:
                    if number < batches_done:
                        continue
                    _set_noise(saved["noise"][distributed.rank()])
                    saved = None
                    if number == batches_done:
                        continue
                optimizer.zero_grad()
                backward(batch)
                backward.scaler.unscale_(optimizer)
                if sparsity is not None:
                    sparsity.after_backward()
                if recipe.gradient_clipping is not None:
                    clip_gradients(model, sparsity, recipe.gradient_clipping)
                backward.scaler.step(optimizer)
                backward.scaler.update()
                if sparsity is not None:
                    sparsity.after_step()
                if average is not None:
                    average.update()
                if scheduler is not None:
                    scheduler.step()
                advance(1 / steps_in_epoch)
                if checkpoint is not None and save is not None and checkpoint.is_due(number):
                    progress: Progress = {
                        "finished": False,
                        "place": (epoch, number),
                        "model": model.state_dict(),
                        "optimizer": optimizer.state_dict(),
                        "scaler": backward.scaler.state_dict(),
                        "losses": backward.losses.state(),
                        "average": None if average is None else average.average,
                        "sparsity": None if sparsity is None else sparsity.state(),
                        "noise": distributed.gathered(_noise()),
                    }
                    save(progress)
        distributed.broadcast(model.buffers())
        with nullcontext() if average is None else average.in_place():
            yield EpochDone(epoch, backward.losses.mean())


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
        for number, part in enumerate(parts):
            loss = self._loss(part) * (counts * self._task.examples(part) / own_examples)
            if self._penalty is not None and number == 0:
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


def _noise() -> dict[str, Tensor]:
    """The state of the generators from which dropout draws on the devices that are there."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    if torch.mps.is_available():
        states["mps"] = torch.mps.get_rng_state()
    return states


def _set_noise(states: dict[str, Tensor]) -> None:
    torch.set_rng_state(states["cpu"])
    for name in states.keys() - {"cpu"}:
        torch.get_device_module(name).set_rng_state(states[name])


def quality(model: nn.Module, task: Task, split: str) -> Measurements:
    """What the task's own metric says of ``model`` on a split."""
    return own_metric(task).measure(Subject(model, model, task, (), split))  # type: ignore[arg-type]


def own_metric(task: Task) -> Metric:
    """The metric by which a task scores networks.

    Raises:
        UsageError: it names none, or one that says nothing of quality.
    """
    metric: Metric = METRICS.component(task.quality).create()
    if not metric.qualities():
        raise UsageError(
            f"the task {type(task).__name__} cannot be scored by {task.quality}, which has no "
            "number of quality"
        )
    return metric


def copy_of_state(model: nn.Module) -> State:
    """The model's parameters and buffers, copied."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def _merit(measured: Measurements, task: Task) -> float:
    """The first quality number, so signed that more is better; minus infinity if it is NaN."""
    name, quality = next(iter(own_metric(task).qualities().items()))
    value = measured[name] if quality.higher_is_better else -measured[name]
    return value if value == value else -torch.inf
