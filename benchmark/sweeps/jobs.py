"""A job: an experiment, and what another process has to know to run it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ...errors import UsageError, tell
from ...results import Place, Record, Store
from ...results.remote import UnreachableError
from ..cell.loop import Cell, cell, load_task, run_together
from ..cell.pretraining import Pretrained
from ..cell.process import threads
from ..experiment import Experiment


@dataclass(frozen=True)
class Job:
    """An experiment, and where its record and its data are.

    Attributes:
        experiment: what to run.
        runs: where records are.
        data: the folder of data sets.
        weights: whether to save the pruned weights.
        checkpoint_seconds: time between two checkpoints of a training; None makes none.
        forced: whether it is run even if it has been finished, meanwhile or before.
    """

    experiment: Experiment
    runs: Place
    data: Path
    weights: bool
    checkpoint_seconds: float | None = None
    forced: bool = False

    @property
    def store(self) -> Store:
        """The store of its record."""
        return Store(self.runs)

    def cell(self) -> Cell:
        """The experiment's cell, which saves its record when it has been run.

        One that another sweep has finished meanwhile is not run again.
        """
        store = self.store
        if not self.forced and self._is_finished():
            _say_shared(self.runs)
            return _finished(store, self.experiment.id)
        return cell(
            self.experiment,
            store,
            self.data,
            weights=self.weights,
            checkpoint_seconds=self.checkpoint_seconds,
            save=self.save,
        )

    def save(self, record: Record, weights: bytes | None) -> None:
        """Save its record, unless another sweep has a result there and this was not forced."""
        if self.forced:
            self.store.save(record, weights)
        elif self.store.add(record, weights) is None:
            _say_shared(self.runs)

    def _is_finished(self) -> bool:
        """Whether it has a result; of a store that is out of reach just now nothing is known."""
        with suppress(UnreachableError):
            return self.store.is_finished(self.experiment.id)
        return False

    def pretrain(self) -> None:
        """Train the experiment's dense network, unless that has been done."""
        with threads(self.experiment.threads):
            task = load_task(self.experiment.dataset, self.data, self.experiment.device)
            Pretrained(self.experiment, task, self.store.folder, self.checkpoint_seconds).report()

    def plain(self) -> tuple[Any, ...]:
        """The job as data that another process can read before it has loaded the user's files."""
        settings = self.experiment.model_dump(mode="json")
        options = self.runs, self.data, self.weights, self.checkpoint_seconds, self.forced
        return self.experiment.id, settings, *options


def _finished(store: Store, record_id: str) -> Cell:
    """A cell that is finished and wants nothing trained."""
    yield from ()
    record = store.load(record_id)
    assert record is not None  # finished records stay
    return record


@cache
def _say_shared(runs: Place) -> None:
    tell(
        f"another sweep keeps its records in {runs} too: what it has finished is not run again and "
        "stays as it is; --shard would divide the cells between sweeps"
    )


Stack = tuple[Job, ...]
"""Jobs that a process runs side by side, so that their networks may train together."""


def run_stack(stack: Stack) -> list[Record]:
    """Run jobs side by side and give their records, which are saved."""
    return run_together([job.cell() for job in stack], stack[0].experiment.threads)


def stacks(jobs: Sequence[Job], most: int) -> list[Stack]:
    """The jobs in stacks of at most ``most``, those that differ in strategy and target alone.

    They are in the order of the first of each.
    """
    alike: dict[tuple[str, str], list[Job]] = {}
    for job in jobs:
        kind = job.experiment.pretraining_id, job.experiment.comparison
        alike.setdefault(kind, []).append(job)
    return [
        tuple(same[start : start + most])
        for same in alike.values()
        for start in range(0, len(same), most)
    ]


def job_of(identity: str, settings: dict[str, Any], *options: Any) -> Job:
    """The job of which :meth:`Job.plain` gave the data.

    Raises:
        UsageError: it would be another one, since a user's file has been changed.
    """
    experiment = Experiment(**settings)
    if experiment.id != identity:
        raise UsageError(
            f"a file of {experiment.strategy} on {experiment.model} and {experiment.dataset} has "
            "changed since the sweep began: start it again"
        )
    return Job(experiment, *options)
