"""Executors: where jobs run. A job that dies takes nothing with it but its own cell."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from ...errors import UsageError, lacking
from ...metrics import keep_memory
from ...results.naming import shown
from ..cell.interrupts import heard, raise_interrupt
from ..cell.progress import Watcher, listen
from . import fork_server
from .jobs import Job, Stack, run_stack, stacks
from .memory import require_known
from .scheduling import Records, run_in
from .shipping import luggage
from .workers import Workers


class Executor(Protocol):
    """Something that runs jobs."""

    @property
    def elsewhere(self) -> bool:
        """Whether that may be on other machines, whose devices are not those that are here."""

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
    elsewhere: ClassVar[bool] = False

    def run(self, jobs: Sequence[Job], watcher: Watcher) -> Records:
        """See :class:`Executor`."""
        keep_memory()
        listen(watcher.train)
        try:
            with heard():
                for stack in stacks(jobs, self.stack):
                    watcher.describe(_strategies(stack))
                    yield from run_stack(stack)
                    raise_interrupt()
        finally:
            listen(None)


@dataclass(frozen=True)
class WorkerProcesses:
    """Runs jobs in processes that live as long as there are some.

    Attributes:
        workers: number of processes.
        timeout: seconds after which a job is stopped and fails; a stack has as many times that as
            it has jobs.
        memory: bytes that a process may hold; the job with which it holds more is stopped and
            fails.
        stack: how many networks of one shape may train together in a process.
    """

    workers: int
    timeout: float | None = None
    memory: int | None = None
    stack: int = 1
    elsewhere: ClassVar[bool] = False

    def run(self, jobs: Sequence[Job], watcher: Watcher) -> Records:
        """See :class:`Executor`."""
        if not jobs:
            return
        method = fork_server.start(job.experiment.device for job in jobs)
        pool = Workers(min(self.workers, len(jobs)), method, self.memory)
        yield from run_in(pool, jobs, watcher, self.stack, self.timeout)


def local(
    workers: int = 1, timeout: float | None = None, memory_limit: int | None = None, stack: int = 1
) -> ThisProcess | WorkerProcesses:
    """What runs jobs on this machine: this process, unless there are to be several, or limits.

    Raises:
        UsageError: this system does not say what memory a process holds.
    """
    if memory_limit is not None:
        require_known("memory_limit")
    if not fork_server.needed(workers, timeout, memory_limit):
        return ThisProcess(stack)
    return WorkerProcesses(workers, timeout, memory_limit, stack)


@dataclass(frozen=True)
class RayCluster:
    """Runs jobs on Ray: on this machine, or on a cluster, whose nodes need share no folder.

    If the program is connected to Ray already, jobs are run there.

    Attributes:
        address: of the cluster, as ``ray.init`` takes it; None has Ray started on this machine and
            ended with the sweep.
        workers: how many jobs may run at once where Ray is started here; None is as many as there
            are cores for.
        cpus: cores of a job, or a part of one; None is as many as the experiment has threads.
        gpus: GPUs of a job, or a part of one; None is one where the experiment's device is a GPU.
        retries: how often a job is begun again whose worker or node is lost, before it fails.
        timeout: seconds after which a job is stopped and fails; a stack has as many times that as
            it has jobs.
        stack: how many networks of one shape may train together in a process.
        shared_folder: a folder that all nodes see, in which trainings save themselves; None makes
            no checkpoints, unless Ray is on this machine alone.

    Raises:
        UsageError: Ray is not installed.
    """

    address: str | None = None
    workers: int | None = None
    cpus: float | None = None
    gpus: float | None = None
    retries: int = 2
    timeout: float | None = None
    stack: int = 1
    shared_folder: Path | None = None

    def __post_init__(self) -> None:
        if missing := lacking("ray", "ray"):
            raise UsageError(f"executor ray: {missing}")

    @property
    def elsewhere(self) -> bool:
        """See :class:`Executor`."""
        return self.address is not None

    def run(self, jobs: Sequence[Job], watcher: Watcher) -> Records:
        """See :class:`Executor`."""
        if not jobs:
            return
        from .ray_pool import Needs, RayPool, connected

        needs = self.cpus or max(job.experiment.threads for job in jobs)
        cores = needs * self.workers if self.workers else max(needs, os.cpu_count() or 1)
        with connected(self.address, math.ceil(cores)):
            folder = self.shared_folder or (None if self.elsewhere else jobs[0].store.folder)
            pool = RayPool(
                jobs,
                luggage(jobs, folder),
                Needs(self.cpus, self.gpus),
                self.retries,
            )
            yield from run_in(pool, jobs, watcher, self.stack, self.timeout)


def _strategies(stack: Stack) -> str:
    """What a stack runs, in a word or a few."""
    first, *others = dict.fromkeys(shown(str(job.experiment.strategy)) for job in stack)
    return f"{first} and {len(others)} more" if others else first
