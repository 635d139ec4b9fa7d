"""Things that are timed in turn, one of them twice as a control, and ratios of their times."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from prunebench.metrics import Conditions, Ratio, load_between, processor_times
from prunebench.metrics import ratio as ratio_of
from prunebench.metrics.conditions import ProcessorTimes


class Judged(NamedTuple):
    """A ratio of times, that of identical things beside it, and what speaks against believing it.

    Attributes:
        ratio: with its 95 % interval.
        control: the same of things that are identical.
        doubt: why there is no verdict; empty if there is one.
    """

    ratio: Ratio
    control: Ratio
    doubt: str


class Turns(NamedTuple):
    """Seconds of some things by their names, turn by turn.

    Attributes:
        seconds: of each thing in each turn.
        load: the share of the processor that processes took that were none of these.
    """

    seconds: Mapping[str, np.ndarray]
    load: float | None

    def ratio(self, name: str, other: str, control: tuple[str, str]) -> Judged:
        """The time of one thing over that of another; ``control`` names two that are identical."""
        found, identical = (
            ratio_of(self.seconds[one], self.seconds[two]) for one, two in ((name, other), control)
        )
        conditions = Conditions(len(self.seconds[name]), self.load, identical)
        return Judged(found, identical, conditions.doubt(found))


def take_turns(things: Mapping[str, Callable[[], float]], turns: int) -> Turns:
    """Have each thing tell its seconds so many times; who goes first changes each time."""
    names = list(things)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    before = _books()
    for _ in tqdm(range(turns), leave=False):
        for name in names:
            seconds[name].append(things[name]())
        names.append(names.pop(0))
    found = {name: np.array(each) for name, each in seconds.items()}
    return Turns(found, load_between(before, _books()))


def _books() -> ProcessorTimes:
    """The books of the processor, by which what our own processes took is ours."""
    books, times = processor_times(), os.times()
    return books._replace(own=books.own + times.children_user + times.children_system)
