"""Tasks: what is done with jobs in another process, and what comes of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ...results import Record
from .jobs import Stack


@dataclass(frozen=True)
class Task:
    """A function of a module, which another process can load, and the jobs that it is called with.

    Attributes:
        function: what is called; it gives the records that it has saved.
        jobs: with what.
        timeout: seconds after which it is stopped, if there is such a limit.
    """

    function: Callable[[Stack], Sequence[Record]]
    jobs: Stack
    timeout: float | None = None


@dataclass(frozen=True)
class Ended:
    """A task that has come to an end.

    Attributes:
        task: which.
        records: what it has saved, if it was done.
        error: what ended it before it was done; None if it was done.
    """

    task: Task
    records: Sequence[Record] = ()
    error: Exception | None = None


class Pool(Protocol):
    """Processes that do tasks; one that dies takes nothing with it but its own."""

    @property
    def places(self) -> int:
        """How many tasks can be done at once."""

    @property
    def busy(self) -> bool:
        """Whether any task is being done."""

    @property
    def trained(self) -> float:
        """How many epochs all tasks have trained."""

    def work(self, tasks: deque[Task], seconds: float) -> list[Ended]:
        """Take the first of ``tasks`` as there is room for them, and wait for news.

        Returns:
            What has ended, after ``seconds`` at the latest.

        Raises:
            UsageError: no process can be started.
        """

    def close(self) -> None:
        """End all that is being done, at once."""
