"""How far a sweep is: the training loop says how much it has trained, and a bar shows it."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from tqdm import tqdm

from ...errors import printable
from ...results import Record
from ...results.naming import shown
from .pace import Pace

Listener = Callable[[float], object]
"""Is told each time how much more has been trained, in epochs."""


class Watcher(Protocol):
    """What a sweep is shown to, such as a bar."""

    def train(self, epochs: float) -> None:
        """So many epochs more, or so much of one, have been trained."""

    def describe(self, text: str) -> None:
        """This is going on now."""


_listener: Listener | None = None


def listen(listener: Listener | None) -> None:
    """Have what is trained in this process from now on told to ``listener``, or to nobody."""
    global _listener
    _listener = listener


def advance(epochs: float) -> None:
    """Say that so many epochs more, or so much of one, have been trained."""
    if _listener is not None:
        _listener(epochs)


_FORMAT = "{{desc}}{{percentage:3.0f}}%|{{bar}}| {{elapsed}}<{left}{{postfix}}"
"""Of the bar, but for the time that is left, which we know better."""


class SweepBar:
    """A progress bar with the time that is left, and the number of cells that are finished.

    It grows with every step of training. A cell is drawn as long as an epoch beside what it trains,
    for scoring, measuring and timing; how long it really takes is learned from those that end.

    Args:
        cells: how many there are.
        finished: how many of them were finished before.
        epochs: how many the others will train together, with their dense networks.
        hidden: whether to show nothing.
    """

    def __init__(self, cells: int, finished: int, epochs: int, hidden: bool) -> None:
        self._cells, self._finished, self._total = cells, finished, cells + epochs
        self._epochs, self._before, self._trained = epochs, finished, 0.0
        self._pace = Pace()
        self._troubles: Counter[str] = Counter()
        self._bar: tqdm[Any] = tqdm(
            total=self._total,
            initial=finished,
            bar_format=_FORMAT.format(left="?"),
            miniters=0,
            mininterval=0.2 if sys.stderr.isatty() else 60,
            disable=hidden,
        )
        self._count()

    def __enter__(self) -> SweepBar:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def describe(self, text: str) -> None:
        """Say what is going on."""
        self._bar.set_description(printable(text))

    def train(self, epochs: float) -> None:
        """Grow by what has been trained, but never beyond the end."""
        epochs = min(epochs, self._epochs - self._trained)
        tenths = int(10 * self._trained)
        self._trained += epochs
        if int(10 * self._trained) > tenths:
            self._reckon()
        self._bar.update(min(epochs, self._total - self._bar.n))  # sums of parts of 1 are not exact

    def finish(self, record: Record) -> None:
        """Count a cell."""
        experiment = record.experiment
        self._finished += 1
        if record.status != "ok":
            self._troubles[record.status] += 1
        self._reckon()
        rest = self._total - self._bar.n
        self._bar.update(min(1, rest) if self._finished < self._cells else rest)
        self._count()
        self.describe(f"{shown(experiment['model'])} on {shown(experiment['dataset'])}")

    def _reckon(self) -> None:
        """Note how far the sweep is, and what is left of it."""
        passed = self._bar.format_dict["elapsed"]
        self._pace.note(passed, self._trained, self._finished - self._before)
        cells = self._cells - self._finished
        # Cells that failed have not trained all of theirs.
        left = self._pace.left(self._epochs - self._trained, cells) if cells else 0.0
        if left is not None:
            self._bar.bar_format = _FORMAT.format(left=tqdm.format_interval(left))

    def _count(self) -> None:
        troubles = [f"{count} {status}" for status, count in self._troubles.items()]
        counts = ", ".join([f"{self._finished}/{self._cells} cells", *troubles])
        self._bar.set_postfix_str(counts, refresh=False)
