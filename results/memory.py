"""The leaderboard of a large folder as it was the last time, for reading its records takes longer.

It is kept in the cache folder and not beside the records, so that nobody else's folder brings one
along, and it can be deleted at any time. It holds as long as prunebench's source and the records'
files are the same: names, sizes, times, and inodes, since a file that is written anew has another.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pandas as pd

from ..errors import UsageError
from ..folders import cache_folder, source_digest
from .files import write_atomically
from .record_file import file_in
from .remote import Place, RemotePath

_LEAST_FILES = 1000
_SOURCES = ("*.py", "results/*.py", "results/statistics/*.py")


def remembered(place: Place, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """What ``make`` gives of the records in a folder, or what it gave of the very same files.

    Args:
        place: where the records are; of few of them nothing is remembered.
        make: makes a table of them and of nothing else.
    """
    before = _state(place)
    if before is None:
        return make()
    name = hashlib.sha256(os.fsencode(str(place.resolve()))).hexdigest()[:16]
    path = cache_folder() / "leaderboards" / f"{name}.json.gz"
    with suppress(OSError, EOFError, ValueError, LookupError, TypeError):  # not there, or damaged
        known = json.loads(gzip.decompress(path.read_bytes()))
        if known["state"] == before:
            return _frame(known["columns"])
    frame = make()
    if _state(place) == before:
        with suppress(OSError, UsageError):  # it is only slower without
            content = json.dumps({"state": before, "columns": _columns(frame)})
            write_atomically(path, gzip.compress(content.encode(), compresslevel=1))
    return frame


def _state(place: Place) -> str | None:
    """A digest of all that a table is made of; None where that is little."""
    if file_in(place):  # which is read instead
        return None
    files = list(_remote_files(place) if isinstance(place, RemotePath) else _files(place))
    if len(files) < _LEAST_FILES:
        return None
    lines = [f"{pd.__version__} {source_digest(*_SOURCES)}", *sorted(files)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _remote_files(place: RemotePath) -> Iterator[str]:
    return (f"{name} {state}" for name, state in place.files().items() if name.endswith(".json"))


def _files(folder: Path) -> Iterator[str]:
    """The files in the folders of records, each with what tells it from an earlier one."""
    with suppress(OSError):
        for each in os.scandir(folder):
            if len(each.name) == len("ab") and each.is_dir():
                for file in os.scandir(each.path):
                    if file.name.endswith(".json"):
                        s = file.stat()
                        times = f"{s.st_mtime_ns} {s.st_ctime_ns}"
                        yield f"{each.name}/{file.name} {s.st_size} {times} {s.st_ino}"


def _columns(frame: pd.DataFrame) -> list[tuple[str, str, list[object]]]:
    """The names, types and values of a table's columns; what is missing is null."""
    return [
        (str(name), str(column.dtype), column.astype(object).where(column.notna(), None).tolist())
        for name, column in frame.items()
    ]


def _frame(columns: list[tuple[str, str, list[object]]]) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(values, dtype=kind) for name, kind, values in columns})
