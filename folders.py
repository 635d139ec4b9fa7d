"""Where files are kept that can be made or downloaded again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/prunebench``, or ``~/.cache/prunebench``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "prunebench"
