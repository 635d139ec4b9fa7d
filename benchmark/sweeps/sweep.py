"""Sweeps: many experiments, each run once, in this process or in several, and resumed at will."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path

from ...errors import UsageError, tell
from ...folders import cache_folder
from ...results import Place, Record, Store, remove_abandoned
from ...results.store import DamagedRecordError
from ..cell import distributed
from ..cell.checkpoint import Checkpoints
from ..cell.pretraining import epochs_missing
from ..cell.progress import SweepBar
from ..cell.record import failed_record
from ..experiment import Experiment
from ..tracking.tracked import Tracker, track
from . import fork_server
from .checking import check
from .executors import Executor, WorkerProcesses, local
from .jobs import Job
from .shards import Shard


def run(
    experiment: Experiment,
    *,
    runs: str | Place = "runs",
    data: str | Path | None = None,
    force: bool = False,
    weights: bool = True,
) -> Record:
    """Run one experiment, unless its record exists already, and return the record.

    Args:
        experiment: what to run.
        runs: the folder of records, or a URL that fsspec knows, such as ``s3://bucket/runs``.
        data: the folder of data sets; by default ``PRUNEBENCH_DATA``, else a cache folder.
        force: run it even if it has a finished record.
        weights: whether to save the pruned weights beside the record.

    Raises:
        UsageError: the data are not to be had, or the target cannot be reached.
    """
    (record,) = sweep(
        [experiment], runs=runs, data=data, force=force, weights=weights, progress=False
    )
    return record


def sweep(
    experiments: Iterable[Experiment],
    *,
    runs: str | Place = "runs",
    data: str | Path | None = None,
    workers: int = 1,
    timeout: float | None = None,
    memory_limit: int | None = None,
    force: bool = False,
    weights: bool = True,
    checkpoint_minutes: float = 10.0,
    stack: int = 1,
    executor: Executor | None = None,
    shard: str | None = None,
    trackers: Sequence[Tracker] = (),
    progress: bool = True,
) -> list[Record]:
    """Run the experiments that have no finished record yet, and return the records of all.

    Each record is saved as soon as its experiment ends, so that after an interruption the same
    call goes on where it stopped. A failed experiment has a record that says why; it is tried
    again by the next sweep. With ``force``, an experiment that fails although it was finished once
    is returned as failed, and its finished record stays. A damaged record is set aside under
    another name, and its experiment run again.

    Args:
        experiments: what to run; one that occurs twice is run once.
        runs: the folder of records, or a URL that fsspec knows, such as ``s3://bucket/runs``.
        data: the folder of data sets; by default ``PRUNEBENCH_DATA``, else a cache folder.
        workers: processes that run experiments, each with its experiment's threads; 1 stays in
            this process.
        timeout: seconds after which an experiment fails. With this or a ``memory_limit``, one
            worker is a process too, which can be stopped.
        memory_limit: bytes of memory that a worker may hold; the experiment with which it holds
            more fails. Linux alone tells how much that is.
        force: run all of them, finished or not.
        weights: whether to save the pruned weights beside each record.
        checkpoint_minutes: time between two checkpoints of a training, from which it goes on after
            an interruption; 0 makes none.
        stack: how many networks of one shape may train together in a process, where that is at
            least 1.3 times as fast as one after the other. Their results agree with those of
            separate trainings up to rounding, records say it, and nothing of it is checkpointed.
        executor: what runs experiments, such as a ``RayCluster``; it says itself what ``workers``,
            ``timeout``, ``memory_limit`` and ``stack`` say otherwise, which are then refused.
        shard: which part of the experiments to run, such as ``3/16`` for the third of sixteen
            (:mod:`prunebench.benchmark.sweeps.shards`); by default all.
        trackers: are told of each experiment that is run, when its record has been saved.
        progress: whether to show a progress bar.

    Raises:
        UsageError: data are not to be had, a target cannot be reached, an option does not go with
            the executor, or this system does not say what memory a process holds; nothing was run.
    """
    executor = _chosen(executor, workers, timeout, memory_limit, stack)
    experiments = list(experiments) if shard is None else Shard.parse(shard).of(experiments)
    distinct = list({experiment.id: experiment for experiment in experiments}.values())
    store, folder = Store(runs), data_folder(data)
    done = _prepared(distinct, store)
    waiting = [each for each in distinct if force or each.id not in done]
    _make_ready(store, waiting, done)
    if isinstance(executor, WorkerProcesses) and waiting:
        fork_server.start(experiment.device for experiment in waiting)
    failures = _failing(store, waiting, folder, executor)
    waiting = [experiment for experiment in waiting if experiment.id not in failures]
    seconds = 60 * checkpoint_minutes or None
    jobs = [Job(each, store.place, folder, weights, seconds, force) for each in waiting]
    bar = SweepBar(
        cells=len(distinct),
        finished=len(distinct) - len(waiting) - len(failures),
        epochs=epochs_to_train(waiting, store.folder),
        hidden=not (progress and distinct) or distributed.rank() > 0,
    )
    with bar, closing(executor.run(jobs, bar)) as records:
        for record in chain(list(failures.values()), records):
            bar.finish(record)
            if distributed.rank() == 0:
                track(record, store, trackers)
            if not record.finished:
                failures[record.id] = record
    # Of what was forced now the result of an earlier sweep may be on the disk.
    known = _read_back(store, distinct, failures if force else done)
    found = (known.get(each.id) for each in experiments)
    return [record for record in found if record]


def _chosen(
    executor: Executor | None,
    workers: int,
    timeout: float | None,
    memory_limit: int | None,
    stack: int,
) -> Executor:
    """The executor that is given, else one on this machine, of which the others tell."""
    if executor is None:
        return local(workers, timeout, memory_limit, stack)
    own = (("workers", workers, 1), ("timeout", timeout, None))
    for name, value, default in (*own, ("memory_limit", memory_limit, None), ("stack", stack, 1)):
        if value != default:
            raise UsageError(
                f"{name}: {value} is not allowed with an executor: {type(executor).__name__} says "
                "itself how it runs experiments"
            )
    return executor


def _prepared(experiments: Iterable[Experiment], store: Store) -> dict[str, Record]:
    """The records of those that are finished, by id, in a folder that is ready for the others."""
    if store.folder.exists() and not store.folder.is_dir():
        raise UsageError(f"records cannot be kept in {store.folder}, which is a file")
    identities = [each.id for each in experiments]
    if distributed.rank() == 0:
        store.send_kept()
        done = _finished(identities, store)
    distributed.barrier()
    if distributed.rank() > 0:
        done = _finished(identities, store)
    distributed.barrier()  # until none of the processes looks any more
    return done


def _make_ready(store: Store, waiting: Sequence[Experiment], done: Mapping[str, Record]) -> None:
    """Make sure that records can be written, and that nothing is in the way of those to come."""
    for experiment in waiting:
        store.refuse_links(experiment.id)
    if distributed.rank() == 0:
        if waiting:
            store.require_writable()
        _tidy(done.keys() - {each.id for each in waiting}, store.folder)


def _failing(
    store: Store, waiting: Sequence[Experiment], data: Path, executor: Executor
) -> dict[str, Record]:
    """The records, which are saved, of experiments of which it is known that they fail; by id."""
    broken = check(waiting, data, elsewhere=executor.elsewhere)
    failures = {id_: failed_record(*fault) for id_, fault in broken.items()}
    if distributed.rank() == 0:
        for failure in failures.values():
            store.save(failure)
    return failures


def _read_back(
    store: Store, experiments: Sequence[Experiment], known: Mapping[str, Record]
) -> dict[str, Record]:
    """The records by id: those that are known, and of the others what is on the disk."""
    if distributed.rank() == 0:
        store.send_kept()
    saved = store.several([each.id for each in experiments if each.id not in known])
    return {**known, **{record.id: record for record in saved}}


def _finished(identities: Sequence[str], store: Store) -> dict[str, Record]:
    """The finished records, each read once; what is damaged gets another name."""
    damaged: list[str] = []

    def note(identity: str, error: UsageError) -> None:
        if not isinstance(error, DamagedRecordError):
            raise error
        damaged.append(identity)

    found = list(store.several(identities, note))
    for identity in damaged:
        for path in store.set_aside(identity):
            tell(f"{path} is damaged: it is kept under another name, and the cell is run again")
    found += store.several(damaged)
    return {record.id: record for record in found if record.finished}


def _tidy(finished: Iterable[str], folder: Path) -> None:
    """Delete what processes that were killed had no use for any more, or will have none."""
    remove_abandoned(folder)
    for identity in finished:
        Checkpoints(folder, identity, None).remove()


def unfinished(experiments: Iterable[Experiment], store: Store) -> list[Experiment]:
    """Those of ``experiments`` that have no finished record in ``store``."""
    waiting = list(experiments)
    finished = store.finished([experiment.id for experiment in waiting])
    return [experiment for experiment in waiting if experiment.id not in finished]


def epochs_to_train(experiments: Sequence[Experiment], folder: Path) -> int:
    """How many epochs all experiments train, their dense networks included."""
    return epochs_missing(experiments, folder) + sum(map(epochs_of_cell, experiments))


def epochs_of_cell(experiment: Experiment) -> int:
    """How many epochs an experiment trains after pruning, in all of its rounds."""
    recovery = experiment.recovery.create()
    if not recovery.trains:
        return 0
    trainings = 1 if experiment.timing.create().within_training else experiment.rounds
    rewound = recovery.schedule_epoch
    return trainings * (
        experiment.finetuning.epochs if rewound is None else experiment.pretraining.epochs - rewound
    )


def data_folder(chosen: str | Path | None) -> Path:
    """The folder of data sets: the one chosen, else ``PRUNEBENCH_DATA``, else a cache folder."""
    if chosen is None:
        chosen = os.environ.get("PRUNEBENCH_DATA") or cache_folder()
    return Path(chosen).expanduser()
