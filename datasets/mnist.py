"""MNIST and the two data sets made in its image: 28×28 grey pixels, 60,000 + 10,000, 10 classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import torchvision
from filelock import FileLock
from pydantic import Field

from ..errors import UsageError
from .classification import Classification, hold_out
from .task import Dataset, Task, register


@dataclass(frozen=True)
class _LikeMNIST(Dataset):
    """``validation`` examples are held out from the 60,000 for training."""

    validation: Annotated[int, Field(ge=1, lt=60_000)] = 5_000

    source: ClassVar[type[torchvision.datasets.MNIST]]

    def load(self, folder: Path) -> Task:
        """Read the four IDX files below ``folder``, or have torchvision download them there."""
        training, test = (self._read(folder, train=train) for train in (True, False))
        rest, validation = hold_out(
            training.data.unsqueeze(1), training.targets, self.validation, "MNIST validation"
        )
        splits = {
            "train": rest,
            "validation": validation,
            "test": (test.data.unsqueeze(1), test.targets),
        }
        return Classification(splits, classes=10)  # type: ignore[arg-type]

    def _read(self, folder: Path, *, train: bool) -> torchvision.datasets.MNIST:
        name = type(self).__name__
        try:
            return self.source(str(folder), train=train, download=False)
        except RuntimeError:  # torchvision's way of saying that the files are not there
            pass
        except Exception as error:  # whatever reading a damaged file leads to
            raise UsageError(
                f"{name} in {folder / name / 'raw'} cannot be read ({error}): delete the files "
                "there, so that they are downloaded again"
            ) from None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / f"{name}.lock"):
                return self.source(str(folder), train=train, download=True)
        except (OSError, RuntimeError) as error:
            raise UsageError(
                f"{name} is not in {folder} and could not be downloaded there ({error}): "
                f"connect to the internet for the first run, or put its IDX files into "
                f"{folder / name / 'raw'}, or name the folder that has them with --data "
                "or PRUNEBENCH_DATA"
            ) from None


@register
@dataclass(frozen=True)
class MNIST(_LikeMNIST):
    """Handwritten digits (LeCun et al. 1998)."""

    source = torchvision.datasets.MNIST


@register
@dataclass(frozen=True)
class FashionMNIST(_LikeMNIST):
    """Articles of clothing (Xiao et al. 2017)."""

    source = torchvision.datasets.FashionMNIST


@register
@dataclass(frozen=True)
class KMNIST(_LikeMNIST):
    """Cursive Japanese characters (Clanuwat et al. 2018)."""

    source = torchvision.datasets.KMNIST
