"""Writing a site: all of it or nothing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from ...errors import UsageError, lacking
from .pages import INDEX, STYLE, Content, Pages

_OF_EVERY_SITE = {INDEX, STYLE, "methods", "results"}


def write_site(content: Content, output: Path) -> None:
    """Write a site into a folder, which is there whole or as it was before.

    The same content gives the same bytes.

    Raises:
        UsageError: the folder has files in it that are no site, or a package is missing.
        OSError: a file could not be written.
    """
    if reason := lacking("site", "markdown_it"):
        raise UsageError(f"a site is not written: {reason}")
    with _replaced(output) as folder:
        Pages(content, folder).write()


@contextmanager
def _replaced(output: Path) -> Iterator[Path]:
    """A folder that takes the place of an empty one or of an earlier site once it is full."""
    output = output.resolve()
    found = {path.name for path in output.iterdir()} if output.is_dir() else set()
    if found and not found >= _OF_EVERY_SITE:
        raise UsageError(f"{output} has files in it that are no site: give another folder")
    new = output.with_name(f".{output.name}.{uuid4().hex}~")
    new.mkdir(parents=True)
    try:
        yield new
        if output.exists():
            shutil.rmtree(output)
        new.replace(output)
    finally:
        shutil.rmtree(new, ignore_errors=True)
