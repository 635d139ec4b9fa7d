"""How much memory a process holds, as the system says."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ...errors import UsageError


def require_known(option: str) -> None:
    """Make sure that this system says how much memory a process holds.

    Args:
        option: what needs to know it.

    Raises:
        UsageError: it does not.
    """
    if sys.platform != "linux":
        raise UsageError(f"{option} is not to be had on {sys.platform}: it needs Linux")


def resident_bytes(process: int) -> int:
    """Bytes of memory that a process holds, what it shares with others included; 0 if it is gone.

    Args:
        process: its number.
    """
    try:
        pages = Path(f"/proc/{process}/statm").read_text().split()[1]
    except (OSError, IndexError):
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
