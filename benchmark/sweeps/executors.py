"""Executors: where jobs run. A job that dies takes nothing with it but its own cell."""

from __future__ import annotations

import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, Protocol

from ...metrics import keep_memory
from ...results import Record, Store
from ...results.naming import shown
from ..cell.progress import Watcher, listen
from ..cell.record import failed_record
from .jobs import Job, job_of
from .workers import Ended, Task, Workers

Records = Generator[Record, None, None]
"""Records as they are made; closing it ends what is being run."""

_LISTENING_SECONDS = 0.5


class Executor(Protocol):
    """Something that runs jobs."""

    def run(self, jobs: Sequence[Job], watcher: Watcher) -> Records:
        """Run jobs and give their records, which are saved.

        Args:
            jobs: what to run.
            watcher: is told what is going on.
        """


@dataclass(frozen=True)
class ThisProcess:
    """Runs jobs one after the other, where it is."""

    def run(self, jobs: Sequence[Job], watcher: Watcher) -> Records:
        """See :class:`Executor`."""
        keep_memory()
        listen(watcher.train)
        try:
            with _no_interrupt_lost() as raise_interrupt:
                for job in jobs:
                    watcher.describe(shown(str(job.experiment.strategy)))
                    yield job.run()
                    raise_interrupt()
        finally:
            listen(None)


@dataclass(frozen=True)
class WorkerProcesses:
    """Runs jobs in processes that live as long as there are some.

    The dense networks are trained first, each once, and a job starts as soon as its own is there.

    Attributes:
        workers: number of processes, started afresh ("spawn"), so that they are all alike.
        timeout: seconds after which a job is stopped and fails.
    """

    workers: int
    timeout: float | None = None

    def run(self, jobs: Sequence[Job], watcher: Watcher) -> Records:
        """See :class:`Executor`."""
        waiting: dict[str, list[Job]] = {}
        for job in jobs:
            waiting.setdefault(job.experiment.pretraining_id, []).append(job)
        tasks = deque(Task(_pretrain, same[0].plain()) for same in waiting.values())
        by_id = {job.experiment.id: job for job in jobs}
        pool = Workers(min(self.workers, len(jobs)))
        try:
            while tasks or pool.busy:
                if waiting:
                    watcher.describe(f"dense networks to train: {len(waiting)}")
                for ended in _ended(pool, tasks, watcher):
                    job = by_id[ended.task.arguments[0]]
                    if ended.task.function is _run:
                        yield _record_of(job, ended.error)
                        continue
                    # A network that could not be trained fails again, on record, in each job.
                    same = waiting.pop(job.experiment.pretraining_id)
                    tasks.extend(Task(_run, each.plain(), self.timeout) for each in same)
                    if not waiting:
                        watcher.describe("dense networks trained")
        finally:
            pool.close()


def _ended(pool: Workers, tasks: deque[Task], watcher: Watcher) -> list[Ended]:
    """Wait until some task has ended, and tell meanwhile how much is trained."""
    while True:
        before = pool.trained
        done = pool.work(tasks, _LISTENING_SECONDS)
        watcher.train(pool.trained - before)
        if done:
            return done


def _record_of(job: Job, error: Exception | None) -> Record:
    """The record that a job left, or else one that says why it left none."""
    store = Store(job.runs)
    record = store.load(job.experiment.id)
    if error is None and record is not None:
        return record
    if error is None:
        error = FileNotFoundError("the record is gone")
    failure = failed_record(job.experiment, error)
    store.save(failure)
    return failure


def _run(*data: Any) -> None:
    job_of(*data).run()


def _pretrain(*data: Any) -> None:
    job_of(*data).pretrain()


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
