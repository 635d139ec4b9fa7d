"""The process from which workers are forked, which has imported all that they need.

Importing torch, and what torch's optimizers import when they are first used, takes a process some
seconds. This process does so once, beside the one that prepares the sweep, and a worker forked from
it can train at once. It has computed nothing, asked no GPU and run nobody's code, so that workers
are as if they had been started afresh. It is multiprocessing's "forkserver": it lives as long as
the process that started it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import forkserver

_PRELOADED = f"{__package__}.preloaded"


def needed(workers: int, timeout: float | None, memory_limit: int | None) -> bool:
    """Whether jobs are run in processes of their own: several at once, or one that can be stopped.

    It is asked before anything that needs torch is imported.
    """
    return workers > 1 or timeout is not None or memory_limit is not None


def start(devices: Iterable[str]) -> str:
    """Have workers ready soon, where they may be forked; this waits for nothing.

    A GPU's driver may not survive a fork, nor may what other systems than Linux compute with.

    Args:
        devices: what the workers are to compute on.

    Returns:
        How multiprocessing is to start them.
    """
    if sys.platform != "linux" or any(device != "cpu" for device in devices):
        return "spawn"
    multiprocessing.get_context("forkserver").set_forkserver_preload([_PRELOADED])
    # Ctrl-C is left to this process, as in workers; it might come before they can say so.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with _path_for_imports():
            forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return "forkserver"


@contextmanager
def _path_for_imports() -> Iterator[None]:
    """Within it a Python that is started imports from where this one does."""
    own = dict(os.environ)
    os.environ.update(PYTHONPATH=os.pathsep.join(sys.path), PYTHONSAFEPATH="1")
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(own)
