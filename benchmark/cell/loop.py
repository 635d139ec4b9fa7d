"""The loop: train → (prune → fine-tune) × K → measure. Every method goes through it."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save
from torch import Tensor, nn

from ...datasets import DATASETS, Task
from ...errors import message_of
from ...metrics import (
    Flops,
    Latency,
    Measurements,
    Metric,
    Quality,
    Subject,
    histograms,
    layer_sizes,
    layer_table,
)
from ...registry import Component
from ...results import (
    Distribution,
    Epoch,
    Failure,
    Layer,
    QualityMetric,
    Record,
    Round,
    Store,
)
from ...results.changes import CHANGES
from ...results.qualities import descriptions
from ...seeding import generator
from ...strategies import (
    Capabilities,
    Context,
    Coupling,
    DuringTraining,
    GradualTraining,
    Masks,
    Recovery,
    SparseTraining,
    State,
    Strategy,
    check_equivalence,
    collapsed,
    couple,
    find_prunable,
    full_masks,
    kept,
    shrink,
    weight_class,
    write_back,
)
from ..experiment import Experiment, Recipe
from . import distributed
from .checkpoint import Checkpoint, Checkpoints
from .environment import environment
from .pretraining import Pretrained, build, least_dense_quality, require_learned
from .target import Target, target_of, weights_to_prune
from .training import Purpose, Trained, copy_of_state, own_metric, quality, train


class Pruned(NamedTuple):
    """What the rounds leave.

    Attributes:
        model: the network.
        names: the weights that the strategy removes.
        masks: the last masks.
        rounds: the rounds' records.
        seconds: times.
        curve: the epochs of all trainings.
        straight_after: the prunable weights straight after the last pruning; empty where that took
            place during a training.
    """

    model: nn.Module
    names: tuple[str, ...]
    masks: Masks
    rounds: list[Round]
    seconds: dict[str, float]
    curve: list[Epoch]
    straight_after: State


def run_cell(
    experiment: Experiment,
    store: Store,
    data: Path,
    *,
    weights: bool = True,
    checkpoint_seconds: float | None = None,
) -> Record:
    """Run one experiment and save its record, and the final weights beside it.

    Whatever goes wrong in the run itself becomes a record with status ``failed``, which takes the
    place of no finished one.

    Args:
        experiment: what to run.
        store: where the record goes; pretrained networks are kept there too.
        data: the folder of the data sets.
        weights: whether to save the final weights.
        checkpoint_seconds: time between two checkpoints of a training; None makes none.

    Raises:
        OSError: the record could not be saved.
    """
    checkpoints = Checkpoints(store.folder, experiment.id, checkpoint_seconds)
    with threads(experiment.threads), _repeatable():
        try:
            task = load_task(experiment.dataset, data, experiment.device)
            pretrained = Pretrained(experiment, task, store.folder, checkpoint_seconds)
            record, state = _measured(experiment, task, pretrained, checkpoints)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a user's code may raise anything, SystemExit too
            record, state = failed(experiment, error), {}
    if distributed.rank() == 0:
        contiguous = {name: tensor.contiguous() for name, tensor in state.items()}
        store.save(record, save(contiguous) if weights and record.finished else None)
        if record.finished:
            checkpoints.remove()
    distributed.barrier()
    return record


def prune(
    experiment: Experiment,
    task: Task,
    pretrained: Pretrained,
    checkpoints: Checkpoints | None = None,
) -> Pruned:
    """Prune and recover the network for as many rounds as the experiment says."""
    rounds = _Rounds(experiment, task, pretrained, checkpoints)
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
    ) -> None:
        self._experiment, self._task, self._pretrained = experiment, task, pretrained
        self._checkpoints = checkpoints
        self._strategy: Strategy = experiment.strategy.create()
        self._recovery: Recovery = experiment.recovery.create()
        model, epoch = build(experiment, task), experiment.start_epoch
        model.load_state_dict(pretrained.state() if epoch is None else pretrained.at_epoch(epoch))
        example = task.inputs(1)
        selected = weights_to_prune(experiment, self._strategy, model, example)
        self._target = target_of(experiment, self._strategy, model, example, selected.names)
        self._steps = _steps(experiment, self._target)
        self._model = self._strategy.adapt(
            model,
            selected.names,
            self._steps[-1].density,
            generator(experiment.seed, "adapting"),
        )
        if self._model is not model:
            adapted = find_prunable(self._model, example)
            names = self._strategy.removable(self._model, adapted)
            selected = adapted._replace(names=tuple(names))
        self._selected = selected
        self._seconds = {"scoring_seconds": 0.0, "finetuning_seconds": 0.0}
        self._curve: list[Epoch] = []

    def between_trainings(self) -> Pruned:
        """Each round prunes, and then trains if the recovery does."""
        rounds, masks = [], self._full_masks()
        for number in range(1, self._experiment.rounds + 1):
            sparsity = self._pruned(number, masks)
            if number == self._experiment.rounds:
                straight_after = _weights(self._model, sparsity.masks)
            rounds.append(self._recovered(number, sparsity))
            masks = sparsity.masks
        return self._finished(masks, rounds, straight_after)

    def within_training(self, timing: DuringTraining) -> Pruned:
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
        rounds = [self._recovered(number, sparsity)]
        return self._finished(sparsity.masks, rounds, {})

    def _finished(self, masks: Masks, rounds: list[Round], straight_after: State) -> Pruned:
        names = self._selected.names
        return Pruned(self._model, names, masks, rounds, self._seconds, self._curve, straight_after)

    def _full_masks(self) -> Masks:
        parameters = dict(self._model.named_parameters())
        return full_masks({name: parameters[name] for name in self._selected.names})

    def _pruned(self, number: int, masks: Masks) -> SparseTraining:
        """Prune the network as it is now to the target of a round."""
        context = Context(
            model=self._model,
            task=self._task,
            masks={name: masks[name] for name in self._selected.names},
            outputs=self._selected.outputs,
            generator=generator(self._experiment.seed, "scoring", number),
            cost=self._target.cost,
        )
        with _timed(self._seconds, "scoring_seconds"):
            sparsity = self._strategy.prune(context, self._steps[number - 1].kept)
        if distributed.world_size() > 1 and self._strategy.capabilities == Capabilities():
            # All processes choose alike; this holds them to it where a device's bits differ.
            masks = {name: mask.contiguous() for name, mask in sparsity.masks.items()}
            distributed.broadcast([*masks.values(), *self._model.state_dict().values()])
            sparsity.restore(masks)
        return sparsity

    def _recovered(self, number: int, sparsity: SparseTraining) -> Round:
        """What becomes of the network by the recovery, training as ``sparsity`` says."""
        experiment, task, model = self._experiment, self._task, self._model
        before = quality(model, task, "test")
        history = _History(experiment, task, self._pretrained, number)
        if (start := self._recovery.start(history)) is not None:
            model.load_state_dict(start)
            sparsity.apply()
        if self._recovery.trains:
            purpose = Purpose(experiment.seed, f"fine-tuning {number}")
            rewound = self._recovery.schedule_epoch
            recipe = experiment.finetuning if rewound is None else experiment.pretraining
            with _timed(self._seconds, "finetuning_seconds"):
                first, checkpoint = (rewound or 0) + 1, None
                if self._checkpoints is not None:
                    checkpoint = self._checkpoints.of(purpose.name)
                if experiment.finetuned_network == "masked":
                    trained = train(model, task, recipe, purpose, sparsity, first, checkpoint)
                else:
                    masks = sparsity.masks
                    trained = self._train_shrunk(recipe, purpose, masks, first, checkpoint)
            self._curve += trained.curve
            if checkpoint is not None:
                self._seconds["finetuning_seconds"] += checkpoint.seconds_before
        return Round(
            round=number,
            density=self._steps[number - 1].density,
            kept=kept(sparsity.masks),
            before=before,
            after=quality(model, task, "test"),
            validation=quality(model, task, "validation"),
        )

    def _train_shrunk(
        self,
        recipe: Recipe,
        purpose: Purpose,
        masks: Masks,
        first_epoch: int,
        checkpoint: Checkpoint | None,
    ) -> Trained:
        """Train the network without the channels that are gone, and take over what it learns."""
        small, coupling, stays = shrunk(self._model, self._selected.names, masks, self._task)
        trained = train(small, self._task, recipe, purpose, None, first_epoch, checkpoint)
        write_back(small, self._model, coupling, stays)
        return trained


def _weights(model: nn.Module, names: Iterable[str]) -> State:
    """Copies of the weights of these names."""
    parameters = dict(model.named_parameters())
    return {name: parameters[name].detach().clone() for name in names}


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


def failed(experiment: Experiment, error: BaseException) -> Record:
    """The record of a run that ended with ``error``."""
    return Record(
        id=experiment.id,
        status="failed",
        error=Failure(
            type=type(error).__name__,
            message=message_of(error),
            traceback="".join(traceback.format_exception(error)),
        ),
        experiment=described(experiment),
        quality={},
        dense={},
        rounds=(),
        final={},
        layers=(),
        collapsed_layers=(),
        timings={},
        environment=environment(),
    )


def described(experiment: Experiment) -> dict[str, Any]:
    """All settings of an experiment as plain data, defaults included, for its record."""
    return {
        **experiment.model_dump(mode="json"),
        "comparison": experiment.comparison,
        "sources": experiment.sources,
    }


@lru_cache(maxsize=2)
def _loaded(dataset: str, data: Path, device: str) -> Task:
    if device != "cpu":
        return _loaded(dataset, data, "cpu").to(torch.device(device))
    return DATASETS.component(dataset).create().load(data)


def load_task(dataset: Component[Any], data: Path, device: str = "cpu") -> Task:
    """The data set's task on a device; a process loads it once."""
    return _loaded(str(dataset), data, device)


@contextmanager
def _repeatable() -> Iterator[None]:
    """Have a GPU take algorithms that give the same bits again."""
    before = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = before


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Compute with ``count`` CPU threads inside the block: results depend on it bit by bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


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


def _measured(
    experiment: Experiment, task: Task, pretrained: Pretrained, checkpoints: Checkpoints
) -> tuple[Record, State]:
    """The record of a run that comes to its end, and the final weights."""
    report = pretrained.report()
    require_learned(experiment, task, report)
    pruned = prune(experiment, task, pretrained, checkpoints)
    with torch.no_grad():
        for name, parameter in pruned.model.named_parameters():
            if name in pruned.masks:
                parameter.add_(0.0)  # masking leaves negative zeros, whose bits are no zeros
    dense = build(experiment, task)
    dense.load_state_dict(pretrained.state())
    chosen: dict[Component[Metric], Metric] = {each: each.create() for each in experiment.metrics}
    standard: list[Metric] = [each.create() for each in experiment.measurements]
    metrics = [metric for metric in standard if not metric.timing]
    strategy: Strategy = experiment.strategy.create()
    removes = strategy.capabilities.removes
    small = None
    if removes == "channels":
        small = shrunk(pruned.model, pruned.names, pruned.masks, task)[0]
    final_subject = Subject(pruned.model, dense, task, tuple(pruned.masks), shrunk=small)
    # A network that was adapted has other names than the dense one.
    names = tuple(pruned.masks)
    if removes == "nothing":
        names = weights_to_prune(experiment, strategy, dense, task.inputs(1)).names
    dense_subject = Subject(dense, dense, task, names)
    dead = collapsed(pruned.masks)
    final = {**pruned.rounds[-1].after, **_all([*metrics, *chosen.values()], final_subject)}
    before = report.test | _all(metrics, dense_subject)
    for component, metric in chosen.items():
        # What may depend on the weights that this strategy prunes belongs to this cell alone.
        before |= (
            pretrained.measured(component) if metric.quality else metric.measure(dense_subject)
        )
    classes = {name: weight_class(pruned.model, name) for name in pruned.names}
    own = _measured_of(own_metric(task), final)
    others = {
        name: each
        for metric in chosen.values()
        for name, each in _measured_of(metric, final).items()
        if name not in own
    }
    latency: Measurements = {}
    doubts: dict[str, str] = {}
    for metric in standard:
        if isinstance(metric, Latency):
            latency, doubts = metric.measure_and_doubt(final_subject)
    counted = any(isinstance(metric, Flops) for metric in standard)
    layers = layer_table(pruned.model, task.inputs(1)) if counted else layer_sizes(pruned.model)
    record = Record(
        id=experiment.id,
        status="collapsed" if dead else "ok",
        experiment=described(experiment),
        quality={name: each.better for name, each in {**own, **others}.items()},
        described={
            name: QualityMetric(title=each.title, unit=each.unit)
            for name, each in descriptions(own, others).items()
        },
        least_dense_quality=least_dense_quality(experiment, task),
        dense=before,
        rounds=tuple(pruned.rounds),
        final=final,
        layers=tuple(
            Layer(
                **row._asdict(),
                weight_class=classes.get(row.name, ""),
            )
            for row in layers
        ),
        collapsed_layers=tuple(dead),
        by_class=own_metric(task).by_class(final_subject),
        signatures={str(name): text for name, each in chosen.items() if (text := each.signature())},
        revision=len(CHANGES),
        history=(*report.curve, *pruned.curve),
        distributions=tuple(
            Distribution(**row._asdict())
            for row in histograms(
                pretrained.state(), pruned.straight_after, _weights(pruned.model, pruned.masks)
            )
        ),
        timings={
            "pretraining_seconds": report.seconds,
            **pruned.seconds,
            **latency,
        },
        doubts=doubts,
        environment=environment(),
    )
    return record, copy_of_state(pruned.model)


def _measured_of(metric: Metric, measured: Mapping[str, object]) -> dict[str, Quality]:
    """Those of a metric's numbers of quality that were measured."""
    return {name: each for name, each in metric.qualities().items() if name in measured}


def _all(metrics: list[Metric], subject: Subject) -> Measurements:
    measured: Measurements = {}
    for metric in metrics:
        measured |= metric.measure(subject)
    return measured


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds[name] += time.perf_counter() - start
