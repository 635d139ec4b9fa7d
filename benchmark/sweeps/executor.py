"""Executors: where jobs run. A job that dies takes nothing with it but its own cell."""

from __future__ import annotations

import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from ...errors import UsageError
from ...metrics import keep_memory
from ...results import Record, Store
from ...results.naming import shown
from ..cell.loop import failed, load_task, run_cell, threads
from ..cell.pretraining import Pretrained
from ..cell.progress import Listener, listen
from ..experiment import Experiment
from .workers import Ended, Task, Workers

Results = Generator["Record | str", None, None]
"""Records as they are finished, and in between texts that say what is going on."""

_LISTENING_SECONDS = 0.5


@dataclass(frozen=True)
class Job:
    """An experiment, and where its record and its data are.

    Attributes:
        experiment: what to run.
        runs: the folder of records.
        data: the folder of data sets.
        weights: whether to save the pruned weights.
        checkpoint_seconds: time between two checkpoints of a training; None makes none.
    """

    experiment: Experiment
    runs: Path
    data: Path
    weights: bool
    checkpoint_seconds: float | None = None

    def run(self) -> Record:
        """Run the experiment and save its record."""
        return run_cell(
            self.experiment,
            Store(self.runs),
            self.data,
            weights=self.weights,
            checkpoint_seconds=self.checkpoint_seconds,
        )

    def pretrain(self) -> None:
        """Train the experiment's dense network, unless that has been done."""
        with threads(self.experiment.threads):
            task = load_task(self.experiment.dataset, self.data, self.experiment.device)
            Pretrained(self.experiment, task, self.runs, self.checkpoint_seconds).report()


def in_this_process(jobs: Sequence[Job], listener: Listener) -> Results:
    """Run the jobs one after the other; ``listener`` is told what is trained."""
    keep_memory()
    listen(listener)
    try:
        with _no_interrupt_lost() as raise_interrupt:
            for job in jobs:
                yield shown(str(job.experiment.strategy))
                yield job.run()
                raise_interrupt()
    finally:
        listen(None)


@contextmanager
def _no_interrupt_lost() -> Iterator[Callable[[], None]]:
    """Within it Ctrl-C is remembered; what it gives raises the one that came.

    Python drops the exception where it meets the end of an object or a call from a library, and the
    sweep would go on.
    """
    came = False

    def remember(number: int, frame: FrameType | None) -> None:
        nonlocal came
        came = True
        signal.default_int_handler(number, frame)

    def raise_interrupt() -> None:
        if came:
            raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    is_ours = before is signal.default_int_handler
    if not is_ours or threading.current_thread() is not threading.main_thread():
        yield raise_interrupt
        return
    signal.signal(signal.SIGINT, remember)
    try:
        yield raise_interrupt
    finally:
        signal.signal(signal.SIGINT, before)


def in_processes(
    jobs: Sequence[Job], listener: Listener, workers: int, timeout: float | None = None
) -> Results:
    """Run the jobs in ``workers`` processes that live as long as this generator.

    The dense networks are trained first, each once, and a job starts as soon as its own is there.

    Args:
        jobs: what to run.
        listener: is told what is trained in all processes together.
        workers: number of processes, started afresh ("spawn"), so that they are all alike.
        timeout: seconds after which a job is stopped and fails.
    """
    waiting: dict[str, list[Job]] = {}
    for job in jobs:
        waiting.setdefault(job.experiment.pretraining_id, []).append(job)
    tasks = deque(Task(_pretrain, _plain(same[0])) for same in waiting.values())
    by_id, told = {job.experiment.id: job for job in jobs}, 0.0
    pool = Workers(min(workers, len(jobs)))
    try:
        while tasks or pool.busy:
            if waiting:
                yield f"dense networks to train: {len(waiting)}"
            done: list[Ended] = []
            while not done:
                done = pool.work(tasks, _LISTENING_SECONDS)
                listener(pool.trained - told)
                told = pool.trained
            for ended in done:
                job = by_id[ended.task.arguments[0]]
                if ended.task.function is _run:
                    yield _record_of(job, ended.error)
                    continue
                # A network that could not be trained fails again, on record, in each job.
                same = waiting.pop(job.experiment.pretraining_id)
                tasks.extend(Task(_run, _plain(each), timeout) for each in same)
                if not waiting:
                    yield "dense networks trained"
    finally:
        pool.close()


def _record_of(job: Job, error: Exception | None) -> Record:
    """The record that a job left, or else one that says why it left none."""
    store = Store(job.runs)
    record = store.load(job.experiment.id)
    if error is None and record is not None:
        return record
    if error is None:
        error = FileNotFoundError("the record is gone")
    failure = failed(job.experiment, error)
    store.save(failure)
    return failure


def _plain(job: Job) -> tuple[Any, ...]:
    """A job as data that another process can read before it has loaded the user's files."""
    settings = job.experiment.model_dump(mode="json")
    options = job.runs, job.data, job.weights, job.checkpoint_seconds
    return job.experiment.id, settings, *options


def _job(identity: str, settings: dict[str, Any], *options: Any) -> Job:
    """The job of which :func:`_plain` gave the data.

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


def _run(*data: Any) -> None:
    _job(*data).run()


def _pretrain(*data: Any) -> None:
    _job(*data).pretrain()
