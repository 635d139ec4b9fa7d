"""Merging: the records of several folders in one, where each run has one result.

Of a run that several folders have, a finished record goes before a failed one, and of two that say
the same the earlier stays. Two different results of one run are a mistake of somebody's, which is
said before anything is written. Each record appears whole, after its weights, so that a merging
that was interrupted is simply done again; sources are read and nothing else. The dense networks
beside sources go along, without which what was merged could not be measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ..errors import UsageError, shown
from .agreement import NO_NUMBERS
from .differences import differing
from .files import write_atomically
from .naming import named
from .record import Record
from .record_file import file_in, read_records
from .remote import Place, place_of
from .store import Store


@dataclass(frozen=True)
class Merged:
    """What came of merging.

    Attributes:
        records: how many runs the folder has now.
        failed: how many of them failed.
        added: how many records were written.
        repeated: how many finished records were of a run that had one, with the same result.
    """

    records: int
    failed: int
    added: int
    repeated: int


def merge(sources: Sequence[str | Place], folder: str | Place) -> Merged:
    """Unite the records of several folders in one, and the networks beside them.

    Args:
        sources: folders of records, or published folders or files of them, which have no weights.
        folder: where all of them go. What it has already counts as the first of all.

    Raises:
        UsageError: a source is the folder itself, or two of them have different results of a run,
            and nothing was written; or one is missing or damaged, or none has a record; or the
            folder is a published one, of which its file of records alone is read.
    """
    target, given = _Folder(Store(folder)), [place_of(each) for each in sources]
    for source in given:
        if source.resolve() == target.store.place.resolve():
            raise UsageError(
                f"{source} is to be merged into itself: leave it out of the sources, since what is "
                "in that folder stays there"
            )
    if published := file_in(target.store.place):
        raise UsageError(
            f"{target.store.place} is a published folder, of which {published.name} alone is read: "
            "give another folder to merge into, and this one as a source"
        )
    places: list[_Place] = [target] if target.store.place.is_dir() else []
    places += [_source(each) for each in given]
    holders: dict[str, list[_Place]] = {}
    for place in places:
        for record_id in place.ids():
            holders.setdefault(record_id, []).append(place)
    if not holders:
        raise UsageError(f"there are no records in {', '.join(map(str, given))}")
    repeated = 0
    for record_id, several in holders.items():
        if len(several) > 1:
            holders[record_id] = agreeing = _agreeing(record_id, several)
            repeated += len(agreeing) - 1
    added = failed = 0
    for record_id in sorted(holders):
        first, *_ = having = holders[record_id]
        record = first.record(record_id)
        failed += not record.finished
        if first is not target:
            target.store.add(record, _weights(record_id, having))
            added += 1
        elif target.weights(record_id) is None and (weights := _weights(record_id, having)):
            write_atomically(target.store.weights_path(record_id), weights)
    for source in given:
        if file_in(source) is None:
            _copy_dense_networks(Store(source).dense_networks, target.store.dense_networks)
    return Merged(len(holders), failed, added, repeated)


def _copy_dense_networks(source: Path, target: Path) -> None:
    """Copy those that are not there, each with all files of it, that of its weights last."""
    for weights in source.glob("[!.]*.safetensors"):
        name = weights.stem
        if "-" in name or (target / weights.name).exists():  # it is one after an epoch, or there
            continue
        files = [*source.glob(f"{name}-*"), *source.glob(f"{name}.json*")]
        for path in [*files, *source.glob(f"{weights.name}.*"), weights]:
            if path.suffix != ".part":
                write_atomically(target / path.name, path.read_bytes())


class _Place(Protocol):
    """Something that has records."""

    def ids(self) -> Iterable[str]:
        """Of which runs."""

    def record(self, record_id: str) -> Record:
        """That of one of them."""

    def weights(self, record_id: str) -> bytes | None:
        """The weights beside it."""

    def name(self, record_id: str) -> str:
        """Where a sentence says that it is."""


@dataclass(frozen=True)
class _Folder:
    """A folder of records."""

    store: Store

    def ids(self) -> Iterable[str]:
        return self.store.ids()

    def record(self, record_id: str) -> Record:
        record = self.store.load(record_id)
        if record is None:
            raise UsageError(f"the record {record_id} in {self.store.place} is gone")
        return record

    def weights(self, record_id: str) -> bytes | None:
        with suppress(FileNotFoundError):
            return self.store.weights_path(record_id).read_bytes()
        return None

    def name(self, record_id: str) -> str:
        return str(self.store.record_path(record_id))


class _File:
    """A file of records, which are few enough to be held."""

    def __init__(self, path: Place) -> None:
        self._path = path
        self._records = {record.id: record for record in read_records(path)}

    def ids(self) -> Iterable[str]:
        return self._records

    def record(self, record_id: str) -> Record:
        return self._records[record_id]

    def weights(self, record_id: str) -> None:
        return None

    def name(self, record_id: str) -> str:
        return f"{self._path} ({record_id})"


def _source(place: Place) -> _Place:
    file = file_in(place)
    return _Folder(Store(place)) if file is None else _File(file)


def _agreeing(record_id: str, places: Sequence[_Place]) -> list[_Place]:
    """The places that have the one result of a run; the first of all where it failed everywhere.

    Raises:
        UsageError: there are two results.
    """
    first: tuple[_Place, dict[str, Any]] | None = None
    agreeing = []
    for place in places:
        record = place.record(record_id)
        if not record.finished:
            continue
        result = _result(record)
        first = first or (place, result)
        if result != first[1]:
            where, one, other = next(differing(first[1], result))
            raise UsageError(
                f"two results of the run {record_id}: {where} is {shown(one)} in "
                f"{first[0].name(record_id)} and {shown(other)} in {place.name(record_id)}; "
                "nothing was merged"
            )
        agreeing.append(place)
    return agreeing or [places[0]]


def _result(record: Record) -> dict[str, Any]:
    """What must be the same wherever and whenever a run was run, but for :data:`NO_NUMBERS`.

    A user's file may have lain elsewhere.
    """
    result = {name: value for name, value in record.result().items() if name not in NO_NUMBERS}
    settings = result["experiment"].items()
    result["experiment"] = {
        name: named(value) if isinstance(value, str) else value for name, value in settings
    }
    return result


def _weights(record_id: str, places: Iterable[_Place]) -> bytes | None:
    """The weights of a run, from the first place that has them."""
    return next(filter(None, (place.weights(record_id) for place in places)), None)
