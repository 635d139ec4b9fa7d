"""Jobs on a machine that shares no folder with this one: all goes there, and comes back, as bytes.

A task has a folder of records of its own there, which begins with the files of the dense network
and ends with the task. What it leaves in it, records, weights, and what it has found out of the
dense network, comes back and is written here as ever.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ...errors import UsageError
from ...results import Record, Store, write_atomically
from ...user_code import carrying
from ..cell.environment import PACKAGES, environment
from ..cell.pretraining import files_of
from .jobs import Job, Stack, job_of

Files = Mapping[str, bytes]
"""Contents by path."""


@dataclass(frozen=True)
class Luggage:
    """What all jobs of a sweep need, wherever they are run.

    Attributes:
        sources: the Python files of users, by path as components are written with it.
        versions: of the packages on which results depend.
        shared_folder: one that all machines see, in which trainings save themselves, so that they
            go on elsewhere.
    """

    sources: Files
    versions: Mapping[str, str]
    shared_folder: Path | None


@dataclass(frozen=True)
class Left:
    """What a task has left.

    Attributes:
        records: each with its weights, if those are kept.
        dense: the files of the dense network that are new, by path in the folder of records.
    """

    records: Sequence[tuple[Record, bytes | None]]
    dense: Files


def luggage(jobs: Iterable[Job], shared_folder: Path | None) -> Luggage:
    """What these jobs need; modules that they import by name have to be installed everywhere."""
    paths = {
        path
        for job in jobs
        for _, part in job.experiment.components()
        if (path := part.reference.rpartition(":")[0]).endswith(".py")
    }
    sources = {path: Path(path).read_bytes() for path in paths}
    return Luggage(sources, _versions(), shared_folder)


def dense_files(job: Job) -> Files:
    """What there is of the dense network of a job, by path in its folder of records."""
    return {
        str(path.relative_to(job.store.folder)): path.read_bytes()
        for path in files_of(job.experiment, job.store.folder)
    }


def perform(
    function: Callable[[Stack], Sequence[Record]],
    plain: Sequence[tuple[Any, ...]],
    luggage: Luggage,
    dense: Files,
) -> Left:
    """Do a task here, where nothing is known but what has come along.

    Args:
        function: what is done with the jobs; it gives the records that it has saved.
        plain: the data of the jobs, which share a dense network.
        luggage: what they need.
        dense: what there is of their dense network.

    Raises:
        UsageError: other versions are installed here, whose results would be others.
    """
    _require(luggage.versions)
    with TemporaryDirectory(prefix="prunebench-") as name, carrying(luggage.sources):
        runs = Path(name)
        for path, content in dense.items():  # no other process looks, and no crash leaves any use
            (runs / path).parent.mkdir(exist_ok=True)
            (runs / path).write_bytes(content)
        jobs = tuple(_moved(job_of(*each), runs, luggage.shared_folder) for each in plain)
        records = [(record, _weights(record, runs)) for record in function(jobs)]
        found = dense_files(jobs[0])
        new = {path: content for path, content in found.items() if dense.get(path) != content}
        return Left(records, new)


def keep(left: Left, jobs: Stack) -> list[Record]:
    """Write what the task of some jobs has left where it belongs here, and give its records."""
    for path, content in left.dense.items():
        write_atomically(jobs[0].store.folder / path, content)
    known = {job.experiment.id: job for job in jobs}
    for record, weights in left.records:
        known[record.id].save(record, weights)
    return [record for record, _ in left.records]


def _moved(job: Job, runs: Path, shared_folder: Path | None) -> Job:
    """A job with another folder of records, and checkpoints where they can be found again."""
    if shared_folder is None:
        return replace(job, runs=runs, checkpoint_seconds=None)
    link, checkpoints = runs / "checkpoints", shared_folder.absolute() / "checkpoints"
    checkpoints.mkdir(parents=True, exist_ok=True)
    if not link.exists():
        link.symlink_to(checkpoints)
    return replace(job, runs=runs)


def _weights(record: Record, runs: Path) -> bytes | None:
    path = Store(runs).weights_path(record.id)
    return path.read_bytes() if path.exists() else None


def _versions() -> dict[str, str]:
    here = environment()
    return {name: here[name] for name in PACKAGES}


def _require(versions: Mapping[str, str]) -> None:
    here = _versions()
    for name, version in versions.items():
        if here[name] != version:
            raise UsageError(
                f"{platform.node()} has {name} {here[name]}, and the sweep was begun with "
                f"{version}, whose results may be others: install the same everywhere"
            )
