"""Checkpoints: an interrupted training goes on where it was, and ends with the same bits."""

from __future__ import annotations

import hashlib
import io
import shutil
import time
from pathlib import Path
from typing import Any

import torch

from ...datasets import discard
from ...errors import UsageError
from . import distributed

_FORMAT = b"prunebench checkpoint 2\n"
"""What a checkpoint begins with; then come the SHA-256 of its content, and the content."""

STEPS_BETWEEN_QUESTIONS = 20
"""Steps of an epoch between two at which processes agree whether it is time for a checkpoint."""


class Checkpoint:
    """The checkpoint of one training.

    Args:
        path: its file, which need not be there.
        seconds: time between two checkpoints.

    Attributes:
        seconds_before: how long the training had taken when what was loaded was saved.
    """

    def __init__(self, path: Path, seconds: float) -> None:
        self._path, self._seconds = path, seconds
        self._start = self._last = time.monotonic()
        self.seconds_before = 0.0

    def load(self) -> dict[str, Any] | None:
        """Start the clock; give what was saved last, tensors, numbers and texts, or None."""
        self._start = self._last = time.monotonic()
        saved = self._whole()
        if not distributed.agreed(saved is not None):
            if distributed.rank() == 0:
                discard(self._path)
            return None
        assert saved is not None  # all processes read the same file
        self.seconds_before = saved["seconds"]
        return saved

    def _whole(self) -> dict[str, Any] | None:
        """What was saved, unless the file is not there, damaged or cannot be read."""
        try:
            file = self._path.read_bytes()
        except OSError:
            return None
        content = file[len(_FORMAT) + hashlib.sha256().digest_size :]
        if file != _sealed(content):
            return None
        try:
            saved: dict[str, Any] = torch.load(
                io.BytesIO(content), map_location="cpu", weights_only=True
            )
        except Exception:  # whatever another version may have saved
            return None
        return saved

    def require_processes(self, count: int) -> None:
        """Make sure that as many processes go on as have made it: others divide batches otherwise.

        Args:
            count: how many have made it.

        Raises:
            UsageError: others go on; all of them are told so.
        """
        here = distributed.world_size()
        if here != count:
            raise UsageError(
                f"a training cannot go on in {_processes(here)}: {self._path} is the checkpoint of "
                f"{_processes(count)}; start as many, or delete the file to begin that training "
                "again"
            )

    def is_due(self, step: int = 0) -> bool:
        """Whether it is time for one after this step of an epoch.

        Processes that share the training have to agree, and ask each other only now and then.
        """
        if distributed.world_size() > 1 and step % STEPS_BETWEEN_QUESTIONS:
            return False
        return distributed.agreed(time.monotonic() - self._last >= self._seconds)

    def exists(self) -> bool:
        """Whether there is one."""
        return distributed.agreed(self._path.exists())

    def save(self, content: dict[str, Any]) -> None:
        """Put ``content`` in the place of what was saved before."""
        buffer = io.BytesIO()
        seconds = self.seconds_before + time.monotonic() - self._start
        torch.save({**content, "seconds": seconds}, buffer)
        distributed.write(self._path, _sealed(buffer.getvalue()))
        self._last = time.monotonic()


def _processes(count: int) -> str:
    return "1 process" if count == 1 else f"{count} processes"


def _sealed(content: bytes) -> bytes:
    return _FORMAT + hashlib.sha256(content).digest() + content


class Checkpoints:
    """The checkpoints of all trainings of a cell, or of a dense network.

    Args:
        folder: where records are; checkpoints are in its ``checkpoints`` folder.
        identity: of the cell or the dense network.
        seconds: time between two checkpoints; None makes none.
    """

    def __init__(self, folder: Path, identity: str, seconds: float | None) -> None:
        self._folder = folder / "checkpoints" / identity
        self._seconds = seconds

    def of(self, training: str) -> Checkpoint | None:
        """The checkpoint of the training of that name."""
        if self._seconds is None:
            return None
        return Checkpoint(self._folder / f"{training.replace(' ', '-')}.pt", self._seconds)

    def remove(self) -> None:
        """Delete them, when what they are for is done."""
        shutil.rmtree(self._folder, ignore_errors=True)
