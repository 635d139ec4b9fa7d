"""Worker processes: each does one task after another, and may die of it at any moment.

Each has a pipe of its own and shares no lock with any other, so that one that is killed, whenever
and by whom, takes nothing with it but its task.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from threading import Thread
from typing import Any

import torch

from ...errors import UsageError, message_of
from ...metrics import keep_memory
from ..cell.progress import listen
from .jobs import job_of
from .memory import resident_bytes
from .tasks import Ended, Task

_LOOKING_SECONDS = 0.05
_MOST_FALSE_STARTS = 3
"""So many workers in a row may end as they start, before the fault is sought in how they do."""


class Workers:
    """Processes that are all alike: started afresh, or forked from one that has computed nothing.

    They are a :class:`.tasks.Pool`, whose methods these are.

    Args:
        count: how many there are; in the place of one that has died there soon is another.
        method: how multiprocessing starts them.
        memory: bytes that each may hold in memory; one that holds more is stopped, and one that
            keeps more than half of it after a task is replaced, so that the next has its share.
    """

    def __init__(self, count: int, method: str, memory: int | None = None) -> None:
        self._context = multiprocessing.get_context(method)
        self._memory = memory
        # A place for each: one number that all of them add to would need a lock, which a worker
        # that is killed might keep.
        self._trained = self._context.RawArray("d", count)
        self._false_starts = 0
        self._workers: list[_Worker] = []
        for number in range(count):
            self._workers.append(self._started(number))

    @property
    def places(self) -> int:
        """How many there are."""
        return len(self._workers)

    @property
    def busy(self) -> bool:
        """Whether any of them has a task."""
        return any(worker.task is not None for worker in self._workers)

    @property
    def trained(self) -> float:
        """How many epochs all of them have trained."""
        return sum(self._trained)

    def work(self, tasks: deque[Task], seconds: float) -> list[Ended]:
        """Hand out the first of ``tasks`` to those who have none, and wait for news.

        Returns:
            What has ended, after ``seconds`` at the latest.

        Raises:
            UsageError: processes end as soon as they are started.
        """
        for worker in self._workers:
            if worker.ready and worker.task is None and tasks:
                worker.begin(tasks.popleft())
        news = [(worker.connection, worker.process.sentinel) for worker in self._workers]
        # What is allocated in half a second may be more than the machine has.
        seconds = seconds if self._memory is None else min(seconds, _LOOKING_SECONDS)
        wait([source for both in news for source in both], seconds)
        ended = [self._heard(number) for number in range(len(self._workers))]
        return [each for each in ended if each is not None]

    def close(self) -> None:
        """End all of them at once, whatever they do."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()
            worker.connection.close()

    def _heard(self, number: int) -> Ended | None:
        """The task of a worker, if it has ended. A worker that has died is replaced."""
        worker = self._workers[number]
        task = worker.task
        ended: Ended | None = None
        try:
            if worker.connection.poll():
                records, wrong = worker.connection.recv()
                self._false_starts, worker.ready, worker.task = 0, True, None
                if task is not None:  # else it has only said that it is ready
                    error = None if wrong is None else ChildProcessError(wrong)
                    ended = Ended(task, records, error)
                    if self._holds(worker, 0.5):
                        self._replace(number)
                return ended
        except (EOFError, OSError, pickle.UnpicklingError):
            worker.process.kill()  # it is dead, or as good as dead: nothing can be heard of it
            worker.process.join()
        if worker.process.is_alive():
            excess = self._excess(worker)
            if task is None or excess is None:
                return None
            ended = Ended(task, error=excess)
        else:
            end = f"the worker process ended with {_end(worker.process.exitcode)}"
            if task is not None:
                ended = Ended(task, error=ChildProcessError(end))
            if not worker.ready:
                self._count_false_start(end)
        self._replace(number)
        return ended

    def _excess(self, worker: _Worker) -> Exception | None:
        """What a worker's task has more of than it may have."""
        limit = worker.task.timeout if worker.task is not None else None
        if limit is not None and time.monotonic() >= worker.deadline:
            return TimeoutError(f"not finished after {limit:g} seconds")
        if self._memory is not None and self._holds(worker, 1):
            return MemoryError(
                f"its process held more than {self._memory / 1e9:.3g} GB, the limit on memory"
            )
        return None

    def _holds(self, worker: _Worker, part: float) -> bool:
        """Whether a worker holds more than a part of the memory that it may hold."""
        if self._memory is None or worker.process.pid is None:
            return False
        return resident_bytes(worker.process.pid) > part * self._memory

    def _replace(self, number: int) -> None:
        """Put another worker in the place of one, whatever that does."""
        worker = self._workers[number]
        worker.process.kill()
        worker.process.join()
        worker.connection.close()
        self._workers[number] = self._started(number)

    def _started(self, number: int) -> _Worker:
        ours, theirs = self._context.Pipe()
        arguments = (theirs, number, self._trained, dict(os.environ))
        # Every context has it, which the type of all of them does not say.
        process = self._context.Process(target=_serve, args=arguments)  # type: ignore[attr-defined]
        try:
            process.start()
        except (EOFError, ConnectionError):  # what it was to be forked from has been killed
            ours.close()
            self._count_false_start("the process that it was to be forked from ended")
            return self._started(number)
        finally:
            theirs.close()  # so that we hear nothing more when the worker has died
        return _Worker(process, ours)

    def _count_false_start(self, reason: str) -> None:
        self._false_starts += 1
        if self._false_starts == _MOST_FALSE_STARTS:
            raise UsageError(
                f"no worker process can be started: {reason}; in a script, put the calls under "
                "'if __name__ == \"__main__\":', or give one worker"
            )


@dataclass
class _Worker:
    """A process, our end of its pipe, and what it does until when."""

    process: BaseProcess
    connection: Connection
    ready: bool = False
    task: Task | None = None
    deadline: float = 0.0

    def begin(self, task: Task) -> None:
        self.task = task
        self.deadline = time.monotonic() + (task.timeout or 0.0)
        with suppress(OSError):  # it has died meanwhile, which its silence will tell
            self.connection.send((task.function, [job.plain() for job in task.jobs]))


def _end(code: int | None) -> str:
    if code is not None and code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"


def _serve(connection: Connection, number: int, trained: Any, environment: dict[str, str]) -> None:
    """What a worker does: all that it is told through its pipe, until that is closed.

    It leaves Ctrl-C to the parent, starts with one thread, and ends when the parent ends. Where
    there are several GPUs, workers take them in turn, so that each has a cell of its own.

    Args:
        connection: gives functions with their jobs, and takes their records and what went wrong.
        number: which worker this is.
        trained: how many epochs each of them has trained.
        environment: the variables that its parent has now; what it was forked from may be older.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None  # a worker is always started by another process

    def end_with_parent() -> None:
        parent.join()
        os._exit(1)

    Thread(target=end_with_parent, daemon=True).start()
    os.environ.clear()
    os.environ.update(environment)
    torch.set_num_threads(1)
    keep_memory()

    def listener(epochs: float) -> None:
        trained[number] += epochs

    listen(listener)
    if (gpus := torch.cuda.device_count()) > 1:
        torch.cuda.set_device(number % gpus)
    connection.send(((), None))  # ready
    while True:
        try:
            function, jobs = connection.recv()
        except EOFError:
            return
        try:
            records = function(tuple(job_of(*each) for each in jobs))
        except BaseException as error:  # a user's code may raise anything, SystemExit too
            connection.send(((), f"{type(error).__name__}: {message_of(error)}"))
        else:
            connection.send((records, None))
