"""Sweeps: many experiments, each run once, in this process or in several, and resumed at will."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

from torch import cuda
from torch.backends import mps

from ...datasets import cache_folder
from ...errors import UsageError, tell
from ...results import Record, Store, remove_abandoned
from ...strategies import couple, try_shrinking
from ..cell import distributed
from ..cell.checkpoint import Checkpoints
from ..cell.loop import failed, load_task, threads
from ..cell.pretraining import build, epochs_missing
from ..cell.progress import SweepBar
from ..cell.target import target_of, weights_to_prune
from ..cell.training import own_metric
from ..experiment import Experiment
from .executor import Job, in_processes, in_this_process


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
    again by the next sweep. With ``force``, an experiment that fails although it was finished once
    is returned as failed, and its finished record stays. A damaged record is set aside under
    another name, and its experiment run again.

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
    if distributed.rank() == 0:
        _set_aside(distinct, store)
    distributed.barrier()
    waiting = distinct if force else unfinished(distinct, store)
    distributed.barrier()  # until none of the processes looks any more
    for experiment in waiting:
        store.refuse_links(experiment.id)
    if distributed.rank() == 0:
        _tidy({each.id for each in distinct} - {each.id for each in waiting}, store.folder)
    broken = check(waiting, folder)
    failures = {id_: failed(experiment, error) for id_, (experiment, error) in broken.items()}
    waiting = [experiment for experiment in waiting if experiment.id not in failures]
    if distributed.rank() == 0:
        for failure in failures.values():
            store.save(failure)
    seconds = 60 * checkpoint_minutes or None
    jobs = [Job(experiment, store.folder, folder, weights, seconds) for experiment in waiting]
    bar = SweepBar(
        cells=len(distinct),
        finished=len(distinct) - len(waiting) - len(failures),
        epochs=epochs_to_train(waiting, store.folder),
        hidden=not (progress and distinct) or distributed.rank() > 0,
    )
    with bar:
        if workers == 1:
            results = in_this_process(jobs, bar.train)
        else:
            results = in_processes(jobs, bar.train, workers, timeout)
        for failure in failures.values():
            bar.finish(failure)
        with closing(results):
            for result in results:
                if isinstance(result, str):
                    bar.describe(result)
                else:
                    bar.finish(result)
                    if not result.finished:
                        failures[result.id] = result
    # Read back rather than remembered: what is returned is what is on the disk, unless that is
    # the result of an earlier sweep and not what was forced now.
    forced = failures if force else {}
    found = (forced.get(each.id) or store.load(each.id) for each in experiments)
    return [record for record in found if record]


def _set_aside(experiments: Iterable[Experiment], store: Store) -> None:
    for experiment in experiments:
        for path in store.set_aside(experiment.id):
            tell(f"{path} is damaged: it is kept under another name, and the cell is run again")


def _tidy(finished: Iterable[str], folder: Path) -> None:
    """Delete what processes that were killed had no use for any more, or will have none."""
    remove_abandoned(folder)
    for identity in finished:
        Checkpoints(folder, identity, None).remove()


def unfinished(experiments: Iterable[Experiment], store: Store) -> list[Experiment]:
    """Those of ``experiments`` that have no finished record in ``store``."""
    return [experiment for experiment in experiments if not store.is_finished(experiment.id)]


def check(
    experiments: Sequence[Experiment], data: Path
) -> dict[str, tuple[Experiment, BaseException]]:
    """Make sure, before anything is run, that data are there, and targets and metrics fit them.

    Where channels are to be removed, it is tried whether the network can be shrunk.

    Returns:
        By id the experiments that cannot be run since a user's code fails, and what it raises.

    Raises:
        UsageError: the first thing that is wrong.
    """
    checked: dict[tuple[object, ...], BaseException | None] = {}
    shrinkable: set[tuple[object, ...]] = set()
    broken = {}
    for experiment in experiments:
        if not _is_there(experiment.device):
            raise UsageError(
                f"device: {experiment.device!r} is not allowed: there is none here; give cpu, or "
                "auto for the best there is"
            )
        parts = (experiment.dataset, experiment.model, experiment.strategy)
        more = (
            *experiment.target,
            experiment.prune_classifier,
            experiment.prune_only,
            experiment.prune_except,
            *map(str, experiment.metrics),
        )
        key = (*map(str, parts), *more)
        if key not in checked:
            checked[key] = _fault(experiment, data, key[:3] not in shrinkable)
            if checked[key] is None:
                shrinkable.add(key[:3])
        if (fault := checked[key]) is not None:
            broken[experiment.id] = experiment, fault
    return broken


def _fault(experiment: Experiment, data: Path, shrinks: bool) -> BaseException | None:
    """What a user's code raises in the preparations of an experiment.

    Args:
        experiment: what is to be run.
        data: the folder of data sets.
        shrinks: whether to try if the network can be shrunk, where channels are to be removed.

    Raises:
        UsageError: data are not to be had, or a target or a metric does not fit them.
    """
    try:
        with threads(experiment.threads):
            task = load_task(experiment.dataset, data)
            model = build(experiment, task)
            strategy = experiment.strategy.create()
            example = task.inputs(1)
            strategy.check(task, model)
            names = weights_to_prune(experiment, strategy, model, example).names
            target_of(experiment, strategy, model, example, names)
            if strategy.capabilities.removes == "channels" and shrinks:
                try_shrinking(model, couple(model, example, names), task.inputs(2))
            for metric in (own_metric(task), *(each.create() for each in experiment.metrics)):
                metric.qualities()  # which says what is wrong with them
                metric.check(task, model)
    except (UsageError, KeyboardInterrupt):
        raise
    except BaseException as error:  # a user's code may raise anything, SystemExit too
        return error
    return None


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
