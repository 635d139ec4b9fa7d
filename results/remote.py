"""Files that are not on this machine: paths below a URL, wherever fsspec can read and write.

Object stores write a file whole or not at all, and rename none. fsspec is imported when a URL is
used; credentials are its business.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

from ..errors import UsageError, lacking, message_of

_URL = re.compile(r"([A-Za-z][\w+.:-]+)://(.+)")
_HERE = ("file", "local")


class UnreachableError(UsageError):
    """A file that is kept elsewhere can be neither read nor written now."""


@dataclass(frozen=True)
class RemotePath:
    """A place below a URL, with as much of ``pathlib.Path`` as records need.

    Attributes:
        protocol: such as ``s3``.
        path: what follows it.
    """

    protocol: str
    path: PurePosixPath

    def __str__(self) -> str:
        return f"{self.protocol}://{self.path}"

    def __truediv__(self, name: str) -> RemotePath:
        return replace(self, path=self.path / name)

    @property
    def name(self) -> str:
        """The last part of it."""
        return self.path.name

    @property
    def suffix(self) -> str:
        """What the name ends with from its last dot on."""
        return self.path.suffix

    @property
    def parent(self) -> RemotePath:
        """The folder that it is in."""
        return replace(self, path=self.path.parent)

    def with_name(self, name: str) -> RemotePath:
        """Another file in the same folder."""
        return replace(self, path=self.path.with_name(name))

    def with_suffix(self, suffix: str) -> RemotePath:
        """The file whose name differs in its ending."""
        return replace(self, path=self.path.with_suffix(suffix))

    def absolute(self) -> RemotePath:
        """The same, for a URL depends on no working directory."""
        return self

    def resolve(self) -> RemotePath:
        """The same, for there are no symbolic links."""
        return self

    def is_symlink(self) -> bool:
        """Whether it is a symbolic link, which there are none of."""
        return False

    def exists(self) -> bool:
        """Whether there is a file or a folder."""
        with self._asking() as (files, path):
            return bool(files.exists(path))

    def is_file(self) -> bool:
        """Whether there is a file."""
        with self._asking() as (files, path):
            return bool(files.isfile(path))

    def is_dir(self) -> bool:
        """Whether there is anything below it."""
        with self._asking() as (files, path):
            return bool(files.isdir(path))

    def read_bytes(self) -> bytes:
        """What is in the file.

        Raises:
            FileNotFoundError: there is none.
            UnreachableError: it cannot be read.
        """
        with self._asking() as (files, path):
            return bytes(files.cat_file(path))

    def read_all(self, names: Sequence[str]) -> list[bytes | None]:
        """What is in files below it, several of which are read at once; None where there is none.

        Raises:
            UnreachableError: one cannot be read.
        """
        with self._asking() as (files, path):
            paths = [f"{path}/{name}" for name in names]
            found = files.cat(paths, on_error="return")
            for each in found.values():
                if isinstance(each, Exception) and not isinstance(each, FileNotFoundError):
                    raise each
            return [found[each] if isinstance(found[each], bytes) else None for each in paths]

    def write_bytes(self, content: bytes) -> None:
        """Put a file there, in the place of an earlier one.

        Raises:
            UnreachableError: it cannot be written.
        """
        self._put(content)

    def create_bytes(self, content: bytes) -> bool:
        """Put a file there, unless there is one, and say whether it was put there.

        Of two at once one is put there, if the store knows of such writing.

        Raises:
            UnreachableError: it cannot be written.
        """
        try:
            self._put(content, mode="create")
        except FileExistsError:
            return False
        except UnreachableError:  # perhaps since it does not
            if self.exists():
                return False
            self._put(content)
        return True

    def _put(self, content: bytes, **how: str) -> None:
        try:
            with self._asking() as (files, path):
                try:
                    files.pipe_file(path, content, **how)
                except FileNotFoundError:  # there are folders, as object stores have none
                    with suppress(FileExistsError):
                        files.mkdir(path.rpartition("/")[0], create_parents=False)
                    files.pipe_file(path, content, **how)
        except FileNotFoundError as error:
            raise self._out_of_reach(error) from None

    def unlink(self, *, missing_ok: bool = False) -> None:
        """Delete the file.

        Raises:
            FileNotFoundError: there is none, which may be ``missing_ok``.
        """
        try:
            with self._asking() as (files, path):
                files.rm_file(path)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def files(self) -> dict[str, str]:
        """All files below it, by path from here, and what tells each from an earlier one."""
        try:
            with self._asking() as (files, path):
                found = files.find(path, detail=True)
        except FileNotFoundError:
            return {}
        below = f"{path}/"
        return {
            name.removeprefix(below): str(sorted(details.items(), key=str))
            for name, details in found.items()
            if name.startswith(below)
        }

    @contextmanager
    def _asking(self) -> Iterator[tuple[Any, str]]:
        """The file system, which is to remember nothing, and what it calls this path."""
        if missing := lacking("remote", "fsspec"):
            raise UsageError(f"{self}: {missing}")
        import fsspec

        try:
            files, path = fsspec.url_to_fs(str(self))
        except (ImportError, ValueError) as error:
            raise UsageError(
                f"{self} is not allowed: {message_of(error)}; for S3 pip install '.[remote]' in "
                "the checkout of prunebench"
            ) from None
        try:
            files.invalidate_cache()
            yield files, path
        except (FileExistsError, FileNotFoundError):
            raise
        except Exception as error:  # whatever a network and its packages raise
            raise self._out_of_reach(error) from None

    def _out_of_reach(self, error: Exception) -> UnreachableError:
        return UnreachableError(
            f"{self} is out of reach: {type(error).__name__}: {message_of(error)}"
        )


Place: TypeAlias = Path | RemotePath
"""Where files are: on this machine or elsewhere."""


def place_of(text: str | Place) -> Place:
    """The place that a path or a URL such as ``s3://bucket/runs`` means."""
    found = _URL.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return text if isinstance(text, RemotePath) else Path(text)
    protocol, path = found.groups()
    return Path(path) if protocol in _HERE else RemotePath(protocol, PurePosixPath(path))


def working_folder(place: Place) -> Path:
    """The folder of this machine that has what is needed beside records: theirs, if that is here.

    What goes with a URL is in ``runs``, below the parts of that.
    """
    if isinstance(place, Path):
        return place
    parts = (part for part in place.path.parts if part not in ("/", ".", ".."))
    return Path("runs", place.protocol.replace(":", "-"), *parts)
