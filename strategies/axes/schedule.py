"""Schedules: how dense the network is after each of K rounds of pruning."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from ...hyperparameters import Configured
from ...registry import Registry


@dataclass(frozen=True)
class Schedule(Configured, ABC):
    """The way from density 1 down to the final density."""

    @abstractmethod
    def density(self, final: float, round_number: int, rounds: int) -> float:
        """Fraction of the prunable weights kept after round ``round_number`` of 1 … ``rounds``.

        It never rises, and after the last round it is ``final``.
        """


SCHEDULES: Registry[Schedule] = Registry("schedule", "schedules", Schedule, home=__name__)


@SCHEDULES.register
@dataclass(frozen=True)
class OneShot(Schedule):
    """Everything in the first round; later rounds only fine-tune."""

    def density(self, final: float, round_number: int, rounds: int) -> float:
        """``final`` from the first round on."""
        return final


@SCHEDULES.register
@dataclass(frozen=True)
class Linear(Schedule):
    """The same number of weights in each round."""

    def density(self, final: float, round_number: int, rounds: int) -> float:
        """1 − (1 − final) · k/K."""
        return final if round_number == rounds else 1 - (1 - final) * round_number / rounds


@SCHEDULES.register
@dataclass(frozen=True)
class Geometric(Schedule):
    """The same fraction of what is left in each round (Frankle & Carbin 2019)."""

    def density(self, final: float, round_number: int, rounds: int) -> float:
        """final^(k/K)."""
        return final if round_number == rounds else final ** (round_number / rounds)


@SCHEDULES.register
@dataclass(frozen=True)
class Cubic(Schedule):
    """Much at first and ever less: gradual magnitude pruning's schedule (Zhu & Gupta 2018)."""

    def density(self, final: float, round_number: int, rounds: int) -> float:
        """final + (1 − final) · (1 − k/K)³ (their equation 1, as a density)."""
        return final + (1 - final) * (1 - round_number / rounds) ** 3
