"""A machine on which time passes only as a test says."""

from __future__ import annotations

import random
from collections.abc import Callable
from importlib import import_module

import pytest
from torch import Tensor, nn

from prunebench.metrics.conditions import ProcessorTimes


class Machine:
    """Two cores, of which other processes take a share, and a clock.

    Attributes:
        now: seconds on the clock.
        others: share of both cores that other processes take.
        slowdown: factor by which a forward pass takes longer, drawn anew for each.
    """

    def __init__(self) -> None:
        self.now, self.others = 0.0, 0.0
        self._own, self._busy = 0.0, 0.0
        self.slowdown: Callable[[], float] = lambda: 1.0

    def perf_counter(self) -> float:
        return self.now

    def compute(self, seconds: float) -> None:
        seconds *= self.slowdown()
        self.now += seconds
        self._own += seconds
        self._busy += seconds * (1 + 2 * self.others)

    def processor_times(self) -> ProcessorTimes:
        both = dict.fromkeys((0, 1), self._busy / 2)
        return ProcessorTimes(self.now, self._own, both, frozenset((0, 1)), None, 2)

    def __deepcopy__(self, memo: object) -> Machine:
        return self


class TimedNetwork(nn.Module):
    """A linear layer that takes as long as it is told; a copy of it may take longer.

    Args:
        machine: whose time passes.
        seconds: of a forward pass.
        of_copies: factors by which copies take longer, one after the other and then 1.
    """

    def __init__(self, machine: Machine, seconds: float, of_copies: list[float] | None = None):
        super().__init__()
        self.machine, self.seconds, self.of_copies = machine, seconds, of_copies or []
        self.layer = nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        self.machine.compute(self.seconds)
        return self.layer(inputs)

    def __deepcopy__(self, memo: dict[int, object]) -> TimedNetwork:
        factor = self.of_copies.pop(0) if self.of_copies else 1.0
        twin = TimedNetwork(self.machine, self.seconds * factor)
        twin.load_state_dict(self.state_dict())
        return twin.train(self.training)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """The machine, in the place of the real one."""
    made = Machine()
    monkeypatch.setattr(import_module("prunebench.metrics.timing"), "time", made)
    for name in ("conditions", "inference", "side_by_side"):
        module = import_module(f"prunebench.metrics.{name}")
        monkeypatch.setattr(module, "processor_times", made.processor_times)
    return made


@pytest.fixture
def timed_network() -> type[TimedNetwork]:
    return TimedNetwork


@pytest.fixture
def noise() -> Callable[[], float]:
    """A factor that is as often ten times as large as not: a machine full of other processes."""
    lots = random.Random(0)
    return lambda: lots.choice((1.0, 10.0))
