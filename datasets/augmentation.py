"""Random changes to training images that leave their class as it is, for whole batches at once."""

from __future__ import annotations

import torch
from torch import Tensor


def crop_and_flip(images: Tensor, padding: int, flip: bool, generator: torch.Generator) -> Tensor:
    """Shift each image by up to ``padding`` pixels each way, and mirror half of them.

    Source: He et al.: Deep Residual Learning for Image Recognition, CVPR 2016, section 4.2: an
        image is padded with zeros, and a random crop of its former size or its mirror is taken.

    Args:
        images: examples × channels × height × width, of any type.
        padding: pixels added on each side.
        flip: whether images may be mirrored, left to right.
        generator: the source of randomness.
    """
    count, channels, height, width = images.shape
    drawn = torch.randint(0, 2 * padding + 1, (2, count, 1), generator=generator)
    rows = drawn[0] + torch.arange(height)
    columns = drawn[1] + torch.arange(width)
    if flip:
        mirrored = torch.randint(0, 2, (count, 1), generator=generator).bool()
        columns = torch.where(mirrored, columns.flip(1), columns)
    padded = torch.nn.functional.pad(images, [padding] * 4)
    places = (torch.arange(count).view(-1, 1, 1, 1), torch.arange(channels).view(1, -1, 1, 1))
    return padded[(*places, rows[:, None, :, None], columns[:, None, None, :])]
