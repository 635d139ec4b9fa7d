"""Files that appear whole or not at all, and files that are read many at once."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from ..errors import UsageError
from .remote import Place, RemotePath

_ABANDONED_SECONDS = 24 * 60 * 60
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}~")


def write_atomically(path: Place, content: bytes) -> None:
    """Write ``content`` to ``path`` so that a reader or a crash sees the old file or the new one.

    Missing folders are made. When this returns, the content is on the disk. A symbolic link stays,
    and what it leads to is written; devices and pipes, such as ``/dev/stdout``, are written to.

    Raises:
        UsageError: ``path`` is a folder, lies below a file, or is elsewhere and out of reach.
        OSError: it could not be written; ``path`` is as it was and nothing else is left behind.
    """
    if isinstance(path, RemotePath):
        path.write_bytes(content)
        return
    _put(path, content, Path.replace)


def create_atomically(path: Place, content: bytes) -> bool:
    """As :func:`write_atomically`, but what is there already stays, whoever put it there and when.

    Where there are no hard links, as on some network drives, it is only looked whether there is
    anything before.

    Returns:
        Whether it was written.
    """
    if isinstance(path, RemotePath):
        return path.create_bytes(content)
    try:
        _put(path, content, _link)
    except FileExistsError:
        return False
    return True


def _link(temporary: Path, path: Path) -> None:
    """Give a whole file its name, if nothing has that."""
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        raise
    except OSError:  # there are no links here
        if path.exists():
            raise FileExistsError(path) from None
        temporary.replace(path)
    else:
        temporary.unlink()


def _put(path: Path, content: bytes, place: Callable[[Path, Path], object]) -> None:
    """Write a file beside ``path``, which ``place`` is to put there when all of it is written."""
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
        place(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _flush_folder(path.parent)


def read_all(folder: Place, names: Sequence[str]) -> list[bytes | None]:
    """What is in files of a folder or of those below it; None where there is none.

    They are read in their order here, and at once where they are elsewhere.

    Raises:
        OSError: one cannot be read.
        UsageError: they are elsewhere and out of reach.
    """
    if isinstance(folder, RemotePath):
        return folder.read_all(names)
    return [_content(f"{folder}/{name}") for name in names]


def remove_abandoned(folder: Path) -> None:
    """Delete what processes that were killed had been writing in a folder and those below it.

    Only what nobody has written to for a day: on whichever host, writing takes seconds.
    """
    limit = time.time() - _ABANDONED_SECONDS
    for path in folder.rglob(".*~"):
        with suppress(OSError):  # another process has deleted it, or it is not ours to delete
            if _TEMPORARY.fullmatch(path.name) and path.lstat().st_mtime < limit:
                path.unlink()


def _content(path: str) -> bytes | None:
    try:
        # A Path, or a buffer, for each of 100,000 takes seconds.
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123
            return file.read()
    except FileNotFoundError:
        return None


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


def _flush_folder(folder: Path) -> None:
    """Make the renaming itself survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
