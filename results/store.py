"""The store: one immutable JSON file per record in a folder, written atomically.

``<folder>/<first two digits of the id>/<id>.json``, with the pruned weights beside it as
``<id>.safetensors``. The record of a run that failed is ``<id>.failed.json``, a file of its own, so
that no failure ever takes the place of a result, whoever saves what at the same time. A crash
leaves either no record or a whole one, and any number of processes on a shared file system may
write at once, so there is no index and no lock.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from pydantic import ValidationError

from ..errors import UsageError
from .record import RECORD_ID_PATTERN, Outcome, Record

AnyOutcome = TypeVar("AnyOutcome", bound=Outcome)

_SHOWN_CANDIDATES = 5
_FILES_OF_A_RECORD = (".json", ".safetensors")
_ABANDONED_SECONDS = 24 * 60 * 60
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}~")


def write_atomically(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` so that a reader or a crash sees the old file or the new one.

    Missing folders are made. When this returns, the content is on the disk. A symbolic link stays,
    and what it leads to is written; devices and pipes, such as ``/dev/stdout``, are written to.

    Raises:
        UsageError: ``path`` is a folder, or lies below a file.
        OSError: it could not be written; ``path`` is as it was and nothing else is left behind.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder and cannot be written as a file")
    if _is_stream(path):
        _write_to_stream(path, content)
        return
    path = path.resolve()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UsageError(f"{path} cannot be written: {path.parent} is no folder") from None
    temporary = path.with_name(f".{path.name}.{uuid4().hex}~")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _flush_folder(path.parent)


def remove_abandoned(folder: Path) -> None:
    """Delete what processes that were killed had been writing in a folder and those below it.

    Only what nobody has written to for a day: on whichever host, writing takes seconds.
    """
    limit = time.time() - _ABANDONED_SECONDS
    for path in folder.rglob(".*~"):
        with suppress(OSError):  # another process has deleted it, or it is not ours to delete
            if _TEMPORARY.fullmatch(path.name) and path.lstat().st_mtime < limit:
                path.unlink()


def _is_stream(path: Path) -> bool:
    """Whether what is there can only be written to: a device, a pipe, or what we print to."""
    return path.exists() and (not path.is_file() or _descriptor(path) is not None)


def _write_to_stream(path: Path, content: bytes) -> None:
    """Write after what has been printed, and at its end if that is where we print."""
    descriptor = _descriptor(path)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    target = path if descriptor is None else os.dup(descriptor)
    with open(target, "wb") as file:  # noqa: PTH123 # a Path opens no descriptor
        file.write(content)


def _descriptor(path: Path) -> int | None:
    """The number of our own output stream, if ``path`` leads to one, as ``/dev/stdout`` does."""
    for descriptor in (1, 2):
        try:
            if os.path.samestat(path.stat(), os.fstat(descriptor)):
                return descriptor
        except OSError:  # the stream is closed
            continue
    return None


class Store:
    """The records in a folder. Making a store touches no file; the first save makes the folder."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def record_path(self, record_id: str) -> Path:
        """Where the record of the finished run of this id is or would be."""
        return self.folder / record_id[:2] / f"{record_id}.json"

    def failure_path(self, record_id: str) -> Path:
        """Where the record of a failed run of this id is or would be."""
        return self.folder / record_id[:2] / f"{record_id}.failed.json"

    def weights_path(self, record_id: str) -> Path:
        """Where the pruned weights of the record of this id are or would be."""
        return self.folder / record_id[:2] / f"{record_id}.safetensors"

    def load(self, record_id: str) -> Record | None:
        """The record of this id, that of a finished run if there is one, or None.

        Raises:
            UsageError: the file is damaged, or of another schema version.
        """
        return self._load(Record, record_id)

    def is_finished(self, record_id: str) -> bool:
        """Whether the run of this id came to its end; a failed or a damaged one did not.

        Raises:
            UsageError: the file is of another schema version.
        """
        try:
            record = self.load(record_id)
        except DamagedRecordError:
            return False
        return record is not None and record.finished

    def save(self, record: Record, weights: bytes | None = None) -> Path:
        """Write the record, and the pruned weights before it, and return the record's path.

        It takes the place of an earlier one of the same id, but a failed run never that of a
        finished one: the record that is there then stays, and its path is returned.

        Raises:
            UsageError: it would be written through a symbolic link.
            OSError: it could not be written.
        """
        self.refuse_links(record.id)
        path, failure = self.record_path(record.id), self.failure_path(record.id)
        if not record.finished:
            if self.is_finished(record.id):
                return path
            write_atomically(failure, record.to_json())
            return failure
        if weights is not None:
            write_atomically(self.weights_path(record.id), weights)
        write_atomically(path, record.to_json())  # last: a record means that all of it is there
        failure.unlink(missing_ok=True)
        return path

    def refuse_links(self, record_id: str) -> None:
        """Make sure that what is saved under this id will lie in the store's folder.

        Raises:
            UsageError: a symbolic link is in the way.
        """
        path, weights = self.record_path(record_id), self.weights_path(record_id)
        for each in (path.parent, path, self.failure_path(record_id), weights):
            if each.is_symlink():
                raise UsageError(
                    f"{each} is a symbolic link, through which records would be written outside "
                    f"{self.folder}; replace it by what it leads to"
                )

    def set_aside(self, record_id: str) -> list[Path]:
        """Give the damaged files of a record other names, under which nothing looks for it.

        Returns:
            The names that they had.

        Raises:
            UsageError: a file is of another schema version.
        """
        damaged = []
        for path in (self.record_path(record_id), self.failure_path(record_id)):
            try:
                _read(Record, path)
            except FileNotFoundError:
                continue
            except DamagedRecordError:
                aside = path.with_name(f"{path.name}.damaged-{uuid4().hex[:8]}")
            else:
                continue
            with suppress(FileNotFoundError):  # another process has set it aside
                path.rename(aside)
                damaged.append(path)
                with suppress(DamagedRecordError):
                    _read(Record, aside)
                    aside.rename(path)  # another process had mended it in between
        return damaged

    def records(self) -> Iterator[Record]:
        """All records by ascending id, read one at a time.

        Raises:
            UsageError: the folder does not exist, or a file in it is damaged or of another schema
                version.
        """
        yield from filter(None, (self._load(Record, record_id) for record_id in self.ids()))

    def outcomes(self) -> Iterator[Outcome]:
        """What a leaderboard needs of all records, by ascending id, read one at a time.

        Raises:
            UsageError: the folder does not exist, or a file in it is damaged or of another schema
                version.
        """
        yield from filter(None, (self.outcome(record_id) for record_id in self.ids()))

    def outcome(self, record_id: str) -> Outcome | None:
        """What a leaderboard needs of the record of this id; None where there is none.

        Raises:
            UsageError: the file is damaged, or of another schema version.
        """
        return self._load(Outcome, record_id)

    def find(self, reference: str | Path) -> Record:
        """The record that ``reference`` means: an id, a unique beginning of one, or a path.

        The path is that of its file, of its weights, or of its folder with the beginning of an id,
        such as ``runs/digits/ab1c``.

        Raises:
            UsageError: there is no such record, there is more than one, or it cannot be read.
        """
        path = Path(reference)
        if path.suffix in _FILES_OF_A_RECORD:
            try:
                return _read(Record, path.with_suffix(".json"))
            except FileNotFoundError:
                raise UsageError(f"there is no record {path.with_suffix('.json')}") from None
        prefix = path.name.lower().removeprefix("sha256:")  # as tables have it
        candidates = [record_id for record_id in self.ids() if record_id.startswith(prefix)]
        if not candidates:
            raise UsageError(f"there is no record {reference!s} in {self.folder}")
        if len(candidates) > 1 and prefix not in candidates:
            more = ", …" if len(candidates) > _SHOWN_CANDIDATES else ""
            shown = ", ".join(candidates[:_SHOWN_CANDIDATES]) + more
            raise UsageError(f"{reference!s} begins the ids of {len(candidates)} records: {shown}")
        found = self.load(prefix if prefix in candidates else candidates[0])
        if found is None:
            raise UsageError(f"there is no record {reference!s} in {self.folder}")
        return found

    @classmethod
    def holding(cls, reference: str | Path, folder: str | Path) -> Store:
        """The store of the record that ``reference`` means: a path says it itself.

        Args:
            reference: as for :meth:`find`.
            folder: the folder of records, where ``reference`` is no path.
        """
        path = Path(reference)
        if path.suffix in _FILES_OF_A_RECORD:
            return cls(path.absolute().parent.parent)
        return cls(path.parent if path.name != str(reference) else folder)

    def ids(self) -> Iterator[str]:
        """The ids that have a record, ascending; other files and folders are not looked at.

        Raises:
            UsageError: the folder does not exist.
        """
        if not self.folder.is_dir():
            raise UsageError(f"there is no folder {self.folder} to read records from")
        for folder in sorted(self.folder.glob("[0-9a-f][0-9a-f]")):
            names = (path.name.removesuffix(".json") for path in folder.glob("*.json"))
            for record_id in sorted({name.removesuffix(".failed") for name in names}):
                if record_id.startswith(folder.name) and re.match(RECORD_ID_PATTERN, record_id):
                    yield record_id

    def _load(self, model: type[AnyOutcome], record_id: str) -> AnyOutcome | None:
        """What ``model`` holds of the record of this id."""
        # The failure first: when it is gone, the finished record that took its place is there.
        failure = finished = None
        stem = os.path.join(self.folder, record_id[:2], record_id)  # noqa: PTH118 # much faster
        with suppress(FileNotFoundError):
            failure = _read(model, f"{stem}.failed.json")
        with suppress(FileNotFoundError):
            finished = _read(model, f"{stem}.json")
        if finished is not None and finished.finished:
            return finished
        return failure or finished  # failures had the same name once


class DamagedRecordError(UsageError):
    """The file of a record holds none, or that of another experiment."""


def _read(model: type[AnyOutcome], path: Path | str) -> AnyOutcome:
    with open(path, "rb") as file:  # noqa: PTH123 # a Path for each of 100,000 takes seconds
        content = file.read()
    try:
        record = model.from_json(content)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        place = ".".join(map(str, errors[0]["loc"]))
        reason = f"{place}: {errors[0]['msg']}" if place else errors[0]["msg"]
        sentence = f"{path} is not a record this version can read ({reason})"
        foreign = any(
            each["type"] == "extra_forbidden" or each["loc"] == ("schema_version",)
            for each in errors
        )
        raise (UsageError if foreign else DamagedRecordError)(sentence) from None
    if record.id != os.path.basename(path).partition(".")[0]:  # noqa: PTH119
        raise DamagedRecordError(f"{path} holds the record of another experiment, {record.id}")
    return record


def _flush_folder(folder: Path) -> None:
    """Make the renaming itself survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
