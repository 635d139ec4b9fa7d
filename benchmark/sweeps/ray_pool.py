"""Tasks on Ray. All that is said to Ray is said here."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import ray
import torch
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ...errors import UsageError, message_of, tell
from ...metrics import keep_memory
from ...results import Record
from ..cell.interrupts import held_back
from ..cell.progress import listen
from .jobs import Job, Stack
from .shipping import Files, Left, Luggage, dense_files, keep, perform
from .tally import Tally
from .tasks import Ended, Task

_MOST_SUBMITTED = 256
"""So many tasks are given to Ray at once. It may have places for fewer: then no node waits for what
comes next, and a cluster that grows by demand sees that there is some."""

_SECONDS_BETWEEN_NEWS = 0.5


@contextmanager
def connected(address: str | None, cores: int | None) -> Iterator[None]:
    """Connected to Ray inside the block; if the program was before, it stays so.

    Args:
        address: of a cluster; None starts Ray on this machine.
        cores: how many it is to have, where it is started.

    Raises:
        UsageError: there is no cluster at the address.
    """
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address is None:
        options |= {"num_cpus": cores, "include_dashboard": False}
    try:
        try:
            with held_back():  # Ray does not end what it has started before all is there
                ray.init(address or "local", **options)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise UsageError(f"address: {address!r} is not allowed: {message_of(error)}") from None
        yield
    finally:
        ray.shutdown()


@dataclass(frozen=True)
class Needs:
    """What a task is given of a node.

    Attributes:
        cpus: cores; None is as many as the experiment has threads.
        gpus: GPUs; None is one where the experiment's device is a GPU.
    """

    cpus: float | None = None
    gpus: float | None = None

    def of(self, job: Job) -> dict[str, float]:
        """What the task of a job is given, in Ray's words."""
        cpus, gpus = float(job.experiment.threads), float(job.experiment.device == "cuda")
        return {
            "CPU": cpus if self.cpus is None else self.cpus,
            "GPU": gpus if self.gpus is None else self.gpus,
        }


@dataclass
class _Submitted:
    """A task that Ray has, and how far it is."""

    task: Task
    number: int
    network: str
    epochs: float = 0.0
    deadline: float = float("inf")
    late: bool = False


class RayPool:
    """Processes of Ray's, on whichever nodes. They are a :class:`.tasks.Pool`.

    Args:
        jobs: all that will be run.
        luggage: what all of them need.
        needs: what each of them is given.
        retries: how often a task is begun again whose worker or node is lost.
    """

    def __init__(self, jobs: Sequence[Job], luggage: Luggage, needs: Needs, retries: int) -> None:
        self._needs, self._retries = needs, retries
        self._luggage = ray.put(luggage)
        self._dense: dict[str, Any] = {}
        self._submitted: dict[Any, _Submitted] = {}
        self._count, self._trained, self._asked = 0, 0.0, 0.0
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        kind = ray.remote(num_cpus=0, max_restarts=-1, scheduling_strategy=here)(Tally)
        self._tally = kind.remote()
        self._perform = ray.remote(_perform)
        most = max(jobs, key=lambda job: job.experiment.threads)
        self.places = max(1, _places(needs.of(most)))

    @property
    def busy(self) -> bool:
        """Whether Ray has any task."""
        return bool(self._submitted)

    @property
    def trained(self) -> float:
        """How many epochs all tasks have trained, less those of tries that were lost."""
        return self._trained + sum(each.epochs for each in self._submitted.values())

    def work(self, tasks: deque[Task], seconds: float) -> list[Ended]:
        """Submit the first of ``tasks``, and wait for news for so many seconds at most."""
        while tasks and len(self._submitted) < _MOST_SUBMITTED:
            self._submit(tasks.popleft())
        references = list(self._submitted)
        if ended := ray.wait(references, timeout=seconds)[0]:
            ended = ray.wait(references, num_returns=len(references), timeout=0)[0]
        self._ask()
        return [self._ended(each) for each in ended]

    def close(self) -> None:
        """End all that is being done, at once."""
        for each in self._submitted:
            with suppress(RayError):
                ray.cancel(each, force=True)
        ray.kill(self._tally)

    def _submit(self, task: Task) -> None:
        first = task.jobs[0]
        network = first.experiment.pretraining_id
        if network not in self._dense:
            self._dense[network] = ray.put(dense_files(first))
        needs = self._needs.of(first)
        # Of several jobs that ran together and were lost each is tried alone.
        retries = self._retries if len(task.jobs) == 1 else 0
        function = self._perform.options(
            num_cpus=needs["CPU"], num_gpus=needs["GPU"], max_retries=retries
        )
        self._count += 1
        reference = function.remote(
            self._count,
            self._tally,
            task.function,
            [job.plain() for job in task.jobs],
            self._luggage,
            self._dense[network],
        )
        self._submitted[reference] = _Submitted(task, self._count, network)

    def _ask(self) -> None:
        """Ask how far all are, and end those that have run for too long."""
        now = time.monotonic()
        if now - self._asked < _SECONDS_BETWEEN_NEWS:
            return
        self._asked = now
        news: dict[int, float] = {}
        with suppress(RayError):  # it is being started, or started again
            news = ray.get(self._tally.news.remote(), timeout=_SECONDS_BETWEEN_NEWS)
        for reference, each in self._submitted.items():
            if each.number in news:
                each.epochs = news[each.number]
                if each.task.timeout is not None:
                    each.deadline = min(each.deadline, now + each.task.timeout)
            if now > each.deadline and not each.late:
                each.late = True
                ray.cancel(reference, force=True)

    def _ended(self, reference: Any) -> Ended:
        """What a task has come to, of which is kept here what it has left."""
        this = self._submitted.pop(reference)
        if all(each.network != this.network for each in self._submitted.values()):
            self._dense.pop(this.network, None)  # it is read again if there is more to do with it
        try:
            left, wrong, epochs = ray.get(reference)
        except RayError as error:
            self._trained += this.epochs
            return Ended(this.task, error=self._reason(this, error))
        self._trained += epochs
        if left is None:
            return Ended(this.task, error=ChildProcessError(wrong))
        if left.dense:
            self._dense.pop(this.network, None)  # there is more of it now
        return Ended(this.task, keep(left, this.task.jobs))

    def _reason(self, this: _Submitted, error: RayError) -> Exception:
        if this.late:
            return TimeoutError(f"not finished after {this.task.timeout:g} seconds")
        if isinstance(error, RayTaskError):
            return ChildProcessError(f"{type(error.cause).__name__}: {message_of(error.cause)}")
        tries = self._retries + 1 if len(this.task.jobs) == 1 else 1
        reason = message_of(error).strip().partition("\n")[0]
        return ChildProcessError(
            f"its worker was lost in {tries} of {tries} tries: {type(error).__name__}: {reason}"
        )


def _places(needs: dict[str, float]) -> int:
    """How many tasks with such needs all nodes together can do at once."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    places = sum(
        min(int(node.get(kind, 0) / amount) for kind, amount in needs.items() if amount)
        for node in nodes
    )
    if not places:
        wanted = " and ".join(f"{amount:g} {kind}" for kind, amount in needs.items() if amount)
        tell(f"a cell needs {wanted}, which no node of the cluster has: it waits for one that has")
    return places


def _perform(
    number: int,
    tally: Any,
    function: Callable[[Stack], Sequence[Record]],
    jobs: Sequence[tuple[Any, ...]],
    luggage: Luggage,
    dense: Files,
) -> tuple[Left | None, str, float]:
    """What a process of Ray's does: a task, which tells the tally how far it is.

    Returns:
        What it leaves, else None and what went wrong; and how many epochs it has trained.
    """
    epochs, told = 0.0, time.monotonic()

    def listener(more: float) -> None:
        nonlocal epochs, told
        epochs += more
        if time.monotonic() - told > _SECONDS_BETWEEN_NEWS:
            told = time.monotonic()
            tally.tell.remote(number, epochs)

    tally.tell.remote(number, epochs)
    keep_memory()
    torch.set_num_threads(1)
    listen(listener)
    try:
        return perform(function, jobs, luggage, dense), "", epochs
    except BaseException as error:  # a user's code may raise anything, SystemExit too
        return None, f"{type(error).__name__}: {message_of(error)}", epochs
    finally:
        listen(None)
