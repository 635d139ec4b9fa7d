"""Random images, by which speed is measured where the real ones are not at hand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from prunebench.datasets import Batch, Classification, Dataset, Task
from prunebench.seeding import generator


@dataclass(frozen=True)
class RandomImages(Dataset):
    """Images of noise in random classes, as large as those of MNIST by default.

    Args:
        channels: of an image.
        size: pixels a side.
        classes: how many there are.
        examples: of each split.
        augmentation: "crop" shifts training images by up to 4 pixels and mirrors half of them.
    """

    channels: int = 1
    size: int = 28
    classes: int = 10
    examples: int = 6_400
    augmentation: Literal["none", "crop"] = "none"

    def load(self, folder: Path) -> Task:
        """Draw the images; nothing is read."""
        crop = self.augmentation == "crop"
        return Classification(
            {split: self._drawn(split) for split in ("train", "validation", "test")},
            self.classes,
            crop_padding=4 if crop else 0,
            flip=crop,
        )

    def _drawn(self, split: str) -> Batch:
        lots = generator(0, "random images", split)
        shape = (self.examples, self.channels, self.size, self.size)
        images = torch.randint(256, shape, generator=lots, dtype=torch.uint8)
        return images, torch.randint(self.classes, (self.examples,), generator=lots)
