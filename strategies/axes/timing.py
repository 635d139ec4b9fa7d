"""Timings: whether the rounds of pruning come before trainings, or within one."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from ...errors import UsageError
from ...hyperparameters import Configured
from ...registry import Registry


@dataclass(frozen=True)
class Timing(Configured, ABC):
    """When the rounds of pruning take place.

    Attributes:
        within_training: whether they share one training, instead of having one each.
    """

    within_training: ClassVar[bool] = False


TIMINGS: Registry[Timing] = Registry("timing", "timings", Timing, home=__name__)


@TIMINGS.register
@dataclass(frozen=True)
class BetweenTrainings(Timing):
    """Each round prunes first, and then trains by the whole fine-tuning recipe."""


@TIMINGS.register
@dataclass(frozen=True)
class DuringTraining(Timing):
    """All rounds take place within one training by the fine-tuning recipe (Zhu & Gupta 2018).

    With ``GlobalMagnitude``, the schedule ``Cubic`` and as many rounds as there are prunings this
    is gradual magnitude pruning.

    Args:
        begin: fraction of the training after which pruning begins.
        end: fraction of the training after which the last round has been done.
    """

    within_training = True

    begin: Annotated[float, Field(ge=0, lt=1)] = 0.0
    end: Annotated[float, Field(gt=0, le=1)] = 0.75

    def __post_init__(self) -> None:
        if self.begin >= self.end:
            raise UsageError(
                f"timing DuringTraining: begin: {self.begin} is not allowed: it must be below "
                f"end: {self.end}"
            )
