"""Where files are kept that can be made or downloaded again, and by what source they were made."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/prunebench``, or ``~/.cache/prunebench``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "prunebench"


def source_digest(*patterns: str) -> str:
    """SHA-256 of Python's version and of prunebench's own files, by which what was made is known.

    Args:
        patterns: of paths in the package, as for ``Path.glob``.
    """
    root = Path(__file__).resolve().parent
    digest = hashlib.sha256(sys.version.encode())
    for path in sorted(path for pattern in patterns for path in root.glob(pattern)):
        digest.update(f"{path.relative_to(root)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
