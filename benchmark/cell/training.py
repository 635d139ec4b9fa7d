"""Training: epochs, of which the one is kept that the validation split likes best."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import NamedTuple

from torch import nn

from ...metrics import Measurements
from ...results import Epoch
from ...strategies import Masks, SparseTraining, State
from .epochs import EpochDone, Progress, Training, epochs
from .evaluation import merit_of, quality
from .progress import advance


class Trained(NamedTuple):
    """What a training leaves beside the network.

    Attributes:
        validation: quality on the validation split of the epoch chosen.
        curve: all epochs, those before an interruption too.
        seconds: what it took, without the time before an interruption; of a training that was one
            of several at once, its share.
        stacked: how many networks were trained at once.
    """

    validation: Measurements
    curve: list[Epoch]
    seconds: float
    stacked: int = 1


def train(training: Training) -> Trained:
    """Train a network and leave it as it was after the epoch that validation liked best."""
    start = time.perf_counter()
    if training.recipe.epochs == 0:
        measured = quality(training.model, training.task, "validation")
        return Trained(measured, [], time.perf_counter() - start)
    if training.sparsity is not None and not training.sparsity.resumable:
        training = training._replace(checkpoint=None)
    best, checkpoint = BestEpoch(training), training.checkpoint
    saved = None if checkpoint is None else checkpoint.load()
    if saved is not None:
        best.load_state(saved)
        if saved["finished"]:
            advance(training.recipe.epochs + 1 - training.first_epoch)
            return best.taken(time.perf_counter() - start)

    def save(progress: Progress) -> None:
        assert checkpoint is not None  # else nothing is to be saved
        checkpoint.save({**best.state(), **progress})

    to_come = epochs(training, saved, save)
    del saved  # a copy of all weights, which the epochs let go of
    for done in to_come:
        best.look(done)
    if checkpoint is not None and (checkpoint.exists() or checkpoint.is_due()):
        save({"finished": True})
    return best.taken(time.perf_counter() - start)


class BestEpoch:
    """The epochs of a training so far, and the one that the validation split likes best."""

    def __init__(self, training: Training) -> None:
        self._model, self._task = training.model, training.task
        self._purpose, self._sparsity = training.purpose, training.sparsity
        self._best: _Best | None = None
        self._curve: list[Epoch] = []

    def look(self, done: EpochDone) -> None:
        """Measure the network after an epoch, and remember it if it is the best so far."""
        name, sparsity = self._purpose.name, self._sparsity
        measured = quality(self._model, self._task, "validation")
        self._curve.append(
            Epoch(training=name, epoch=done.number, loss=done.loss, validation=measured)
        )
        if sparsity is not None and not sparsity.settled:
            return
        merit = merit_of(measured, self._task)
        if self._best is None or merit > self._best.merit:
            masks = sparsity.masks if sparsity is not None else {}
            self._best = _Best(merit, measured, copy_of_state(self._model), masks)

    def taken(self, seconds: float, stacked: int = 1) -> Trained:
        """Leave the network as it was after the best epoch; what the training took is given."""
        assert self._best is not None  # a recipe has an epoch, and masks settle before its end
        validation = self._best.restored(self._model, self._sparsity)
        return Trained(validation, self._curve, seconds, stacked)

    def state(self) -> Progress:
        """What :meth:`load_state` goes on from."""
        best = None
        if self._best is not None:
            best = {**vars(self._best), "masks": dict(self._best.masks)}
        notes = [] if self._sparsity is None else self._sparsity.notes
        curve = [point.model_dump() for point in self._curve]
        return {"best": best, "curve": curve, "notes": notes}

    def load_state(self, saved: Progress) -> None:
        """Remember what ``saved`` does."""
        self._best = None if saved["best"] is None else _Best(**saved["best"])
        self._curve = [Epoch(**point) for point in saved["curve"]]
        if self._sparsity is not None:
            self._sparsity.notes[:] = saved["notes"]


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


def copy_of_state(model: nn.Module) -> State:
    """The model's parameters and buffers, copied to the CPU: a GPU may have no room for them."""
    state = model.state_dict().items()
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in state}
