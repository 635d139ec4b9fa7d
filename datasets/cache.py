"""Where files are kept that can be made or downloaded again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/prunebench``, or ``~/.cache/prunebench``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "prunebench"


@contextmanager
def in_one_go(path: Path) -> Iterator[Path]:
    """A path to write to, which takes the place of ``path`` at the end of the block.

    So nobody reads half of a file. Only one process may do so at a time.
    """
    part = path.with_name(f"{path.name}.part")
    yield part
    part.replace(path)
