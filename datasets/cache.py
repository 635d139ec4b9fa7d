"""How files are kept that can be made or downloaded again, and how damage to them is found.

Beside a file lies its digest as ``sha256sum`` writes it. A file that has none, since an earlier
version wrote it or its process was killed, is taken as it is if it can be read.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from filelock import FileLock

from ..errors import tell

T = TypeVar("T")

_PART = 1 << 20


@contextmanager
def in_one_go(path: Path) -> Iterator[Path]:
    """A path to write to, which takes the place of ``path`` at the end of the block.

    So nobody reads half of a file, and of one that fails nothing is left. Only one process may do
    so at a time.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        yield part
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def kept(path: Path, read: Callable[[Path], T], make: Callable[[Path], object]) -> T:
    """What is in a file, which is made first where it is not there, and anew where it is damaged.

    Args:
        path: the file.
        read: gives what is in it, and raises something where that is not what belongs there.
        make: writes it to the path that it is given.

    Raises:
        OSError: nothing can be written there.
    """
    found = whole(path, read)
    if found is None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            found = whole(path, read)  # another process may have made it meanwhile
            if found is None:
                discard(path)
                with in_one_go(path) as part:
                    make(part)
                note_digest(path)
                found = read(path)
    return found


def whole(path: Path, read: Callable[[Path], T]) -> T | None:
    """What ``read`` gives of a file, or None where it is not there or damaged."""
    try:
        noted = _digest_file(path).read_bytes().split()[:1]
    except FileNotFoundError:
        noted = []
    try:
        return read(path) if not noted or noted[0] == _digest(path) else None
    except Exception:  # whatever reading a damaged file leads to
        return None


def discard(path: Path) -> None:
    """Delete a file that is damaged, and say so; nothing happens where there is none."""
    _digest_file(path).unlink(missing_ok=True)
    if path.exists():
        tell(f"{path} is damaged, or of another version, and is made anew")
        path.unlink(missing_ok=True)


def note_digest(path: Path) -> None:
    """Write the digest of a file beside it."""
    with in_one_go(_digest_file(path)) as part:
        part.write_bytes(_digest(path) + b"  " + os.fsencode(path.name) + b"\n")


def noted_digest(path: Path) -> str:
    """The SHA-256 of a file, as it is noted beside it or, where it is not, of its contents."""
    with suppress(FileNotFoundError):
        return _digest_file(path).read_text().split()[0]
    return _digest(path).decode()


def _digest_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _digest(path: Path) -> bytes:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(_PART):
            digest.update(part)
    return digest.hexdigest().encode()
