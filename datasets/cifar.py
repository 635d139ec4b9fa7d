"""CIFAR-10, CIFAR-100 and SVHN: colour images of 32×32 pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from .classification import Classification, hold_out
from .downloaded import of_torchvision, read_or_download
from .task import Batch, Dataset, Split, Task, register


@dataclass(frozen=True)
class _Cifar(Dataset):
    """``validation`` examples are held out from the training split.

    Training images are shifted by up to ``crop_padding`` pixels and half of them mirrored if
    ``flip`` (He et al. 2016).
    """

    validation: Annotated[int, Field(ge=1)] = 5_000
    crop_padding: Annotated[int, Field(ge=0)] = 4
    flip: bool = True

    source: ClassVar[str]
    files: ClassVar[str]
    classes: ClassVar[int]

    def load(self, folder: Path) -> Task:
        """Read the files below ``folder``, or have torchvision download them there."""
        name = type(self).__name__
        train, test = (self._split(folder, part) for part in ("train", "test"))
        rest, validation = hold_out(*train, self.validation, f"{name} validation")
        splits: dict[Split, Batch] = {"train": rest, "validation": validation, "test": test}
        return Classification(splits, self.classes, self.crop_padding, self.flip)

    def _split(self, folder: Path, part: str) -> Batch:
        return read_or_download(
            type(self).__name__,
            folder,
            folder / self.files,
            lambda download: self._read(folder, part, download),
        )

    def _read(self, folder: Path, part: str, download: bool) -> tuple[Tensor, Tensor]:
        data = of_torchvision(self.source)(str(folder), train=part == "train", download=download)
        return torch.from_numpy(data.data).permute(0, 3, 1, 2), torch.tensor(data.targets)


@register
@dataclass(frozen=True)
class CIFAR10(_Cifar):
    """Pictures of ten kinds of things (Krizhevsky 2009): 50,000 + 10,000.

    Args:
        validation: examples held out from the training split.
        crop_padding: pixels by which a training image is shifted at most.
        flip: whether half of the training images are mirrored.
    """

    source = "CIFAR10"
    files = "cifar-10-batches-py"
    classes = 10


@register
@dataclass(frozen=True)
class CIFAR100(_Cifar):
    """Pictures of a hundred kinds of things (Krizhevsky 2009): 50,000 + 10,000.

    Args:
        validation: examples held out from the training split.
        crop_padding: pixels by which a training image is shifted at most.
        flip: whether half of the training images are mirrored.
    """

    source = "CIFAR100"
    files = "cifar-100-python"
    classes = 100


@register
@dataclass(frozen=True)
class SVHN(_Cifar):
    """House numbers in street views (Netzer et al. 2011): 73,257 + 26,032 digits.

    Args:
        validation: examples held out from the training split.
        crop_padding: pixels by which a training image is shifted at most.
        flip: whether half of the training images are mirrored.
    """

    flip: bool = False

    source = "SVHN"
    files = "."
    classes = 10

    def _read(self, folder: Path, part: str, download: bool) -> tuple[Tensor, Tensor]:
        data = of_torchvision(self.source)(str(folder), split=part, download=download)
        return torch.from_numpy(data.data), torch.from_numpy(data.labels).long()
