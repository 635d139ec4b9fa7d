"""Timing calls against each other so that it can be believed.

All calls are timed in turn, in another random order each time, so that whatever slows the machine
down meets all of them. A sample repeats its call until the clock's resolution does not matter. The
median and the interquartile range are reported; a ratio is the median of the ratios of samples
taken in the same turn, with its confidence interval. Whole passes over a split are timed in turn
too, and reported by their means. On a GPU with CUDA, events on the device are timed, and elsewhere
what passes until the device has finished. Whether any of it can be
believed is judged in :mod:`.conditions`.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Annotated, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from ..devices import finish

Call = Callable[[], object]

_CPU = torch.device("cpu")

_CHECKED_EVERY = 10

# What takes so many samples' time at once is not taken for it because it was interrupted.
_LONG = 20

# The numbers of options in glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


@dataclass(frozen=True)
class Protocol:
    """For how long calls are timed.

    Args:
        repeats: samples of each call at least.
        most_repeats: samples at most.
        precision: half the width of a ratio's 95 % confidence interval, relative to the ratio, at
            which sampling ends.
        sample_ms: the least duration of a sample, in milliseconds.
        most_seconds: after which nothing is sampled beyond the least number, however wide the
            interval is.
    """

    repeats: Annotated[int, Field(ge=3)] = 30
    most_repeats: Annotated[int, Field(ge=3)] = 200
    precision: Annotated[float, Field(gt=0)] = 0.02
    sample_ms: Annotated[float, Field(gt=0)] = 5.0
    most_seconds: Annotated[float, Field(gt=0)] = 60.0

    @property
    def samples(self) -> int:
        """Of each call at most."""
        return max(self.repeats, self.most_repeats)


STANDARD = Protocol()


class Ratio(NamedTuple):
    """A ratio of times, and its 95 % confidence interval."""

    value: float
    low: float
    high: float

    @property
    def precision(self) -> float:
        """Half the width of the interval, relative to the ratio."""
        return (self.high - self.low) / (2 * self.value)

    def __str__(self) -> str:
        """As ``1.02× (0.99–1.05)``."""
        return f"{self.value:.2f}× ({self.low:.2f}–{self.high:.2f})"


def interleaved(
    calls: Mapping[str, Call],
    protocol: Protocol,
    pairs: Sequence[tuple[str, str]] = (),
    device: torch.device = _CPU,
    hopeless: Callable[[], bool] = lambda: False,
) -> dict[str, np.ndarray]:
    """Seconds of each call, sample by sample.

    Args:
        calls: what is timed, by name.
        protocol: for how long.
        pairs: names whose ratios are to be known as precisely as the protocol says.
        device: where the calls compute.
        hopeless: whether nothing is sampled beyond the least number, since no more can be learned.
    """
    seconds = _clock(device)
    # Calibrating runs each call for a few samples' time: it is the warm-up as well.
    passes = {
        name: _passes_in_a_sample(call, protocol.sample_ms / 1000, seconds)
        for name, call in calls.items()
    }
    order = np.random.default_rng(0)
    samples: dict[str, list[float]] = {name: [] for name in calls}
    start = time.perf_counter()
    for taken in range(1, protocol.samples + 1):
        for name in order.permutation(list(calls)):
            samples[name].append(seconds(calls[name], passes[name]) / passes[name])
        if taken < protocol.repeats:
            continue
        if time.perf_counter() - start > protocol.most_seconds or hopeless():
            break
        if (taken - protocol.repeats) % _CHECKED_EVERY == 0:
            ratios = (ratio(np.array(samples[one]), np.array(samples[two])) for one, two in pairs)
            if all(each.precision <= protocol.precision for each in ratios):
                break
    return {name: np.array(taken) for name, taken in samples.items()}


def whole_passes(
    networks: Mapping[str, Callable[[Tensor], object]],
    batches: Callable[[], Iterable[Tensor]],
    passes: int,
    device: torch.device = _CPU,
) -> dict[str, np.ndarray]:
    """Seconds that each network computes in a whole pass over some batches, pass by pass.

    The networks take turns, in another random order each time, after a pass each that is not
    counted. The clock stands still while a batch is made.

    Args:
        networks: what is timed, by name.
        batches: gives the batches of a pass, the same ones each time.
        passes: of each network.
        device: where they compute.
    """
    seconds = _clock(device)

    def one_pass(network: Callable[[Tensor], object]) -> float:
        return sum(seconds(partial(network, inputs), 1) for inputs in batches())

    for network in networks.values():
        one_pass(network)
    order = np.random.default_rng(0)
    samples: dict[str, list[float]] = {name: [] for name in networks}
    for _ in range(passes):
        for name in order.permutation(list(networks)):
            samples[name].append(one_pass(networks[name]))
    return {name: np.array(taken) for name, taken in samples.items()}


def ratio(numerators: np.ndarray, denominators: np.ndarray) -> Ratio:
    """The median of ratios of samples that were taken in the same turn.

    The interval is that of the order statistics, which supposes no distribution, its ranks by the
    normal approximation of the binomial distribution.
    """
    ratios = np.sort(numerators / denominators)
    count = len(ratios)
    spread = 1.96 * np.sqrt(count) / 2
    low = max(int(np.floor(count / 2 - spread)), 0)
    return Ratio(float(np.median(ratios)), float(ratios[low]), float(ratios[count - 1 - low]))


def ratio_of_means(numerators: np.ndarray, denominators: np.ndarray) -> Ratio:
    """The ratio of the means of two samples or more that were taken in the same turns.

    The interval is Student's with the variance of the ratio estimator: that of the differences
    between the numerators and what the ratio makes of the denominators.

    Source: Cochran: Sampling Techniques, 3rd edition, 1977, section 2.11.
    """
    from scipy.special import stdtrit  # few processes need it

    count, mean = len(numerators), float(denominators.mean())
    value = float(numerators.mean()) / mean
    deviation = float(np.std(numerators - value * denominators, ddof=1))
    margin = float(stdtrit(count - 1, 0.975)) * deviation / (np.sqrt(count) * mean)
    return Ratio(value, value - margin, value + margin)


@contextmanager
def pinned(threads: int) -> Iterator[list[int]]:
    """Stay on as many processor cores as there are threads; which ones is given.

    Where the system cannot do that, nothing happens, and no cores are given.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield []
        return
    allowed = os.sched_getaffinity(0)
    # The first core is the one that serves interrupts.
    chosen = sorted(allowed)[-threads:]
    os.sched_setaffinity(0, chosen)
    try:
        yield chosen
    finally:
        os.sched_setaffinity(0, allowed)


def keep_memory() -> None:
    """Have this process keep the memory that it frees, for the rest of its life.

    Else the C library gives large blocks back to the system and takes them again in every forward
    pass, or does not, as chance arranges the heap: the same network was found to take 36 or 55
    milliseconds. Where the C library is not glibc, nothing happens.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        for option, value in ((_MMAP_THRESHOLD, 32 << 20), (_TRIM_THRESHOLD, 2**31 - 1)):
            library.mallopt(option, value)


def _passes_in_a_sample(call: Call, least: float, seconds: Callable[[Call, int], float]) -> int:
    seconds(call, 1)
    passes = 1
    while (elapsed := _uninterrupted(call, passes, least, seconds)) < least:
        needed = passes * least / max(elapsed, 1e-6)
        passes = max(passes + 1, min(10 * passes, round(1.1 * needed)))
    return passes


def _uninterrupted(
    call: Call, passes: int, least: float, seconds: Callable[[Call, int], float]
) -> float:
    """Seconds of so many passes, the least of five where they seem to be enough for a sample.

    Else a call that another process interrupted once would be sampled by fewer passes than its like
    for the whole of the measurement, and short samples slip in between interruptions that long ones
    meet: identical networks were found to differ by a factor of three.
    """
    fastest = seconds(call, passes)
    for _ in range(4):
        if not least <= fastest < _LONG * least:
            break
        fastest = min(fastest, seconds(call, passes))
    return fastest


def _clock(device: torch.device) -> Callable[[Call, int], float]:
    return partial(_events_on_gpu if device.type == "cuda" else _seconds, device)


def _seconds(device: torch.device, call: Call, passes: int) -> float:
    finish(device)
    start = time.perf_counter()
    for _ in range(passes):
        call()
    finish(device)
    return time.perf_counter() - start


def _events_on_gpu(device: torch.device, call: Call, passes: int) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    finish(device)
    start.record()
    for _ in range(passes):
        call()
    end.record()
    finish(device)
    return float(start.elapsed_time(end)) / 1000
