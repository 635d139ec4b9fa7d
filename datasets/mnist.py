"""MNIST and the two data sets made in its image: 28×28 grey pixels, 60,000 + 10,000, 10 classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from ..errors import UsageError
from .classification import Classification, Scaling, hold_out
from .downloaded import of_torchvision, read_or_download
from .task import Dataset, Task, register


@dataclass(frozen=True)
class _LikeMNIST(Dataset):
    """What the three have in common.

    Args:
        validation: examples held out from the 60,000 for training.
        scaling: with ``standardised`` pixels have mean 0 and standard deviation 1 over those
            trained on, with ``unit`` they are in [0, 1].
        training: how many of the others are trained on, drawn at random and always the same ones;
            all of them if there is no number.
    """

    validation: Annotated[int, Field(ge=1, lt=60_000)] = 5_000
    scaling: Scaling = "standardised"
    training: Annotated[int, Field(ge=1)] | None = None

    source: ClassVar[str]

    def load(self, folder: Path) -> Task:
        """Read the four IDX files below ``folder``, or have torchvision download them there."""
        training, test = (self._read(folder, train=train) for train in (True, False))
        rest, validation = hold_out(
            training.data.unsqueeze(1), training.targets, self.validation, "MNIST validation"
        )
        if self.training is not None and self.training > len(rest[0]):
            raise UsageError(
                f"dataset {type(self).__name__}: training: {self.training:,} is not allowed: "
                f"{len(rest[0]):,} images are left beside {self.validation:,} for validation"
            )
        splits = {
            "train": tuple(part[: self.training] for part in rest),
            "validation": validation,
            "test": (test.data.unsqueeze(1), test.targets),
        }
        return Classification(splits, classes=10, scaling=self.scaling)  # type: ignore[arg-type]

    def _read(self, folder: Path, *, train: bool) -> Any:
        name = type(self).__name__
        return read_or_download(
            name,
            folder,
            folder / name / "raw",
            lambda download: of_torchvision(self.source)(
                str(folder), train=train, download=download
            ),
        )


@register
@dataclass(frozen=True)
class MNIST(_LikeMNIST):
    """Handwritten digits (LeCun et al. 1998)."""

    source = "MNIST"


@register
@dataclass(frozen=True)
class FashionMNIST(_LikeMNIST):
    """Articles of clothing (Xiao et al. 2017)."""

    source = "FashionMNIST"


@register
@dataclass(frozen=True)
class KMNIST(_LikeMNIST):
    """Cursive Japanese characters (Clanuwat et al. 2018)."""

    source = "KMNIST"
