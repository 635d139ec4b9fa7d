"""A network and a data set of your own, pruned like any other.

    prunebench run --dataset examples/own_model_and_data.py:Rings \\
        --model 'examples/own_model_and_data.py:Network(hidden=48)' \\
        --strategy Random GlobalMagnitude --compression 2 4 --pretraining.epochs 20
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prunebench.datasets import Batch, Dataset, Split, Task


class Network(nn.Module):
    """Any module will do; ``input_shape`` and ``classes`` are given if it takes them."""

    def __init__(self, *, input_shape: tuple[int, ...], classes: int, hidden: int = 32) -> None:
        super().__init__()
        self.first = nn.Linear(input_shape[0], hidden)
        self.second = nn.Linear(hidden, hidden)
        self.last = nn.Linear(hidden, classes)

    def forward(self, points: Tensor) -> Tensor:
        """Logits (batch × classes) of points (batch × coordinates)."""
        return self.last(F.relu(self.second(F.relu(self.first(points)))))


@dataclass(frozen=True)
class Rings(Dataset):
    """Points of a plane, which are to be told apart by their distance from its middle.

    Args:
        rings: number of classes.
        points: of each split.
    """

    rings: int = 3
    points: int = 2_000

    def load(self, folder: Path) -> Task:
        """Draw the points; a data set in files would read them below ``folder``."""
        return RingTask(self.rings, self.points)


class RingTask(Task):
    """What the benchmark asks of data: batches, a loss, and the metric that scores a model."""

    quality = "Accuracy"

    def __init__(self, rings: int, points: int) -> None:
        self.input_shape, self.classes = (2,), rings
        self._splits: dict[Split, Batch] = {}
        splits: tuple[Split, ...] = ("train", "validation", "test")
        for seed, split in enumerate(splits):
            rng = torch.Generator().manual_seed(seed)
            inputs = 2 * torch.rand(points, 2, generator=rng) - 1
            labels = (inputs.norm(dim=1) * rings).long().clamp(max=rings - 1)
            self._splits[split] = (inputs, labels)

    def size(self, split: Split) -> int:
        """Number of points in a split."""
        return len(self._splits[split][1])

    def batches(
        self, split: Split, batch_size: int, generator: torch.Generator | None = None
    ) -> Iterator[Batch]:
        """The points in the order of the generator, or as they are."""
        inputs, labels = self._splits[split]
        order = torch.arange(len(labels))
        if generator is not None:
            order = torch.randperm(len(labels), generator=generator)
        for index in order.split(batch_size):
            yield inputs[index], labels[index]

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean cross-entropy."""
        inputs, labels = batch
        return F.cross_entropy(model(inputs), labels)

    def inputs(self, batch_size: int) -> Tensor:
        """Test points, for FLOPs and timing."""
        points = self._splits["test"][0]
        return points[torch.arange(batch_size) % len(points)]
