"""Training: epochs, of which the one is kept that the validation split likes best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import nn

from ...datasets import Task
from ...metrics import Measurements
from ...results import Epoch
from ...strategies import Masks, SparseTraining, State
from ..experiment import Recipe
from .checkpoint import Checkpoint
from .epochs import Progress, Purpose, epochs
from .evaluation import merit_of, quality
from .progress import advance


class Trained(NamedTuple):
    """What a training leaves beside the network.

    Attributes:
        validation: quality on the validation split of the epoch chosen.
        curve: all epochs, those before an interruption too.
    """

    validation: Measurements
    curve: list[Epoch]


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
        merit = merit_of(measured, task)
        if best is None or merit > best.merit:
            masks = sparsity.masks if sparsity is not None else {}
            best = _Best(merit, measured, copy_of_state(model), masks)
    assert best is not None  # a recipe has an epoch at least, and masks settle before its end
    if checkpoint is not None and (checkpoint.exists() or checkpoint.is_due()):
        save({"finished": True})
    return Trained(best.restored(model, sparsity), curve)


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
    """The model's parameters and buffers, copied."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
