"""Handwritten digits that ship inside scikit-learn: real data that need no network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field

from .classification import Classification, hold_out
from .task import Dataset, Task, register


@register
@dataclass(frozen=True)
class Digits(Dataset):
    """1,797 images of 8×8 pixels in 10 classes (UCI Optical Recognition, in scikit-learn).

    Held out from the 1,797: ``test`` examples, then ``validation`` examples.
    """

    test: Annotated[int, Field(ge=1)] = 360
    validation: Annotated[int, Field(ge=1)] = 180

    def load(self, folder: Path) -> Task:
        """The task; the data come with scikit-learn, so ``folder`` is not used."""
        from sklearn.datasets import load_digits

        images, labels = load_digits(return_X_y=True)
        pixels = torch.from_numpy(images).to(torch.uint8).view(-1, 1, 8, 8)
        rest, test = hold_out(pixels, torch.from_numpy(labels), self.test, "Digits test")
        train, validation = hold_out(*rest, self.validation, "Digits validation")
        return Classification({"train": train, "validation": validation, "test": test}, classes=10)
