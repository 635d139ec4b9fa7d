"""Sweeps: many experiments, each run once, in this process or in several, and resumed at will."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

from torch import cuda
from torch.backends import mps

from ..datasets import cache_folder
from ..errors import UsageError
from ..results import Record, Store
from ..strategies import try_shrinking
from . import distributed
from .executor import Job, in_processes, in_this_process
from .experiment import Experiment
from .loop import load_task, threads
from .pretraining import build, epochs_missing
from .progress import SweepBar
from .target import target_of


def run(
    experiment: Experiment,
    *,
    runs: str | Path = "runs",
    data: str | Path | None = None,
    force: bool = False,
    weights: bool = True,
) -> Record:
    """Run one experiment, unless its record exists already, and return the record.

    Args:
        experiment: what to run.
        runs: the folder of records.
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
    runs: str | Path = "runs",
    data: str | Path | None = None,
    workers: int = 1,
    timeout: float | None = None,
    force: bool = False,
    weights: bool = True,
    checkpoint_minutes: float = 10.0,
    progress: bool = True,
) -> list[Record]:
    """Run the experiments that have no finished record yet, and return the records of all.

    Each record is saved as soon as its experiment ends, so that after an interruption the same
    call goes on where it stopped. A failed experiment has a record that says why; it is tried
    again by the next sweep.

    Args:
        experiments: what to run; one that occurs twice is run once.
        runs: the folder of records.
        data: the folder of data sets; by default ``PRUNEBENCH_DATA``, else a cache folder.
        workers: processes that run experiments, each with its experiment's threads; 1 stays in
            this process.
        timeout: seconds after which an experiment fails; needs at least two workers.
        force: run all of them, finished or not.
        weights: whether to save the pruned weights beside each record.
        checkpoint_minutes: time between two checkpoints of a training, from which it goes on after
            an interruption; 0 makes none.
        progress: whether to show a progress bar.

    Raises:
        UsageError: data are not to be had, or a target cannot be reached; nothing was run.
    """
    experiments = list(experiments)
    distinct = list({experiment.id: experiment for experiment in experiments}.values())
    store, folder = Store(runs), data_folder(data)
    if store.folder.exists() and not store.folder.is_dir():
        raise UsageError(f"records cannot be kept in {store.folder}, which is a file")
    waiting = distinct if force else unfinished(distinct, store)
    distributed.wait()  # until none of the processes looks any more
    check(waiting, folder)
    seconds = 60 * checkpoint_minutes or None
    jobs = [Job(experiment, store.folder, folder, weights, seconds) for experiment in waiting]
    bar = SweepBar(
        cells=len(distinct),
        finished=len(distinct) - len(waiting),
        epochs=epochs_to_train(waiting, store.folder),
        hidden=not progress or distributed.number() > 0,
    )
    with bar:
        if workers == 1:
            results = in_this_process(jobs, bar.train)
        else:
            results = in_processes(jobs, bar.train, workers, timeout)
        with closing(results):
            for result in results:
                if isinstance(result, str):
                    bar.describe(result)
                else:
                    bar.finish(result)
    # Read back rather than remembered: what is returned is what is on the disk.
    return [record for record in map(store.load, (e.id for e in experiments)) if record]


def unfinished(experiments: Iterable[Experiment], store: Store) -> list[Experiment]:
    """Those of ``experiments`` that have no finished record in ``store``."""
    return [experiment for experiment in experiments if not store.is_finished(experiment.id)]


def check(experiments: Sequence[Experiment], data: Path) -> None:
    """Make sure, before anything is run, that data are there, and targets and metrics fit them.

    Where channels are to be removed, it is tried whether the network can be shrunk.

    Raises:
        UsageError: the first thing that is wrong.
    """
    checked: set[tuple[object, ...]] = set()
    shrinkable: set[tuple[object, ...]] = set()
    for experiment in experiments:
        if not _is_there(experiment.device):
            raise UsageError(
                f"device: {experiment.device!r} is not allowed: there is none here; give cpu, or "
                "auto for the best there is"
            )
        parts = (experiment.dataset, experiment.model, experiment.strategy)
        more = (*experiment.target, experiment.prune_classifier, *map(str, experiment.metrics))
        key = (*map(str, parts), *more)
        if key not in checked:
            checked.add(key)
            with threads(experiment.threads):
                task = load_task(experiment.dataset, data)
                model = build(experiment, task)
                strategy = experiment.strategy.create()
                target_of(experiment, strategy, model, task.inputs(1))
                if strategy.couples and key[:3] not in shrinkable:
                    coupling = strategy.coupling(model, task.inputs(1))
                    try_shrinking(model, coupling, task.inputs(2))
                    shrinkable.add(key[:3])
                for metric in experiment.metrics:
                    metric.create().check(task, model)


def epochs_to_train(experiments: Sequence[Experiment], folder: Path) -> int:
    """How many epochs all experiments train, their dense networks included."""
    epochs = epochs_missing(experiments, folder)
    for each in experiments:
        recovery = each.recovery.create()
        if recovery.trains:
            trainings = 1 if each.timing.create().within_training else each.rounds
            rewound = recovery.schedule_epoch
            epochs += trainings * (
                each.finetuning.epochs if rewound is None else each.pretraining.epochs - rewound
            )
    return epochs


def _is_there(device: str) -> bool:
    if device == "cuda":
        return cuda.is_available()
    return device == "cpu" or mps.is_available()


def data_folder(chosen: str | Path | None) -> Path:
    """The folder of data sets: the one chosen, else ``PRUNEBENCH_DATA``, else a cache folder."""
    if chosen is None:
        chosen = os.environ.get("PRUNEBENCH_DATA") or cache_folder()
    return Path(chosen).expanduser()
