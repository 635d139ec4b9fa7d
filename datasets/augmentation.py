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
    rows, columns = (each.to(images.device, non_blocking=True) for each in (rows, columns))
    places = rows[:, :, None] * padded.shape[3] + columns[:, None, :]
    # Of flat images: an index for each dimension takes several times as long.
    places = places.view(count, 1, -1).expand(-1, channels, -1)
    return padded.flatten(2).gather(2, places).view(images.shape)
