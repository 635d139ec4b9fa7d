"""The store: one immutable JSON file per record in a folder or below a URL, written atomically.

``<place>/<first two digits of the id>/<id>.json``, with the pruned weights beside it as
``<id>.safetensors``. The record of a run that failed is ``<id>.failed.json``, a file of its own, so
that no failure ever takes the place of a result, whoever saves what at the same time. A crash
leaves either no record or a whole one, and any number of processes on a shared file system or an
object store may write at once, so there is no index and no lock.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TypeAlias, TypeVar
from uuid import uuid4

from pydantic import ValidationError

from ..errors import UsageError, tell
from .files import create_atomically, read_all, write_atomically
from .record import RECORD_ID_PATTERN, Outcome, Record
from .remote import Place, RemotePath, UnreachableError, place_of, working_folder

AnyOutcome = TypeVar("AnyOutcome", bound=Outcome)

_SHOWN_CANDIDATES = 5
_READ_AT_ONCE = 128
_FILES_OF_A_RECORD = (".json", ".safetensors")
_FAILED, _FINISHED = ".failed.json", ".json"
_Ends: TypeAlias = tuple[str, ...]
# The failure first: when it is gone, the finished record that took its place is there.
_BOTH: _Ends = (_FAILED, _FINISHED)
_ONE: dict[str, _Ends] = {end: (end,) for end in _BOTH}
_ID = re.compile(RECORD_ID_PATTERN)


def _refuse(record_id: str, error: UsageError) -> None:
    raise error


def _pass_over_damaged(record_id: str, error: UsageError) -> None:
    if not isinstance(error, DamagedRecordError):
        raise error


class Store:
    """The records in a place. Making a store touches no file; the first save makes the folder.

    Args:
        place: a folder, or a URL that fsspec knows, such as ``s3://bucket/runs``.

    Attributes:
        place: the same.
        folder: the folder of this machine for what is needed beside records, dense networks,
            checkpoints and tables: the same one, if records are on this machine.
    """

    def __init__(self, place: str | Place) -> None:
        self.place = place_of(place)
        self.folder = working_folder(self.place)

    @property
    def dense_networks(self) -> Path:
        """The folder of the dense networks from which its runs began, each trained once."""
        return self.folder / "pretrained"

    def record_path(self, record_id: str) -> Place:
        """Where the record of the finished run of this id is or would be."""
        return self.place / record_id[:2] / f"{record_id}{_FINISHED}"

    def failure_path(self, record_id: str) -> Place:
        """Where the record of a failed run of this id is or would be."""
        return self.place / record_id[:2] / f"{record_id}{_FAILED}"

    def weights_path(self, record_id: str) -> Place:
        """Where the pruned weights of the record of this id are or would be."""
        return self.place / record_id[:2] / f"{record_id}.safetensors"

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
        return bool(self.finished([record_id]))

    def finished(self, record_ids: Sequence[str]) -> set[str]:
        """Those of several runs that came to their end.

        Raises:
            UsageError: a file is of another schema version.
        """
        found = self.several(record_ids, _pass_over_damaged)
        return {record.id for record in found if record.finished}

    def save(self, record: Record, weights: bytes | None = None) -> Place:
        """Write the record, and the pruned weights before it, and return the record's path.

        It takes the place of an earlier one of the same id, but a failed run never that of a
        finished one: the record that is there then stays, and its path is returned. What belongs
        elsewhere and cannot be written there now is kept in the store's folder, and that is said.

        Raises:
            UsageError: it would be written through a symbolic link.
            OSError: it could not be written.
        """
        try:
            return self._save(record, weights)
        except UnreachableError as error:
            return self._keep(record, weights, error)

    def add(self, record: Record, weights: bytes | None = None) -> Place | None:
        """As :meth:`save`, but what is finished stays: None is returned then.

        Of two that add results of one run in the same moment one finds that of the other there.
        """
        try:
            return self._add(record, weights)
        except UnreachableError as error:
            return self._keep(record, weights, error)

    def send_kept(self) -> None:
        """Write where they belong the records that could not be written there before.

        Raises:
            UnreachableError: they cannot be now.
        """
        if isinstance(self.place, Path) or not self.folder.is_dir():
            return
        here = Store(self.folder)
        for record in here.records():
            weights = here.weights_path(record.id)
            self._save(record, weights.read_bytes() if weights.exists() else None)
            for path in (here.record_path, here.failure_path, here.weights_path):
                path(record.id).unlink(missing_ok=True)

    def require_writable(self) -> None:
        """Make sure that records can be written elsewhere, before there are any.

        Raises:
            UnreachableError: they cannot.
        """
        if isinstance(self.place, RemotePath):
            probe = self.place / f".{uuid4().hex}~"
            probe.write_bytes(b"")
            probe.unlink(missing_ok=True)

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
                    f"{self.place}; replace it by what it leads to"
                )

    def set_aside(self, record_id: str) -> list[Place]:
        """Give the damaged files of a record other names, under which nothing looks for it.

        Returns:
            The names that they had.

        Raises:
            UsageError: a file is of another schema version.
        """
        damaged = []
        for path in (self.record_path(record_id), self.failure_path(record_id)):
            try:
                _read(path, record_id)
            except FileNotFoundError:
                continue
            except DamagedRecordError:
                aside = path.with_name(f"{path.name}.damaged-{uuid4().hex[:8]}")
            else:
                continue
            with suppress(FileNotFoundError):  # another process has set it aside
                _move(path, aside)
                damaged.append(path)
                with suppress(DamagedRecordError):
                    _read(aside, record_id)
                    _move(aside, path)  # another process had mended it in between
        return damaged

    def records(self, unreadable: Callable[[str, UsageError], None] = _refuse) -> Iterator[Record]:
        """All records by ascending id, a few of which are held at a time.

        Args:
            unreadable: is told the id of each record that is damaged or of another schema version,
                and what is wrong; by default it raises that.

        Raises:
            UsageError: the folder does not exist, or ``unreadable`` raises it.
        """
        return self._each(Record, self._listed(), unreadable)

    def outcomes(
        self, unreadable: Callable[[str, UsageError], None] = _refuse
    ) -> Iterator[Outcome]:
        """What a leaderboard needs of all records; see :meth:`records`."""
        return self._each(Outcome, self._listed(), unreadable)

    def several(
        self,
        record_ids: Sequence[str],
        unreadable: Callable[[str, UsageError], None] = _refuse,
    ) -> Iterator[Record]:
        """The records of those ids that have one, in the order of the ids; see :meth:`records`."""
        files = dict.fromkeys(record_ids, _BOTH)
        if isinstance(self.place, RemotePath) and len(files) > _READ_AT_ONCE:
            there = _listing(self.place)  # asking for each that is not there takes longer
            files = {each: there[each] for each in files if each in there}
        return self._each(Record, files.items(), unreadable)

    def find(self, reference: str | Place) -> Record:
        """The record that ``reference`` means: an id, a unique beginning of one, or a path.

        The path is that of its file, of its weights, or of its folder with the beginning of an id,
        such as ``runs/digits/ab1c``.

        Raises:
            UsageError: there is no such record, there is more than one, or it cannot be read.
        """
        path = place_of(reference)
        if path.suffix in _FILES_OF_A_RECORD:
            path = path.with_suffix(".json")
            try:
                return _read(path, path.name.partition(".")[0])
            except FileNotFoundError:
                raise UsageError(f"there is no record {path}") from None
        prefix = path.name.lower().removeprefix("sha256:")  # as tables have it
        candidates = [record_id for record_id in self.ids() if record_id.startswith(prefix)]
        if not candidates:
            raise UsageError(
                f"there is no record {reference!s} in {self.place}: name another folder with --runs"
            )
        if len(candidates) > 1 and prefix not in candidates:
            more = ", …" if len(candidates) > _SHOWN_CANDIDATES else ""
            shown = ", ".join(candidates[:_SHOWN_CANDIDATES]) + more
            raise UsageError(f"{reference!s} begins the ids of {len(candidates)} records: {shown}")
        found = self.load(prefix if prefix in candidates else candidates[0])
        if found is None:
            raise UsageError(f"there is no record {reference!s} in {self.place}")
        return found

    @classmethod
    def holding(cls, reference: str | Place, place: str | Place) -> Store:
        """The store of the record that ``reference`` means: a path says it itself.

        Args:
            reference: as for :meth:`find`.
            place: where records are, where ``reference`` is no path.
        """
        path = place_of(reference)
        if path.suffix in _FILES_OF_A_RECORD:
            return cls(path.absolute().parent.parent)
        return cls(path.parent if path.name != str(reference) else place)

    def ids(self) -> Iterator[str]:
        """The ids that have a record, ascending; other files and folders are not looked at.

        Raises:
            UsageError: the folder does not exist.
        """
        yield from (record_id for record_id, _ in self._listed())

    def _listed(self) -> Iterator[tuple[str, _Ends]]:
        """The ids that have a record, ascending, with the ends of their files' names."""
        found = _listing(self.place)
        if not found and not self.place.is_dir():
            raise UsageError(f"there is no folder {self.place} to read records from")
        yield from sorted(found.items())

    def _save(self, record: Record, weights: bytes | None) -> Place:
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

    def _add(self, record: Record, weights: bytes | None) -> Place | None:
        if self.is_finished(record.id):
            return None
        if not record.finished:
            return self._save(record, weights)
        self.refuse_links(record.id)
        if weights is not None:
            write_atomically(self.weights_path(record.id), weights)
        path, content = self.record_path(record.id), record.to_json()
        if not create_atomically(path, content):
            if self.is_finished(record.id):
                return None
            write_atomically(path, content)  # over what is damaged, or a failure as they once were
        self.failure_path(record.id).unlink(missing_ok=True)
        return path

    def _keep(self, record: Record, weights: bytes | None, error: UnreachableError) -> Place:
        """Save on this machine what belongs elsewhere, and say so."""
        kept = Store(self.folder).save(record, weights)
        tell(
            f"{error}; the record is kept as {kept} and sent when a sweep with --runs "
            f"{self.place} begins here"
        )
        return kept

    def _each(
        self,
        model: type[AnyOutcome],
        files: Iterable[tuple[str, _Ends]],
        unreadable: Callable[[str, UsageError], None],
    ) -> Iterator[AnyOutcome]:
        """What ``model`` holds of the records of these ids, with the ends of their files' names."""
        waiting = iter(files)
        while some := list(islice(waiting, _READ_AT_ONCE)):
            for (record_id, ends), contents in zip(some, self._contents(some), strict=True):
                try:
                    found = self._parsed(model, record_id, contents)
                    if found is None and ends is not _BOTH:  # a result has taken its place since
                        found = self._load(model, record_id)
                except UsageError as error:
                    unreadable(record_id, error)
                    continue
                if found is not None:
                    yield found

    def _load(self, model: type[AnyOutcome], record_id: str) -> AnyOutcome | None:
        return self._parsed(model, record_id, self._contents([(record_id, _BOTH)])[0])

    def _contents(self, files: Sequence[tuple[str, _Ends]]) -> list[dict[str, bytes]]:
        """What is in the files of records, by the ends of their names."""
        names = [f"{each[:2]}/{each}{end}" for each, ends in files for end in ends]
        contents = iter(read_all(self.place, names))
        found = [{end: next(contents) for end in ends} for _, ends in files]
        return [{end: each for end, each in one.items() if each is not None} for one in found]

    def _parsed(
        self, model: type[AnyOutcome], record_id: str, contents: Mapping[str, bytes]
    ) -> AnyOutcome | None:
        """What ``model`` holds of a record, given what is in its files."""
        stem = f"{self.place}/{record_id[:2]}/{record_id}"
        found = {
            end: _parsed(model, content, record_id, f"{stem}{end}")
            for end, content in contents.items()
        }
        result = found.get(_FINISHED)
        if result is not None and result.finished:
            return result
        return found.get(_FAILED) or result  # failures had the same name once


class DamagedRecordError(UsageError):
    """The file of a record holds none, or that of another experiment."""


def _listing(place: Place) -> dict[str, _Ends]:
    """The ids of which there are files of records, with the ends of the files' names."""
    found: dict[str, _Ends] = {}
    for folder, name in _files(place):
        record_id, dot, end = name.partition(".")
        ends = _ONE.get(f"{dot}{end}")
        if ends and record_id.startswith(folder) and _ID.match(record_id):
            found[record_id] = _BOTH if record_id in found else ends
    return found


def _files(place: Place) -> Iterator[tuple[str, str]]:
    """The names of the folders with records, with those of each of the files in them."""
    if isinstance(place, Path):
        for folder in place.glob("[0-9a-f][0-9a-f]"):
            yield from ((folder.name, name) for name in os.listdir(folder))
        return
    for path in place.files():
        first, slash, name = path.partition("/")
        if slash and len(first) == len("ab"):
            yield first, name


def _read(path: Place, record_id: str) -> Record:
    return _parsed(Record, path.read_bytes(), record_id, str(path))


def _move(path: Place, new: Place) -> None:
    write_atomically(new, path.read_bytes())
    path.unlink()


def _parsed(model: type[AnyOutcome], content: bytes, record_id: str, path: str) -> AnyOutcome:
    """What ``model`` holds of a file, whose path is for sentences."""
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
    if record.id != record_id:
        raise DamagedRecordError(f"{path} holds the record of another experiment, {record.id}")
    return record
