"""Handwritten digits that ship inside scikit-learn: real data that need no network."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import Field

from .classification import Classification, hold_out
from .task import Dataset, Task, register


@register
@dataclass(frozen=True)
class Digits(Dataset):
    """1,797 images of 8×8 pixels in 10 classes (UCI Optical Recognition, in scikit-learn).

    Args:
        test: examples held out from the 1,797.
        validation: examples held out from the others.
    """

    test: Annotated[int, Field(ge=1)] = 360
    validation: Annotated[int, Field(ge=1)] = 180

    def load(self, folder: Path) -> Task:
        """The task; the data come with scikit-learn, so ``folder`` is not used."""
        rows = torch.from_numpy(np.loadtxt(_file(), delimiter=",", dtype=np.int64))
        pixels, labels = rows[:, :-1].to(torch.uint8).view(-1, 1, 8, 8), rows[:, -1]
        rest, test = hold_out(pixels, labels, self.test, "Digits test")
        train, validation = hold_out(*rest, self.validation, "Digits validation")
        return Classification({"train": train, "validation": validation, "test": test}, classes=10)


def _file() -> Path:
    """Of 64 pixels and a label a line; scikit-learn itself takes each worker seconds to import."""
    package = find_spec("sklearn")
    assert package is not None  # prunebench requires it
    assert package.origin is not None
    return Path(package.origin).with_name("datasets") / "data" / "digits.csv.gz"
