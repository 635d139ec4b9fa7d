"""Classification, and that of images in memory: unsigned bytes, transformed batch by batch."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import UsageError
from ..seeding import generator as seeded_generator
from .augmentation import crop_and_flip
from .task import Batch, Split, Task

Scaling = Literal["standardised", "unit"]
"""Pixels of mean 0 and standard deviation 1 over the training split, or pixels in [0, 1]."""


class LabelClassification(Task):
    """Classification with cross-entropy, scored by accuracy, of whatever has a label."""

    quality = "Accuracy"

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean cross-entropy of the model's logits."""
        return self.smoothed_loss(model, batch, 0.0)

    def smoothed_loss(self, model: nn.Module, batch: Batch, label_smoothing: float) -> Tensor:
        """The same with smoothed labels; see :meth:`Task.smoothed_loss`."""
        inputs, labels = batch
        return F.cross_entropy(model(inputs), labels, label_smoothing=label_smoothing)

    def sampled_loss(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        """Mean cross-entropy of labels drawn from the model; see :meth:`Task.sampled_loss`."""
        logits = model(batch[0])
        return F.cross_entropy(logits, sampled_labels(logits, generator))


class ImageClassification(LabelClassification):
    """Classification of images, wherever these are.

    Args:
        classes: number of classes.
        input_shape: channels, height and width of an image.
        scale: by which bytes are multiplied, for each channel (1 × channels × 1 × 1).
        shift: what is then added.
    """

    def __init__(
        self, classes: int, input_shape: tuple[int, ...], scale: Tensor, shift: Tensor
    ) -> None:
        self.classes = classes
        self.input_shape = input_shape
        self._scale, self._shift = scale, shift

    def _normalised(self, images: Tensor) -> Tensor:
        return images.float().mul_(self._scale).add_(self._shift)


class Classification(ImageClassification):
    """Image classification of images that fit in memory.

    The images stay in memory as they are stored, one byte a value. A batch is gathered by one
    indexing operation and scaled: by the mean and standard deviation of the training split, or to
    [0, 1].
    Trained on are shifted and mirrored images, where that is asked for.

    Args:
        splits: for each of train, validation and test the images (examples × channels × height ×
            width, uint8) and the labels (examples, int64).
        classes: number of classes.
        crop_padding: pixels by which a training image is shifted at most.
        flip: whether half of the training images are mirrored.
        scaling: what the networks see of the bytes.
    """

    def __init__(
        self,
        splits: Mapping[Split, Batch],
        classes: int,
        crop_padding: int = 0,
        flip: bool = False,
        scaling: Scaling = "standardised",
    ) -> None:
        images = splits["train"][0]
        scale, shift = _normalisation(images)
        if scaling == "unit":
            scale, shift = torch.full_like(scale, 1 / 255), torch.zeros_like(shift)
        super().__init__(classes, tuple(images.shape[1:]), scale, shift)
        self._splits = splits
        self._crop_padding, self._flip = crop_padding, flip

    def to(self, device: torch.device) -> Task:
        """The same task with all images on ``device``, where batches are gathered and changed."""
        moved = copy.copy(self)
        moved.device = device
        moved._splits = {
            split: (images.to(device), labels.to(device))
            for split, (images, labels) in self._splits.items()
        }
        moved._scale, moved._shift = self._scale.to(device), self._shift.to(device)
        return moved

    def size(self, split: Split) -> int:
        """Number of examples in a split."""
        return len(self._splits[split][1])

    def batches(
        self, split: Split, batch_size: int, generator: torch.Generator | None = None
    ) -> Iterator[Batch]:
        """One pass over a split; see :meth:`Task.batches`."""
        images, labels = self._splits[split]
        if generator is None:
            for start in range(0, len(labels), batch_size):
                stop = start + batch_size
                yield self._normalised(images[start:stop]), labels[start:stop]
        else:
            for index in _order(labels, generator).split(batch_size):
                yield self._normalised(images[index]), labels[index]

    def training_batches(self, batch_size: int, generator: torch.Generator) -> Iterator[Batch]:
        """One pass over the training split, shifted and mirrored at random."""
        if not (self._crop_padding or self._flip):
            yield from self.batches("train", batch_size, generator)
            return
        images, labels = self._splits["train"]
        for index in _order(labels, generator).split(batch_size):
            changed = crop_and_flip(images[index], self._crop_padding, self._flip, generator)
            yield self._normalised(changed), labels[index]

    def inputs(self, batch_size: int) -> Tensor:
        """The first ``batch_size`` test images, from the start again if there are fewer."""
        images = self._splits["test"][0]
        return self._normalised(images[torch.arange(batch_size) % len(images)])


def _order(labels: Tensor, generator: torch.Generator) -> Tensor:
    """A random order of examples, where they are: copied there once, and not batch by batch."""
    return torch.randperm(len(labels), generator=generator).to(labels.device)


def sampled_labels(logits: Tensor, generator: torch.Generator) -> Tensor:
    """A label for each row of ``logits`` (examples × classes), drawn from its softmax."""
    probabilities = logits.detach().cpu().double().softmax(1)
    return torch.multinomial(probabilities, 1, generator=generator)[:, 0].to(logits.device)


def hold_out(images: Tensor, labels: Tensor, count: int, purpose: str) -> tuple[Batch, Batch]:
    """Split off ``count`` random examples, the same ones in every experiment.

    Returns:
        The remaining examples and those held out, each as (images, labels).

    Raises:
        UsageError: ``count`` leaves nothing on one of the sides.
    """
    if not 0 < count < len(labels):
        raise UsageError(
            f"{purpose}: {count} examples cannot be held out of {len(labels)}; "
            f"1 to {len(labels) - 1} are allowed"
        )
    order = torch.randperm(len(labels), generator=seeded_generator(0, "hold out", purpose))
    held, rest = order[:count], order[count:]
    return (images[rest], labels[rest]), (images[held], labels[held])


def _normalisation(images: Tensor) -> tuple[Tensor, Tensor]:
    """Per channel the factor and the summand that bring ``images`` to mean 0 and variance 1."""
    # By how often each byte occurs, in float64: exact sums, and no float copy of the images.
    scales, shifts = [], []
    for channel in images.unbind(1):
        counts = torch.bincount(channel.flatten(), minlength=256)
        values = counts.nonzero().flatten()
        counts = counts[values]
        share = counts.double() / channel.numel()
        mean = (values * share).sum()
        deviation = ((values - mean).square() * share).sum().sqrt().clamp(min=1e-6)
        scales.append(1 / deviation)
        shifts.append(-mean / deviation)
    shape = (1, -1, 1, 1)
    return torch.stack(scales).float().view(shape), torch.stack(shifts).float().view(shape)
