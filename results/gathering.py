"""The records of one place or of several: folders of runs, published folders, files of records."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence

from ..errors import UsageError
from .record import Outcome, Record
from .record_file import file_in, read_records
from .remote import Place, place_of
from .store import Store


def gathered(places: Sequence[str | Place]) -> Iterator[Outcome]:
    """What a leaderboard needs of all records in some places, each run once.

    A run that failed in one place and was finished in another is finished.

    Args:
        places: folders of runs, folders with a file of records such as those published, or such
            files; URLs are those of folders elsewhere.

    Raises:
        UsageError: a place is not there, something in it cannot be read, or two places have
            different results of one experiment.
    """
    if len(places) == 1:
        yield from _outcomes(place_of(places[0]))
        return
    finished: dict[str, tuple[Place, bytes]] = {}
    failed: dict[str, Outcome] = {}
    for place in map(place_of, places):
        for each in _outcomes(place):
            if not each.finished:
                failed.setdefault(each.id, each)
            elif each.id not in finished:
                finished[each.id] = place, numbers(each)
                yield each
            elif numbers(each) != finished[each.id][1]:
                raise UsageError(
                    f"{finished[each.id][0]} and {place} have different results of the same "
                    f"experiment, {each.id}: leave one of them out, or run the cell again"
                )
    yield from (each for each in failed.values() if each.id not in finished)


def whole_records(places: Sequence[str | Place]) -> Iterator[Record]:
    """The records of finished runs in some places, each run once, with all that is in them.

    Raises:
        UsageError: a place is not there, or something in it cannot be read.
    """
    known: set[str] = set()
    for place in places:
        for record in read_records(place):
            if record.finished and record.id not in known:
                known.add(record.id)
                yield record


def numbers(outcome: Outcome) -> bytes:
    """A digest of what a run came to, as far as a leaderboard reads it.

    That is its status, and what was measured of the dense and the pruned network. Merging compares
    whole records, of which rounds and layers may differ as well.
    """
    result = [outcome.status, dict(outcome.dense), dict(outcome.final)]
    return hashlib.sha256(json.dumps(result, sort_keys=True).encode()).digest()


def _outcomes(place: Place) -> Iterator[Outcome]:
    return read_records(place) if file_in(place) else Store(place).outcomes()
