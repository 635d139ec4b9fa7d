"""A file of records: all those of a comparison in one, small enough to be kept beside its table.

JSON lines, compressed by gzip, by ascending id. The same records give the same bytes.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import ValidationError

from ..errors import UsageError
from .files import write_atomically
from .record import Record
from .remote import Place, place_of
from .store import Store

RECORDS_FILE = "records.jsonl.gz"
"""What such a file is called beside a published table."""


def file_in(place: Place) -> Place | None:
    """The file of records that is read of a place: itself, or one in it; None of other folders."""
    file = place if place.is_file() else place / RECORDS_FILE
    return file if file.is_file() else None


def write_records(records: Iterable[Record], path: str | Path) -> None:
    """Write records into one file.

    Raises:
        OSError: the file could not be written; an earlier one is as it was.
    """
    lines = (record.model_dump_json() for record in sorted(records, key=lambda each: each.id))
    content = "".join(f"{line}\n" for line in lines).encode()
    write_atomically(Path(path), gzip.compress(content, mtime=0))


def read_records(path: str | Place) -> Iterator[Record]:
    """The records in such a file, in a folder that has one, or in that of a store, by ascending id.

    Raises:
        UsageError: there is neither, or something in it cannot be read.
    """
    place = place_of(path)
    file = file_in(place)
    if file is None:
        yield from Store(place).records()
        return
    try:
        lines = gzip.decompress(file.read_bytes()).splitlines()
    except (OSError, EOFError, zlib.error) as error:
        if file.suffix == ".csv":
            raise UsageError(
                f"{file} is a table: give the folder of the records that it was made of"
            ) from None
        raise UsageError(f"{file} is not a file of records: {error}") from None
    for number, line in enumerate(lines, 1):
        try:
            yield Record.from_json(line)
        except ValidationError:
            raise UsageError(
                f"{file}: line {number} is not a record that this version can read"
            ) from None
