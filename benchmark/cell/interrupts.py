"""Ctrl-C: it ends a sweep, whatever becomes of the exception that Python raises for it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_came = False


@contextmanager
def heard() -> Iterator[None]:
    """Within it Ctrl-C is remembered, for :func:`raise_interrupt`.

    Python drops the exception where it meets the end of an object, and libraries may answer it with
    an error of their own: a sweep would go on, or put the error on record.
    """
    global _came
    before = signal.getsignal(signal.SIGINT)
    is_ours = before is signal.default_int_handler
    if not is_ours or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, _remember)
    try:
        yield
    finally:
        _came = False
        signal.signal(signal.SIGINT, before)


def raise_interrupt() -> None:
    """Do nothing, unless there was a Ctrl-C that was :func:`heard`.

    Raises:
        KeyboardInterrupt: there was one.
    """
    if _came:
        raise KeyboardInterrupt


@contextmanager
def held_back() -> Iterator[None]:
    """Within it Ctrl-C waits for the end of what must not be left half done; a second one does not.

    Raises:
        KeyboardInterrupt: at its end, if there was a Ctrl-C.
    """
    before = signal.getsignal(signal.SIGINT)
    if not callable(before) or threading.current_thread() is not threading.main_thread():
        yield
        return
    waiting: list[tuple[int, FrameType | None]] = []

    def hold(number: int, frame: FrameType | None) -> None:
        waiting.append((number, frame))
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, hold)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    for each in waiting:
        before(*each)


def _remember(number: int, frame: FrameType | None) -> None:
    global _came
    _came = True
    signal.default_int_handler(number, frame)
