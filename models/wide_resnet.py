"""Wide residual networks for small images."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from .architecture import image_shape, register


@register
class WideResNet(nn.Module):
    """A wide residual network for images of 32×32 (Zagoruyko & Komodakis 2016), WRN-depth-width.

    A convolution and three stages, 16, 32 and 64 times ``width`` channels wide, of blocks in which
    normalisation and ReLU come before each convolution; the second and the third stage halve the
    image. Parameters on 3×32×32 inputs with 10 classes: 36,479,194 for WRN-28-10, 8,949,210 for
    WRN-40-4, 10,961,370 for WRN-16-8.

    Args:
        depth: layers with weights, 6 n + 4 for stages of n blocks.
        width: how many times as wide as a residual network of 16-32-64 channels.
        dropout: between the two convolutions of a block.
    """

    def __init__(
        self,
        *,
        depth: Literal[10, 16, 22, 28, 34, 40] = 28,
        width: Annotated[int, Field(ge=1)] = 10,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        input_shape: tuple[int, ...] = (3, 32, 32),
        classes: int = 10,
    ) -> None:
        super().__init__()
        channels, _, _ = image_shape("WideResNet", input_shape, 4)
        self.conv = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        inputs, blocks = 16, []
        for number, outputs in enumerate((16 * width, 32 * width, 64 * width)):
            for place in range((depth - 4) // 6):
                stride = 2 if number and not place else 1
                blocks.append(_Block(inputs, outputs, stride, dropout))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.BatchNorm2d(inputs)
        self.linear = nn.Linear(inputs, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (batch × classes) of images (batch × channels × height × width)."""
        x = F.relu(self.norm(self.blocks(self.conv(images))))
        return self.linear(x.mean((2, 3)))


class _Block(nn.Module):
    """Two convolutions after normalisation, beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.shortcut: nn.Module | None = None
        if inputs != outputs or stride > 1:
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        x = F.relu(self.norm1(inputs))
        # Where channels or size change, the shortcut too begins after normalisation and ReLU.
        around = inputs if self.shortcut is None else self.shortcut(x)
        x = self.conv2(self.dropout(F.relu(self.norm2(self.conv1(x)))))
        return x + around
