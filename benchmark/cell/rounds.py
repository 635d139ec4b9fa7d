"""The rounds of a cell: prune, recover, and so on, until the target is reached."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from ...datasets import Task
from ...devices import finish
from ...errors import UsageError
from ...metrics import Measurements, peak_within
from ...results import Calibration, Epoch, Round
from ...seeding import generator, seeded
from ...strategies import (
    Capabilities,
    Context,
    Coupling,
    DuringTraining,
    GradualTraining,
    Masks,
    Recovery,
    Scorings,
    SharedScoring,
    SparseTraining,
    State,
    Strategy,
    check_equivalence,
    couple,
    find_prunable,
    full_masks,
    kept,
    shrink,
    write_back,
)
from ..experiment import Experiment
from . import distributed
from .checkpoint import Checkpoints
from .epochs import Purpose, Training
from .evaluation import quality, quality_in_detail
from .pretraining import Pretrained, build
from .target import Target, target_of, weights_to_prune
from .training import Trained, copy_of_state

_Result = TypeVar("_Result")
# Scores of ResNet-50 are 100 MB, and each worker has its own.
_SCORINGS = Scorings(most_bytes=2**28)


class Pruned(NamedTuple):
    """What the rounds leave.

    Attributes:
        model: the network.
        names: the weights that the strategy removes.
        masks: the last masks.
        rounds: the rounds' records.
        costs: times, and the memory at the peak of pruning.
        calibration: the examples that pruning looked at.
        curve: the epochs of all trainings.
        stacked: how many networks were trained at once, at most.
        by_class: the quality of each class in the end, where there are classes.
        straight_after: the prunable weights straight after the last pruning; empty where that took
            place during a training.
    """

    model: nn.Module
    names: tuple[str, ...]
    masks: Masks
    rounds: list[Round]
    costs: dict[str, float | None]
    calibration: list[Calibration]
    curve: list[Epoch]
    stacked: int
    by_class: Measurements
    straight_after: State


Steps = Generator[Training, Trained, _Result]
"""Gives what is to be trained, is told of it when that is done, and returns a result in the end."""


def prune(
    experiment: Experiment,
    task: Task,
    pretrained: Pretrained,
    checkpoints: Checkpoints | None = None,
    calibration: Task | None = None,
) -> Steps[Pruned]:
    """Prune and recover the network for as many rounds as the experiment says.

    Args:
        experiment: what is run.
        task: what is learned.
        pretrained: the dense network.
        checkpoints: those of its trainings.
        calibration: what the strategy looks at to prune; by default ``task``.
    """
    rounds = _Rounds(experiment, task, pretrained, checkpoints, calibration or task)
    timing = experiment.timing.create()
    if isinstance(timing, DuringTraining):
        return rounds.within_training(timing)
    return rounds.between_trainings()


class _Rounds:
    """The rounds of pruning one network, and the network as they leave it."""

    def __init__(
        self,
        experiment: Experiment,
        task: Task,
        pretrained: Pretrained,
        checkpoints: Checkpoints | None,
        looked_at: Task,
    ) -> None:
        self._experiment, self._task, self._pretrained = experiment, task, pretrained
        self._looked_at = looked_at
        self._checkpoints = checkpoints
        self._strategy: Strategy = experiment.strategy.create()
        self._recovery: Recovery = experiment.recovery.create()
        model, epoch = build(experiment, task), experiment.start_epoch
        model.load_state_dict(pretrained.state() if epoch is None else pretrained.at_epoch(epoch))
        example = task.inputs(1)
        selected = weights_to_prune(experiment, self._strategy, model, example)
        self._target = target_of(experiment, self._strategy, model, example, selected.names)
        self._steps = _steps(experiment, self._target)
        lots = generator(experiment.seed, "adapting")
        with self._noise("adapting"):
            self._model = self._strategy.adapt(model, selected.names, self._steps[-1].density, lots)
        if self._strategy.capabilities.removes == "nothing":
            # It was adapted to what is asked for in the end, and stays as it is in all rounds.
            self._steps = [self._steps[-1]] * experiment.rounds
        if self._model is not model:
            adapted = find_prunable(self._model, example)
            names = self._strategy.removable(self._model, adapted)
            selected = adapted._replace(names=tuple(names))
        self._selected = selected
        self._seconds = {"finetuning_seconds": 0.0}
        self._prunings: list[_Notes] = []
        self._curve: list[Epoch] = []
        self._by_class: Measurements = {}
        self._stacked = 1

    def between_trainings(self) -> Steps[Pruned]:
        """Each round prunes, and then trains if the recovery does."""
        rounds, masks = [], self._full_masks()
        for number in range(1, self._experiment.rounds + 1):
            sparsity = self._pruned(number, masks, self._scoring() if number == 1 else None)
            if number == self._experiment.rounds:
                straight_after = copies(self._model, sparsity.masks)
            rounds.append((yield from self._recovered(number, sparsity)))
            masks = sparsity.masks
        return self._finished(masks, rounds, straight_after)

    def within_training(self, timing: DuringTraining) -> Steps[Pruned]:
        """All rounds prune during one training, which the record calls by the last one's number."""
        number = self._experiment.rounds
        sparsity = GradualTraining(
            self._model,
            self._full_masks(),
            lambda number, masks: self._pruned(number, masks).masks,
            number,
            timing.begin,
            timing.end,
        )
        sparsity.notes = self._prunings
        rounds = [(yield from self._recovered(number, sparsity))]
        return self._finished(sparsity.masks, rounds, {})

    def _finished(self, masks: Masks, rounds: list[Round], straight_after: State) -> Pruned:
        _without_signs(self._model, masks)
        self._require_masked(masks)
        prunings = self._prunings
        costs = {
            "scoring_seconds": sum(each["seconds"] for each in prunings),
            **self._seconds,
            "scoring_peak_bytes": max(
                (peak for each in prunings for peak in each["peaks"]), default=None
            ),
        }
        return Pruned(
            self._model,
            self._selected.names,
            masks,
            rounds,
            costs,
            [Calibration(**seen) for each in prunings for seen in each["calibration"]],
            self._curve,
            self._stacked,
            self._by_class,
            straight_after,
        )

    def _require_masked(self, masks: Masks) -> None:
        """Make sure that no weight counts as pruned that is still there.

        A network that has diverged may have what is no number anywhere, and is a result.
        """
        for name, parameter in self._model.named_parameters():
            if name in masks and (alive := int((parameter[~masks[name]].abs() > 0).sum())):
                raise UsageError(
                    f"strategy {self._experiment.strategy}: {alive:,} pruned weights of {name} "
                    "are not zero"
                )

    def _full_masks(self) -> Masks:
        parameters = dict(self._model.named_parameters())
        return full_masks({name: parameters[name] for name in self._selected.names})

    def _pruned(
        self, number: int, masks: Masks, scoring: SharedScoring | None = None
    ) -> SparseTraining:
        """Prune the network as it is now to the target of a round."""
        context = Context(
            model=self._model,
            task=self._looked_at,
            masks={name: masks[name] for name in self._selected.names},
            outputs=self._selected.outputs,
            generator=generator(self._experiment.seed, "scoring", number),
            cost=self._target.cost,
            scoring=scoring,
        )
        device = next(self._model.parameters()).device
        notes: _Notes = {"seconds": 0.0, "peaks": []}
        with self._noise("scoring", number), peak_within(device) as peak, _timed(notes, "seconds"):
            sparsity = self._strategy.prune(context, self._steps[number - 1].kept)
            finish(device)
        _note_costs(notes, peak.bytes, scoring)
        notes["calibration"] = [{"round": number, **each._asdict()} for each in context.passes]
        self._prunings.append(notes)
        if distributed.world_size() > 1 and self._strategy.capabilities == Capabilities():
            # All processes choose alike; this holds them to it where a device's bits differ.
            masks = {name: mask.contiguous() for name, mask in sparsity.masks.items()}
            distributed.broadcast([*masks.values(), *self._model.state_dict().values()])
            sparsity.restore(masks)
        return sparsity

    def _noise(self, *purpose: object) -> AbstractContextManager[None]:
        """What methods and networks draw that take no generator, whatever was run before."""
        return seeded(self._experiment.seed, "noise", *purpose, device=self._task.device)

    def _scoring(self) -> SharedScoring:
        """The dense network's, which all cells share that prune it by the same method."""
        experiment = self._experiment
        return _SCORINGS.of(
            experiment.id,
            # Loaded weights are the same for all seeds and data sets.
            experiment.seed,
            experiment.dataset.identity,
            experiment.device,
            experiment.threads,
            self._pretrained.digest(),
            experiment.start_epoch,
            experiment.strategy.identity,
            experiment.calibration and experiment.calibration.identity,
            experiment.target[0].name,
            self._selected.names,
            self._selected.outputs,
        )

    def _recovered(self, number: int, sparsity: SparseTraining) -> Steps[Round]:
        """What becomes of the network by the recovery, training as ``sparsity`` says."""
        model, task = self._model, self._task
        before, self._by_class = quality_in_detail(model, task, "test")
        after, validation = before, None
        history = _History(self._experiment, task, self._pretrained, number)
        with self._noise("recovery", number):
            start = self._recovery.start(history)
        if start is not None:
            model.load_state_dict(start)
            sparsity.apply()
        if self._recovery.trains:
            validation = yield from self._train(number, sparsity)
        if start is not None or self._recovery.trains:
            after, self._by_class = quality_in_detail(model, task, "test")
        return Round(
            round=number,
            density=self._steps[number - 1].density,
            kept=kept(sparsity.masks),
            before=before,
            after=after,
            validation=validation or quality(model, task, "validation"),
        )

    def _train(self, number: int, sparsity: SparseTraining) -> Steps[Measurements | None]:
        """Fine-tune, or train again from the epoch to which the recovery went back.

        Returns:
            The quality on the validation split, if it is the network itself that was trained.
        """
        experiment, task = self._experiment, self._task
        purpose = Purpose(experiment.seed, f"fine-tuning {number}")
        rewound = self._recovery.schedule_epoch
        recipe = experiment.finetuning if rewound is None else experiment.pretraining
        first = (rewound or 0) + 1
        checkpoints = self._checkpoints
        checkpoint = None if checkpoints is None else checkpoints.of(purpose.name)
        masked = experiment.finetuned_network == "masked"
        if self._recovery.adapts:
            lots = generator(experiment.seed, "adapting", number)
            with self._recovery.adapting(self._model, sparsity.masks, lots):
                trained = yield Training(
                    self._model, task, recipe, purpose, None, first, checkpoint
                )
        elif masked:
            trained = yield Training(
                self._model, task, recipe, purpose, sparsity, first, checkpoint
            )
        else:
            # Without the channels that are gone; the masked network takes over what it learns.
            with _timed(self._seconds, "finetuning_seconds"):
                names = self._selected.names
                small, coupling, stays = shrunk(self._model, names, sparsity.masks, task)
            trained = yield Training(small, task, recipe, purpose, None, first, checkpoint)
            write_back(small, self._model, coupling, stays)
        self._curve += trained.curve
        self._stacked = max(self._stacked, trained.stacked)
        self._seconds["finetuning_seconds"] += trained.seconds
        if checkpoint is not None:
            self._seconds["finetuning_seconds"] += checkpoint.seconds_before
        return trained.validation if masked else None


_Notes = dict[str, Any]
"""What a pruning took and looked at, as plain data, which checkpoints have."""


def _note_costs(notes: _Notes, peak_bytes: int | None, scoring: SharedScoring | None) -> None:
    """Note what pruning took, and its scoring where that was made for another cell."""
    peaks = [peak_bytes]
    if scoring is not None:
        notes["seconds"] += scoring.seconds_before
        peaks.append(scoring.bytes_before)
        scoring.took(peak_bytes)
    notes["peaks"] += [each for each in peaks if each is not None]


class _History:
    """The states that a recovery may go back to, in one round of one experiment."""

    def __init__(
        self, experiment: Experiment, task: Task, pretrained: Pretrained, number: int
    ) -> None:
        self._experiment, self._task = experiment, task
        self._pretrained, self._number = pretrained, number

    def at_epoch(self, epoch: int) -> State:
        """The state after so many epochs of pretraining."""
        return self._pretrained.at_epoch(epoch)

    @property
    def is_last_round(self) -> bool:
        """Whether no more pruning follows."""
        return self._number == self._experiment.rounds

    def fresh(self) -> State:
        """A new initialisation, another one in each round."""
        purpose = f"reinitialisation {self._number}"
        return copy_of_state(build(self._experiment, self._task, purpose))


class _Step(NamedTuple):
    """What a round of pruning is to leave of what the target counts: a fraction, and a number."""

    density: float
    kept: int


def _steps(experiment: Experiment, target: Target) -> list[_Step]:
    """What each round leaves, the last one exactly what the target says."""
    schedule = experiment.schedule.create()
    densities = [
        schedule.density(target.kept / target.total, number, experiment.rounds)
        for number in range(1, experiment.rounds + 1)
    ]
    steps = [_Step(each, max(target.kept, round(each * target.total))) for each in densities]
    return [*steps[:-1], _Step(densities[-1], target.kept)]


def shrunk(
    model: nn.Module, names: Sequence[str], masks: Mapping[str, Tensor], task: Task
) -> tuple[nn.Module, Coupling, Tensor]:
    """The network without the channels that ``masks`` remove, the channels, and which stayed.

    Args:
        model: the network with its zeros.
        names: the weights whose channels may be removed.
        masks: of those weights at least.
        task: gives inputs on which the two networks are compared.

    Raises:
        UsageError: the smaller network does not compute the same.
    """
    coupling = couple(model, task.inputs(1), names)
    stays = coupling.kept(masks)
    small = shrink(model, coupling, stays)
    check_equivalence(model, small, task.inputs(2))
    return small, coupling, stays


def copies(model: nn.Module, names: Iterable[str]) -> State:
    """Copies of the weights of these names, on the CPU: a GPU may have no room for them."""
    parameters = dict(model.named_parameters())
    return {name: parameters[name].detach().to("cpu", copy=True) for name in names}


def _without_signs(model: nn.Module, masks: Masks) -> None:
    """Have all zeros of pruned weights be positive ones: masking leaves negative ones too."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in masks:
                parameter.add_(0.0)


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds[name] += time.perf_counter() - start
