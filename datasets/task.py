"""What is learned: a :class:`Dataset` is chosen by name, and loading it gives a :class:`Task`.

A task gives batches, the loss, and the name of the metric by which it is scored. The loop, the
strategies and the metrics know a data set through this interface alone.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..hyperparameters import Configured
from ..registry import Registry

Split = Literal["train", "validation", "test"]
Batch = tuple[Tensor, Tensor]


class Task(ABC):
    """Batches of examples, a loss, and how a model is scored.

    Attributes:
        input_shape: shape of one example, without the batch dimension.
        classes: number of classes that the model tells apart.
        quality: the metric that scores a model on this task, as an experiment names one: a
            registered name, or ``path/to/file.py:Class``.
        class_names: what the classes are called, if anything.
        vocabulary: what its tokens stand for, the same wherever that is the same; empty where an
            example has none.
        filling: the token that fills texts up to one length, if one does.
        padding: the label that fills batches up, which no loss counts.
        device: where the tensors are that it gives.
    """

    input_shape: tuple[int, ...]
    classes: int
    quality: ClassVar[str]
    class_names: tuple[str, ...] = ()
    vocabulary: str = ""
    filling: int | None = None
    padding: ClassVar[int] = -100  # as torch's cross-entropy has it
    device: torch.device = torch.device("cpu")

    def to(self, device: torch.device) -> Task:
        """The same task, whose batches and inputs are on ``device``; this one stays as it is.

        By default each batch is moved when it is asked for.
        """
        moved = copy.copy(self)
        moved.device = device
        if device != self.device:
            moved.batches = _moving(self.batches, device)  # type: ignore[method-assign]
            moved.training_batches = _moving(  # type: ignore[method-assign]
                self.training_batches, device
            )
            moved.inputs = lambda batch_size: self.inputs(batch_size).to(device)  # type: ignore[method-assign]
        return moved

    @abstractmethod
    def size(self, split: Split) -> int:
        """Number of examples in a split."""

    def steps(self, batch_size: int) -> int:
        """Number of batches in one pass over the training split."""
        return -(-self.size("train") // batch_size)

    def examples(self, batch: Batch) -> int:
        """How many examples the loss of a batch is the mean over."""
        return len(batch[0])

    def words(self, split: Split) -> int | None:
        """How many words the texts of a split have, an end for each; None where words are none."""
        return None

    def bytes(self, split: Split) -> int | None:
        """How many bytes the texts of a split have in UTF-8; None where it is no text."""
        return None

    @abstractmethod
    def batches(
        self, split: Split, batch_size: int, generator: torch.Generator | None = None
    ) -> Iterator[Batch]:
        """One pass over a split, ``batch_size`` examples at a time; the last batch may be smaller.

        With a ``generator`` the examples come in its random order, without one as they are stored.
        """

    def training_batches(self, batch_size: int, generator: torch.Generator) -> Iterator[Batch]:
        """One pass over the training split as it is trained on: augmented, where the data are.

        By default the batches of the split.
        """
        yield from self.batches("train", batch_size, generator)

    @abstractmethod
    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The training loss of a batch, a scalar: the mean over its examples."""

    def smoothed_loss(self, model: nn.Module, batch: Batch, label_smoothing: float) -> Tensor:
        """The training loss with a share of every label spread evenly over all classes.

        Source: Szegedy et al.: Rethinking the Inception Architecture for Computer Vision, CVPR
            2016, section 7.

        Raises:
            UsageError: the task has no labels that could be smoothed.
        """
        raise UsageError(
            f"label_smoothing: {label_smoothing:g} is not allowed: the task {type(self).__name__} "
            "has no smoothed_loss()"
        )

    def sampled_loss(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        """The mean negative log-likelihood of targets drawn from the model's own predictions.

        The targets of ``batch`` are not looked at. The expected square of its gradient is the
        Gauss–Newton (Fisher) matrix, which is why methods of second order ask for it.

        Raises:
            UsageError: the task does not say how targets are distributed.
        """
        raise UsageError(
            f"the task {type(self).__name__} has no sampled_loss(), which this strategy needs"
        )

    @abstractmethod
    def inputs(self, batch_size: int) -> Tensor:
        """Exactly ``batch_size`` test inputs, repeated if there are fewer: for FLOPs and timing."""


def _moving(
    batches: Callable[..., Iterator[Batch]], device: torch.device
) -> Callable[..., Iterator[Batch]]:
    """The same batches on a device."""

    def moved(*arguments: Any) -> Iterator[Batch]:
        for inputs, labels in batches(*arguments):
            yield inputs.to(device, non_blocking=True), labels.to(device, non_blocking=True)

    return moved


@dataclass(frozen=True)
class Dataset(Configured, ABC):
    """The recipe of a task: which data, split how. The fields are its hyperparameters."""

    @abstractmethod
    def load(self, folder: Path) -> Task:
        """Read the data below ``folder``, downloading them there where they are missing.

        Raises:
            UsageError: the data are neither there nor to be had; the sentence says what to do.
        """


DATASETS: Registry[Dataset] = Registry(
    "dataset", "datasets", Dataset, home=__name__, example="own_model_and_data"
)
register = DATASETS.register
