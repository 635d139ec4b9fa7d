"""How long a sweep will take: a little of all that its cells do is timed on this machine.

What is timed is what differs: steps of training for each task, network and recipe, a part of an
evaluation and forward passes for each task and network, and one pruning for each strategy on it.
All else is arithmetic.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from copy import copy
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Generator

from ...datasets import Batch, Split, Task
from ...devices import finish
from ...metrics import Latency, inference
from ...seeding import generator
from ...strategies import State
from ..cell.epochs import Purpose, Training, TrainingSteps
from ..cell.loop import load_calibration, load_task
from ..cell.pretraining import Pretrained, build, epochs_missing
from ..cell.process import threads
from ..cell.rounds import prune
from ..experiment import Experiment
from ..recipe import Recipe
from .sweep import epochs_of_cell

MOST_SECONDS = 20.0
"""How long is timed, but for the one step and the one batch of each kind that it takes anyway."""

_SECONDS_EACH = 0.5
_SECONDS_OF_A_PRUNING = 5.0
_SAMPLES, _NETWORKS = 30, 3
_BATCH_SIZE = 500


@dataclass(frozen=True)
class Estimate:
    """What a sweep is expected to take.

    Attributes:
        dense_networks: how many are still to be trained.
        seconds: of the whole sweep.
        parts: seconds of each part of it, added up over all workers.
        untimed: strategies whose pruning was not timed, for which the mean of the others stands.
    """

    dense_networks: int
    seconds: float
    parts: Mapping[str, float]
    untimed: tuple[str, ...]


def estimate(experiments: Sequence[Experiment], folder: Path, data: Path, workers: int) -> Estimate:
    """Time a little of what experiments do, and say how long all of it will take.

    Args:
        experiments: those that are to be run.
        folder: the folder of records, where dense networks may be that are trained already.
        data: the folder of data sets.
        workers: processes that run cells.
    """
    timings = _Timings(data)
    parts: defaultdict[str, float] = defaultdict(float)
    dense_networks, longest = 0, 0.0
    for group in _grouped(experiments, lambda each: each.pretraining_id).values():
        # Little depends on the target, by which alone they differ.
        alike = _grouped(group, lambda each: (each.comparison, str(each.strategy))).values()
        epochs = epochs_missing([cells[0] for cells in alike], folder)
        dense = epochs * timings.epoch(group[0], group[0].pretraining)
        dense_networks += epochs > 0
        parts["dense networks"] += dense
        for cells in alike:
            cell = _of_cell(cells[0], timings)
            for name, part in cell.items():
                parts[name] += len(cells) * part
            longest = max(longest, dense + sum(cell.values()))
    side_by_side = max(1, min(workers, os.cpu_count() or 1, len(experiments)))
    seconds = max(longest, sum(parts.values()) / side_by_side)
    return Estimate(dense_networks, seconds, dict(parts), timings.untimed())


def _of_cell(experiment: Experiment, timings: _Timings) -> dict[str, float]:
    """Seconds of the parts of a cell, whose dense network is there."""
    recovery = experiment.recovery.create()
    rewound = recovery.schedule_epoch is not None
    recipe = experiment.pretraining if rewound else experiment.finetuning
    passes = 2 if recovery.trains else 1
    evaluation = passes * timings.evaluation(experiment, "test")
    if not recovery.trains:
        evaluation += timings.evaluation(experiment, "validation")
    epochs = epochs_of_cell(experiment)
    evaluated = 1 if experiment.timing.create().within_training else experiment.rounds
    return {
        "training after pruning": epochs * timings.epoch(experiment, recipe) if epochs else 0.0,
        "pruning": experiment.rounds * timings.pruning(experiment),
        "evaluation": evaluated * evaluation,
        "timing of inference": timings.latency(experiment),
    }


class _Timings:
    """What was timed, each thing once.

    Args:
        data: the folder of data sets.
    """

    def __init__(self, data: Path) -> None:
        self._data, self._left = data, MOST_SECONDS
        self._known: dict[Hashable, float] = {}
        self._prunings: dict[Hashable, tuple[str, float | None]] = {}

    def epoch(self, experiment: Experiment, recipe: Recipe) -> float:
        """Seconds of an epoch of a recipe, and of the evaluation after it."""
        settings = recipe.model_dump_json(exclude={"epochs"})
        seconds = self._once(experiment, settings, lambda task: _step(experiment, recipe, task))
        steps = self._task(experiment).steps(recipe.batch_size)
        return steps * seconds + self.evaluation(experiment, "validation")

    def evaluation(self, experiment: Experiment, split: Split) -> float:
        """Seconds of an evaluation on a split."""
        return self._once(experiment, split, lambda task: _evaluation(experiment, task, split))

    def latency(self, experiment: Experiment) -> float:
        """Seconds of timing a network beside the dense one."""
        metrics = [each.create() for each in experiment.measurements]
        timed = [metric for metric in metrics if isinstance(metric, Latency)]
        sizes = [size for metric in timed for size in metric.batch_sizes]
        seconds = 0.0
        for size in sizes:
            forward = self._once(experiment, size, partial(_forward, experiment, size=size))
            sample = _NETWORKS * max(forward, 2e-3)
            seconds += max(6 * sample, min(_SAMPLES * sample, 15.0))
        return seconds

    def pruning(self, experiment: Experiment) -> float:
        """Seconds of one pruning; the mean of others where time is up."""
        key = (*_network(experiment), str(experiment.strategy), str(experiment.calibration))
        if key not in self._prunings:
            self._prunings[key] = str(experiment.strategy), self._timed_pruning(experiment)
        seconds = self._prunings[key][1]
        return self._mean() if seconds is None else seconds

    def untimed(self) -> tuple[str, ...]:
        """The strategies whose pruning was not timed."""
        names = [name for name, seconds in self._prunings.values() if seconds is None]
        return tuple(dict.fromkeys(names))

    def _timed_pruning(self, experiment: Experiment) -> float | None:
        evaluation, task = self.evaluation(experiment, "test"), self._task(experiment)
        if self._left <= 0:
            return None
        glimpse, part = _with_one_test_batch(task), min(1.0, _BATCH_SIZE / task.size("test"))
        calibration = load_calibration(experiment, self._data, experiment.device)
        with suppress(_TimeUpError), self._timing(experiment) as seconds:
            with _at_most(min(self._left, _SECONDS_OF_A_PRUNING)):
                # Else the first pruning comes when much has been trained.
                at_once = experiment.revised(timing="BetweenTrainings")
                untrained = _Untrained(at_once, task, Path())
                next(prune(at_once, glimpse, untrained, calibration=calibration), None)
            return max(0.0, seconds() - part * evaluation)
        return None

    @contextmanager
    def _timing(self, experiment: Experiment) -> Iterator[Callable[[], float]]:
        """Compute as the experiment does; what that takes is taken from what is left."""
        start = time.perf_counter()
        try:
            with threads(experiment.threads):
                yield lambda: time.perf_counter() - start
        finally:
            self._left -= time.perf_counter() - start

    def _mean(self) -> float:
        known = [seconds for _, seconds in self._prunings.values() if seconds is not None]
        return sum(known) / len(known) if known else 0.0

    def _once(
        self, experiment: Experiment, what: Hashable, measured: Callable[[Task], float]
    ) -> float:
        key = (*_network(experiment), what)
        if key not in self._known:
            task = self._task(experiment)
            with self._timing(experiment):
                self._known[key] = measured(task)
        return self._known[key]

    def _task(self, experiment: Experiment) -> Task:
        return load_task(experiment.dataset, self._data, experiment.device)


def _network(experiment: Experiment) -> tuple[Hashable, ...]:
    """What makes networks as fast as each other."""
    return str(experiment.dataset), str(experiment.model), experiment.device, experiment.threads


def _step(experiment: Experiment, recipe: Recipe, task: Task) -> float:
    """Seconds of a step of training."""
    model = build(experiment, task).train()
    training = TrainingSteps(Training(model, task, recipe, Purpose(0, "estimate")), 0)
    batches = task.training_batches(recipe.batch_size, generator(0, "estimate"))
    return _seconds_each(lambda batch: training.step(batch), batches, task.device)


def _evaluation(experiment: Experiment, task: Task, split: Split) -> float:
    """Seconds of an evaluation on a split."""
    model = build(experiment, task)
    with inference(model):
        batches = islice(task.batches(split, _BATCH_SIZE), 50)
        counts: list[int] = []

        def evaluate(batch: Any) -> None:
            task.loss(model, batch)
            counts.append(len(batch[1]))

        seconds = _seconds_each(evaluate, batches, task.device)
    return seconds * task.size(split) * len(counts) / sum(counts)


def _with_one_test_batch(task: Task) -> Task:
    """The task, of whose test split all is left out that makes the evaluation after a pruning long.

    Evaluating all of it may take a hundred times as long as pruning, which then is not to be known
    from what both take together.
    """
    glimpse = copy(task)

    def batches(
        split: Split, batch_size: int, generator: Generator | None = None
    ) -> Iterator[Batch]:
        every = task.batches(split, batch_size, generator)
        return islice(every, 1) if split == "test" else every

    glimpse.batches = batches  # type: ignore[method-assign]
    return glimpse


def _forward(experiment: Experiment, task: Task, *, size: int) -> float:
    """Seconds of a forward pass."""
    model, inputs = build(experiment, task), task.inputs(size)
    with inference(model):
        return _seconds_each(lambda _: model(inputs), range(20), task.device)


def _seconds_each(
    call: Callable[[Any], object], values: Iterable[Any], device: torch.device
) -> float:
    """The mean seconds of calls on a device and of getting what each is given.

    The first is not counted if there are others.
    """
    seconds: list[float] = []
    start = time.perf_counter()
    for value in values:
        call(value)
        finish(device)
        end = time.perf_counter()
        seconds.append(end - start)
        start = end
        if sum(seconds) > _SECONDS_EACH:
            break
    counted = seconds[1:] or seconds
    return sum(counted) / len(counted)


class _Untrained(Pretrained):
    """A dense network that has not been trained, and is in no file."""

    def digest(self) -> str:
        """None of a file, so that nobody takes its scores for those of a trained one."""
        return f"untrained {super().path.name}"

    def state(self) -> State:
        """Random weights."""
        return build(self._experiment, self._task).state_dict()

    def at_epoch(self, epoch: int) -> State:
        """Random weights."""
        return self.state()


class _TimeUpError(Exception):
    """What was to be timed takes too long."""


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Stop what is in the block after so long, where the system and the thread allow it."""
    if (
        not hasattr(signal, "setitimer")
        or threading.current_thread() is not threading.main_thread()
    ):
        yield
        return

    def stop(*_: object) -> None:
        raise _TimeUpError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _grouped(
    experiments: Iterable[Experiment], key: Callable[[Experiment], Hashable]
) -> dict[Hashable, list[Experiment]]:
    groups: dict[Hashable, list[Experiment]] = {}
    for each in experiments:
        groups.setdefault(key(each), []).append(each)
    return groups
