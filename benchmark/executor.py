"""Executors: where jobs run. A job that dies takes nothing with it but its own cell."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, TimeoutError, wait
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import torch
from pebble import ProcessExpired, ProcessPool

from ..metrics import keep_memory
from ..results import Record, Store
from ..results.naming import shown
from .experiment import Experiment
from .loop import failed, load_task, run_cell, threads
from .pretraining import Pretrained
from .progress import Listener, listen

Results = Generator["Record | str", None, None]
"""Records as they are finished, and in between texts that say what is going on."""

_LISTENING_SECONDS = 0.5
_SLOTS = 1024


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
        for job in jobs:
            yield shown(str(job.experiment.strategy))
            yield job.run()
    finally:
        listen(None)


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
    context = multiprocessing.get_context("spawn")
    numbers, told = context.Value("i", 0), 0.0
    # A place for each worker there will be: one number that all of them add to would need a lock,
    # which a worker that is killed might keep.
    trained = context.RawArray("d", _SLOTS)
    pool = ProcessPool(
        max_workers=workers,
        initializer=_become_worker,
        initargs=[numbers, trained],
        context=context,
    )
    waiting: dict[str, list[Job]] = {}
    for job in jobs:
        waiting.setdefault(job.experiment.pretraining_id, []).append(job)
    networks = {
        pool.schedule(_pretrain, args=_plain(same[0])): identity
        for identity, same in waiting.items()
    }
    running: dict[Any, Job] = {}
    try:
        while networks or running:
            if networks:
                yield f"dense networks to train: {len(networks)}"
            done: set[Any] = set()
            while not done:
                every = [*networks, *running]
                done, _ = wait(every, _LISTENING_SECONDS, return_when=FIRST_COMPLETED)
                now = sum(trained)
                listener(now - told)
                told = now
            for future in done:
                if future in networks:
                    # A network that could not be trained fails again, on record, in each job.
                    for job in waiting.pop(networks.pop(future)):
                        running[pool.schedule(_run, args=_plain(job), timeout=timeout)] = job
                    if not networks:
                        yield "dense networks trained"
                else:
                    yield _record_of(future, running.pop(future), timeout)
    finally:
        pool.stop()
        pool.join()


def _record_of(future: Any, job: Job, timeout: float | None) -> Record:
    """The record that a job left, or else one that says why it left none."""
    store = Store(job.runs)
    error = future.exception()
    if isinstance(error, TimeoutError):
        error = TimeoutError(f"not finished after {timeout:g} seconds")
    elif isinstance(error, ProcessExpired):
        code = error.exitcode
        by = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        error = ChildProcessError(f"the worker process ended with {by}")
    if error is not None:
        store.save(failed(job.experiment, error))
    record = store.load(job.experiment.id)
    assert record is not None  # one of the two was saved
    return record


def _plain(job: Job) -> tuple[Any, ...]:
    """A job as data that another process can read before it has loaded the user's files."""
    settings = job.experiment.model_dump(mode="json")
    return settings, job.runs, job.data, job.weights, job.checkpoint_seconds


def _run(settings: dict[str, Any], *options: Any) -> None:
    Job(Experiment(**settings), *options).run()


def _pretrain(settings: dict[str, Any], *options: Any) -> None:
    Job(Experiment(**settings), *options).pretrain()


def _become_worker(numbers: Any, trained: Any) -> None:
    """Leave Ctrl-C to the parent, start with one thread, and end when the parent ends.

    Where there are several GPUs, workers take them in turn, so that each has a cell of its own.

    Args:
        numbers: how many workers there have been, shared by all.
        trained: how many epochs each of them has trained.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    keep_memory()
    with numbers.get_lock():
        number = numbers.value
        numbers.value += 1

    def listener(epochs: float) -> None:
        trained[number % _SLOTS] += epochs

    listen(listener)
    if (gpus := torch.cuda.device_count()) > 1:
        torch.cuda.set_device(number % gpus)
    parent = multiprocessing.parent_process()
    assert parent is not None  # a worker is always started by another process

    def end_with_parent() -> None:
        parent.join()
        os._exit(1)

    Thread(target=end_with_parent, daemon=True).start()
