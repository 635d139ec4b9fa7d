"""Residual networks with batch normalisation."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from .architecture import image_shape, register, widened


@register
class ResNetSmall(nn.Module):
    """A residual network for images as small as 8×8: a convolution and two blocks, 16-16-32 wide.

    Every convolution has batch normalisation; the second block halves the image, with a 1×1
    convolution on its shortcut. 19,706 parameters and 533,824 multiply–adds on 1×8×8 inputs with 10
    classes.

    Args:
        width: by which the numbers of channels are multiplied.
    """

    def __init__(
        self,
        *,
        width: Annotated[float, Field(gt=0)] = 1.0,
        input_shape: tuple[int, ...] = (1, 8, 8),
        classes: int = 10,
    ) -> None:
        super().__init__()
        channels, _, _ = image_shape("ResNetSmall", input_shape, 4)
        narrow, wide = widened(width, 16, 32)
        self.conv = nn.Conv2d(channels, narrow, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(narrow)
        self.block1 = _Block(narrow, narrow, stride=1)
        self.block2 = _Block(narrow, wide, stride=2)
        self.linear = nn.Linear(wide, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (batch × classes) of images (batch × channels × height × width)."""
        x = self.block2(self.block1(F.relu(self.norm(self.conv(images)))))
        return self.linear(x.mean((2, 3)))


@register
class CifarResNet(nn.Module):
    """A residual network for images of 32×32 (He et al. 2016, section 4.2), shortcuts of option A.

    ResNet-20, 32, 44, 56 and 110: a convolution and three stages, 16-32-64 wide, of equally many
    blocks; the second and the third stage halve the image. Parameters on 3×32×32 inputs with 10
    classes: 269,722 (depth 20), 464,154 (32), 658,586 (44), 853,018 (56), 1,727,962 (110).

    Args:
        depth: layers with weights, 6 n + 2 for stages of n blocks.
        width: by which the numbers of channels are multiplied.
    """

    def __init__(
        self,
        *,
        depth: Literal[20, 32, 44, 56, 110] = 20,
        width: Annotated[float, Field(gt=0)] = 1.0,
        input_shape: tuple[int, ...] = (3, 32, 32),
        classes: int = 10,
    ) -> None:
        super().__init__()
        channels, _, _ = image_shape("CifarResNet", input_shape, 4)
        blocks = (depth - 2) // 6
        first, second, third = widened(width, 16, 32, 64)
        self.conv = nn.Conv2d(channels, first, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(first)
        self.stage1 = _stage(first, first, blocks, stride=1)
        self.stage2 = _stage(first, second, blocks, stride=2)
        self.stage3 = _stage(second, third, blocks, stride=2)
        self.linear = nn.Linear(third, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (batch × classes) of images (batch × channels × height × width)."""
        x = F.relu(self.norm(self.conv(images)))
        x = self.stage3(self.stage2(self.stage1(x)))
        return self.linear(x.mean((2, 3)))


def _stage(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
    """Blocks of one width, the first of which has the stride and the shortcut."""
    shortcut = nn.Identity() if stride == 1 else PaddedShortcut(inputs, outputs, stride)
    first = _Block(inputs, outputs, stride, shortcut)
    return nn.Sequential(first, *(_Block(outputs, outputs, 1) for _ in range(blocks - 1)))


class PaddedShortcut(nn.Module):
    """The shortcut of option A (He et al. 2016): every second pixel, and zeros for new channels.

    As many new channels go before as after the old ones.

    Attributes:
        channel_source: for each output channel the input channel that it is, −1 for zeros.
        inputs: number of input channels.
    """

    channel_source: Tensor

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.inputs, self._stride = inputs, stride
        before = (outputs - inputs) // 2
        source = torch.full((outputs,), -1)
        source[before : before + inputs] = torch.arange(inputs)
        self.register_buffer("channel_source", source)

    def forward(self, images: Tensor) -> Tensor:
        """Images of the outputs' size and number of channels."""
        x = images[:, :, :: self._stride, :: self._stride]
        # A channel of zeros behind the last, which is what −1 means.
        return F.pad(x, (0, 0, 0, 0, 0, 1))[:, self.channel_source]


class _Block(nn.Module):
    """Two convolutions beside a shortcut (He et al. 2016)."""

    def __init__(
        self, inputs: int, outputs: int, stride: int, shortcut: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity() if shortcut is None else shortcut
        if shortcut is None and (stride > 1 or inputs != outputs):
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, inputs: Tensor) -> Tensor:
        x = F.relu(self.norm1(self.conv1(inputs)))
        return F.relu(self.norm2(self.conv2(x)) + self.shortcut(inputs))
