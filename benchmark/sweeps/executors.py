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
from . import fork_server
from .jobs import Job, Stack, job_of, run_stack, stacks
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
    """Runs jobs one after the other, where it is.

    Attributes:
        stack: how many networks of one shape may train together.
    """

    stack: int = 1

    def run(self, jobs: Sequence[Job], watcher: Watcher) -> Records:
        """See :class:`Executor`."""
        keep_memory()
        listen(watcher.train)
        try:
            with _no_interrupt_lost() as raise_interrupt:
                for stack in stacks(jobs, self.stack):
                    watcher.describe(_strategies(stack))
                    yield from run_stack(stack)
                    raise_interrupt()
        finally:
            listen(None)


@dataclass(frozen=True)
class WorkerProcesses:
    """Runs jobs in processes that live as long as there are some.

    The dense networks are trained first, each once, and a job starts as soon as its own is there.

    Attributes:
        workers: number of processes.
        timeout: seconds after which a job is stopped and fails; a stack has as many times that as
            it has jobs.
        stack: how many networks of one shape may train together in a process.
    """

    workers: int
    timeout: float | None = None
    stack: int = 1

    def run(self, jobs: Sequence[Job], watcher: Watcher) -> Records:
        """See :class:`Executor`."""
        waiting: dict[str, list[Job]] = {}
        for job in jobs:
            waiting.setdefault(job.experiment.pretraining_id, []).append(job)
        tasks = deque(Task(_pretrain, (same[0].plain(),)) for same in waiting.values())
        # No worker is to be idle because others have all there is in their stacks.
        most = min(self.stack, -(-len(jobs) // self.workers))
        by_id = {job.experiment.id: job for job in jobs}
        method = fork_server.start(job.experiment.device for job in jobs)
        pool = Workers(min(self.workers, len(jobs)), method)
        try:
            while tasks or pool.busy:
                if waiting:
                    watcher.describe(f"dense networks to train: {len(waiting)}")
                for ended in _ended(pool, tasks, watcher):
                    ran = [by_id[identity] for identity, *_ in ended.task.arguments]
                    if ended.task.function is _run:
                        if ended.error is None or len(ran) == 1:
                            yield from (_record_of(job, ended.error) for job in ran)
                        else:  # one of them may have done it: each has a process to itself now
                            tasks.extend(self._tasks(ran, 1))
                        continue
                    # A network that could not be trained fails again, on record, in each job.
                    same = waiting.pop(ran[0].experiment.pretraining_id)
                    tasks.extend(self._tasks(same, most))
                    if not waiting:
                        watcher.describe("dense networks trained")
        finally:
            pool.close()

    def _tasks(self, jobs: Sequence[Job], most: int) -> Iterator[Task]:
        for stack in stacks(jobs, most):
            seconds = None if self.timeout is None else self.timeout * len(stack)
            yield Task(_run, tuple(job.plain() for job in stack), seconds)


def _strategies(stack: Stack) -> str:
    """What a stack runs, in a word or a few."""
    first, *others = dict.fromkeys(shown(str(job.experiment.strategy)) for job in stack)
    return f"{first} and {len(others)} more" if others else first


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


def _run(*jobs: tuple[Any, ...]) -> None:
    run_stack(tuple(job_of(*each) for each in jobs))


def _pretrain(job: tuple[Any, ...]) -> None:
    job_of(*job).pretrain()


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
