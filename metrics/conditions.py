"""Whether times can be believed: one decision for all that is timed.

Beside the networks of which something is to be said runs the *control*: the dense network against
an identical copy of itself, by the same protocol and in the same turns. If these come out
different, so may any others. What other processes did meanwhile is read off the system's own books:
all that this process did not use itself, other virtual machines on the same hardware included.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeGuard

from .timing import Ratio

FEWEST_SAMPLES = 6
"""The least number of samples whose extremes hold the median between them with 95 % confidence."""

# A difference of identical networks that is smaller than what a measurement is asked to resolve
# does no harm; a twentieth of all controls would miss 1 by a little anyhow.
_EQUAL = 0.02
_WIDEST = 0.1
_MOST_LOAD = 0.1

_STATISTICS = Path("/proc/stat")


@dataclass(frozen=True)
class Conditions:
    """What was seen while networks were timed against each other.

    Attributes:
        samples: of each network.
        load: the share of the processor that other processes took, between 0 and 1; None where the
            system does not tell.
        control: the ratio of the times of identical networks; None where they were not to be had.
    """

    samples: int
    load: float | None
    control: Ratio | None

    def doubt(self, found: Ratio) -> str:
        """Why a ratio that was found under these conditions cannot be believed; empty if it can.

        It cannot if there are fewer samples than :data:`FEWEST_SAMPLES`; if other processes took
        more than a tenth of the processor; if the interval of identical networks misses 1, and
        their ratio by more than 2 %; or if one of the intervals is wider than ±10 %.
        """
        reasons = []
        if self.samples < FEWEST_SAMPLES:
            reasons.append(f"{self.samples} samples are too few")
        if _is_busy(self.load):
            reasons.append(f"other processes took {100 * self.load:.0f} % of the processor")
        if self.control is None:
            reasons.append("there was no identical network to compare with")
        elif _is_off(self.control):
            reasons.append(f"identical networks came out at {self.control}")
        widest = max(each.precision for each in (found, self.control or found))
        if not widest <= _WIDEST:
            reasons.append(f"the interval is ±{100 * widest:.0f} % wide")
        return "; ".join(reasons)


def _is_busy(load: float | None) -> TypeGuard[float]:
    return load is not None and load > _MOST_LOAD


def _is_off(control: Ratio) -> bool:
    misses = not control.low <= 1 <= control.high
    return misses and abs(math.log(control.value)) > math.log1p(_EQUAL)


class ProcessorTimes(NamedTuple):
    """The books of the processor at a moment; of two moments :func:`load_between` is made.

    Attributes:
        wall: seconds on a clock.
        own: seconds that this process has computed, on all cores together.
        busy: seconds that each core of the machine was not idle, by its number; empty where the
            system does not tell.
        allowed: numbers of the cores on which this process may run.
        running: processes that want a core, in the mean over a minute; None where the system does
            not tell.
        cores: of the machine.
    """

    wall: float
    own: float
    busy: Mapping[int, float]
    allowed: frozenset[int]
    running: float | None
    cores: int


def processor_times() -> ProcessorTimes:
    """The books as they stand."""
    cores = os.cpu_count() or 1
    affinity = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(cores)
    return ProcessorTimes(
        wall=time.perf_counter(),
        own=time.process_time(),
        busy=_busy(_STATISTICS.read_text()) if _STATISTICS.exists() else {},
        allowed=frozenset(affinity),
        running=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        cores=cores,
    )


def load_between(before: ProcessorTimes, after: ProcessorTimes) -> float | None:
    """The share of the processor that other processes took between two moments.

    It is that of the whole machine, or of the cores on which this process may run where it is
    larger there. Where the system keeps no books of its cores it is what the processes that want to
    run leave for others than this one; where it does not tell that either, None.
    """
    wall = after.wall - before.wall
    own = after.own - before.own
    if after.busy:
        return max(
            _share(before, after, cores)
            for cores in (set(after.busy), after.busy.keys() & after.allowed)
            if cores
        )
    if after.running is None or wall <= 0:
        return None
    return min(max(after.running - own / wall, 0.0) / after.cores, 1.0)


def disturbed_since(before: ProcessorTimes) -> bool:
    """Whether other processes have taken too much since then for times to be believed."""
    return _is_busy(load_between(before, processor_times()))


def _share(before: ProcessorTimes, after: ProcessorTimes, cores: set[int]) -> float:
    busy = sum(after.busy[core] - before.busy.get(core, 0.0) for core in cores)
    # The system counts in ticks, a part of which may not have been used.
    others = busy - (after.own - before.own) - len(cores) * _tick()
    total = (after.wall - before.wall) * len(cores)
    return min(max(others / total, 0.0), 1.0) if total > 0 else 0.0


def _busy(statistics: str) -> dict[int, float]:
    """Of each core, from the text of ``/proc/stat``; idle is its fourth number, and waiting next.

    Time that other virtual machines took ("stolen") is busy. The last two numbers, time of guests,
    are in the first two already.
    """
    busy = {}
    for line in statistics.splitlines():
        name, _, numbers = line.partition(" ")
        if name.startswith("cpu") and name[3:].isdecimal():
            ticks = [int(number) for number in numbers.split()[:8]]
            busy[int(name[3:])] = (sum(ticks) - sum(ticks[3:5])) * _tick()
    return busy


def _tick() -> float:
    return 1.0 / os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 0.01
