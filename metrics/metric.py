"""What a metric is: named numbers about a model on a task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from torch import nn

from ..datasets import Split, Task
from ..errors import UsageError
from ..hyperparameters import Configured
from ..quality import Direction, Quality, titled
from ..registry import Registry
from .work import Work, work_by_weight

Measurements = dict[str, float]

LEARNED = 0.05
"""How much of the way from guessing to being right always a model must go to have learned."""


@dataclass(frozen=True)
class Subject:
    """What is measured.

    Attributes:
        model: the model, its pruned weights being zero.
        dense: the same model before it was pruned, for whatever is relative to it.
        task: where examples come from.
        prunable: names of the weights that the strategy may prune.
        split: the examples on which quality is measured.
        shrunk: the model without the channels that are gone, where whole channels were removed.
    """

    model: nn.Module
    dense: nn.Module
    task: Task
    prunable: tuple[str, ...]
    split: Split = "test"
    shrunk: nn.Module | None = None

    @cached_property
    def work(self) -> list[Work]:
        """The model's multiply–adds of one example, counted once: its weights are to stay."""
        return work_by_weight(self.model, self.task.inputs(1))


@dataclass(frozen=True)
class Metric(Configured, ABC):
    """A measurement, which may give several numbers at once.

    Attributes:
        definitions: each number's name and its definition with its unit.
        quality: those of the numbers that say how well the model does its task, each with its
            title, its unit and whether a higher or a lower value is better, or with that word
            alone. The first decides which checkpoint is kept.
        timing: whether the numbers are times, which differ from run to run.
    """

    definitions: ClassVar[Mapping[str, str]]
    quality: ClassVar[Mapping[str, Quality | Direction]] = {}
    timing: ClassVar[bool] = False

    def qualities(self) -> dict[str, Quality]:
        """The numbers in ``quality``, each with a title.

        Raises:
            UsageError: one of them says neither that higher nor that lower values are better.
        """
        return {name: titled(name, declared) for name, declared in self.quality.items()}

    def check(self, task: Task, model: nn.Module) -> None:
        """Make sure, before anything is run, that this can be measured of ``model`` on ``task``.

        Raises:
            UsageError: it cannot.
        """

    def least(self, task: Task, split: Split) -> float | None:
        """The least primary quality of a model that has learned; None where that is not known.

        It is :data:`LEARNED` of the way from the best answer that looks at no input, such as the
        most frequent class, to being right always.
        """
        return None

    def by_class(self, subject: Subject) -> Measurements:
        """The quality for each class by its name, where that means something; else nothing."""
        return {}

    def in_detail(self, subject: Subject) -> tuple[Measurements, Measurements]:
        """What :meth:`measure` and :meth:`by_class` say, in one pass where a metric can do that."""
        return self.measure(subject), self.by_class(subject)

    def signature(self) -> str:
        """How the numbers are computed, where more than one way is common; else nothing."""
        return ""

    @abstractmethod
    def measure(self, subject: Subject) -> Measurements:
        """The numbers by name; not-a-number or infinity where there is none."""

    def measure_and_doubt(self, subject: Subject) -> tuple[Measurements, dict[str, str]]:
        """The same, and by the names of those that are not to be believed the reason why."""
        return self.measure(subject), {}


METRICS: Registry[Metric] = Registry("metric", "metrics", Metric, home=__name__)
register = METRICS.register


def own_metric(task: Task) -> Metric:
    """The metric by which a task scores networks.

    Raises:
        UsageError: it names none, or one that says nothing of quality.
    """
    metric: Metric = METRICS.component(task.quality).create()
    if not metric.qualities():
        raise UsageError(
            f"the task {type(task).__name__} cannot be scored by {task.quality}, which has no "
            "number of quality"
        )
    return metric
