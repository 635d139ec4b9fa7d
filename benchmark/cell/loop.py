"""The loop: train → (prune → fine-tune) × K → measure. Every method goes through it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as as_safetensors

from ...datasets import Task
from ...errors import UsageError
from ...registry import Component
from ...results import Record, Store
from ...seeding import seeded
from ..experiment import Experiment
from . import distributed
from .checkpoint import Checkpoints
from .digests import digest_of_data
from .epochs import Training
from .interrupts import raise_interrupt
from .pretraining import Pretrained, require_learned
from .process import repeatable, threads
from .record import failed_record, finished_record
from .rounds import Steps, prune
from .stacking import train_all
from .training import Trained, copy_of_state

Cell = Steps[Record]
"""A cell under way, which stops whenever it wants something trained."""


def cell(
    experiment: Experiment,
    store: Store,
    data: Path,
    *,
    weights: bool = True,
    checkpoint_seconds: float | None = None,
    save: Callable[[Record, bytes | None], object] | None = None,
) -> Cell:
    """Run one experiment and save its record, and the final weights beside it.

    It stops whenever it wants something trained. Whatever goes wrong in the run itself becomes a
    record with status ``failed``, which takes the place of no finished one.

    Args:
        experiment: what to run.
        store: where the record goes; pretrained networks are kept there too.
        data: the folder of the data sets.
        weights: whether to save the final weights.
        checkpoint_seconds: time between two checkpoints of a training; None makes none.
        save: saves the record, and the weights if there are any; by default the store does.

    Raises:
        OSError: the record could not be saved.
    """
    checkpoints = Checkpoints(store.folder, experiment.id, checkpoint_seconds)
    try:
        task = load_task(experiment.dataset, data, experiment.device)
        pretrained = Pretrained(experiment, task, store.folder, checkpoint_seconds)
        require_learned(experiment, task, pretrained.report())
        calibration = load_calibration(experiment, data, experiment.device)
        pruned = yield from prune(experiment, task, pretrained, checkpoints, calibration)
        digest = _data_digest(_Wanted(experiment.dataset.identity, data, experiment.dataset))
        record = finished_record(experiment, task, pretrained, pruned, digest)
        state = copy_of_state(pruned.model)
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # a user's code may raise anything, SystemExit too
        raise_interrupt()
        record, state = failed_record(experiment, error), {}
    if distributed.rank() == 0:
        contiguous = {name: tensor.contiguous() for name, tensor in state.items()}
        content = as_safetensors(contiguous) if weights and record.finished else None
        (save or store.save)(record, content)
        if record.finished:
            checkpoints.remove()
    distributed.barrier()
    return record


def run_together(cells: Sequence[Cell], thread_count: int) -> list[Record]:
    """Run cells step by step, and train together what they want trained, where it is alike.

    Args:
        cells: what to run.
        thread_count: CPU threads of all of them.
    """
    with threads(thread_count), repeatable():
        under_way = [_UnderWay(each) for each in cells]
        while waiting := [each for each in under_way if each.wants is not None]:
            wanted = [each.wants for each in waiting if each.wants is not None]
            for each, done in zip(waiting, train_all(wanted), strict=True):
                each.go_on(done)
        return [each.record for each in under_way]


class _UnderWay:
    """A cell, and what it waits for.

    Attributes:
        wants: what it wants trained; None at its end, when there is a ``record``.
        record: what it leaves.
    """

    record: Record

    def __init__(self, steps: Cell) -> None:
        self._steps = steps
        self._advance(lambda: next(steps))

    def go_on(self, done: Trained | BaseException) -> None:
        """Go on with what was trained, or with what kept it from being trained."""
        if isinstance(done, BaseException):
            self._advance(lambda: self._steps.throw(done))
        else:
            self._advance(lambda: self._steps.send(done))

    def _advance(self, step: Callable[[], Training]) -> None:
        self.wants: Training | None = None
        try:
            self.wants = step()
        except StopIteration as end:
            self.record = end.value


@dataclass(frozen=True)
class _Wanted:
    """A data set in a folder: another one when a user has changed its file."""

    identity: str
    data: Path
    dataset: Component[Any] = field(compare=False)


@lru_cache(maxsize=4)  # a data set and one to calibrate on, here and on a GPU
def _loaded(wanted: _Wanted, device: str) -> Task:
    if device != "cpu":
        return _loaded(wanted, "cpu").to(torch.device(device))
    # A split that is drawn without a generator is the same for all cells and in every process.
    with seeded(0, "data"):
        task: Task = wanted.dataset.create().load(wanted.data)
    if not isinstance(task, Task):
        raise UsageError(
            f"dataset {wanted.dataset}: load() gives a {type(task).__name__}, where a Task is to "
            "be; see `prunebench list examples own_model_and_data`"
        )
    return task


@lru_cache(maxsize=2)
def _data_digest(wanted: _Wanted) -> str:
    return digest_of_data(_loaded(wanted, "cpu"))


def load_task(dataset: Component[Any], data: Path, device: str = "cpu") -> Task:
    """The data set's task on a device; a process loads it once."""
    return _loaded(_Wanted(dataset.identity, data, dataset), device)


def load_calibration(experiment: Experiment, data: Path, device: str = "cpu") -> Task:
    """What strategies look at to prune: the task of ``calibration``, else what is learned.

    Raises:
        UsageError: the network cannot take its examples for those that it is trained on.
    """
    task = load_task(experiment.dataset, data, device)
    if experiment.calibration is None:
        return task
    other = load_task(experiment.calibration, data, device)
    # A language model takes shorter sequences too.
    are_shorter = bool(task.vocabulary) and len(task.input_shape) == len(other.input_shape) == 1
    fits = (
        other.input_shape <= task.input_shape
        if are_shorter
        else (other.input_shape == task.input_shape)
    )
    if not fits or other.classes != task.classes:
        raise UsageError(
            f"calibration: {experiment.calibration} is not allowed: its examples are "
            f"{_described(other)}, and those of {experiment.dataset} are {_described(task)}"
        )
    if other.vocabulary != task.vocabulary:
        raise UsageError(
            f"calibration: {experiment.calibration} is not allowed: its tokens are not those of "
            f"{experiment.dataset}; give both the same vocabulary, bytes or transformers/NAME"
        )
    return other


def _described(task: Task) -> str:
    return f"{'×'.join(map(str, task.input_shape))} of {task.classes:,} classes"
