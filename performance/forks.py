"""Calls in processes of their own, which share what is there already, and the memory they take.

All of it needs a Unix, and memory needs Linux.
"""

from __future__ import annotations

import gc
import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Cost(NamedTuple):
    """What a call costs: seconds, and bytes at the peak beyond what was held before."""

    seconds: float
    bytes: int


def forked(call: Callable[[], T], timeout: float | None = None) -> T:
    """What a call gives in a process of its own.

    Raises:
        TimeoutError: it took too many seconds.
        ChildProcessError: it raised an exception, which is said, or the process was killed.
    """
    gc.freeze()  # what is there already takes the collector no time
    receiving, sending = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_send, args=(call, sending))
    process.start()
    gc.unfreeze()
    sending.close()
    try:
        if not receiving.poll(timeout):
            raise TimeoutError(f"took more than {timeout:g} seconds")
        given, error = receiving.recv()
    except EOFError:
        raise ChildProcessError("killed, for want of memory perhaps") from None
    finally:
        process.kill()
        process.join()
    if error:
        raise ChildProcessError(error)
    result: T = given
    return result


def cost(call: Callable[[], object]) -> Cost:
    """What a call costs in this process."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here on
    before, start = _status("VmRSS"), time.perf_counter()
    call()
    return Cost(time.perf_counter() - start, max(_status("VmHWM") - before, 0))


def _send(call: Callable[[], object], sending: Connection) -> None:
    try:
        sending.send((call(), ""))
    except Exception as error:  # whatever it is, it is told
        sending.send((None, str(error) or type(error).__name__))


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise OSError(f"this system does not tell {name}")
