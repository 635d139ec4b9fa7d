"""Residual networks with batch normalisation."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from .architecture import image_shape, register


@register
class ResNetSmall(nn.Module):
    """A residual network for images as small as 8×8: a convolution and two blocks, 16-16-32 wide.

    Every convolution has batch normalisation; the second block halves the image, with a 1×1
    convolution on its shortcut. 19,706 parameters and 533,824 multiply–adds on 1×8×8 inputs with 10
    classes.
    """

    def __init__(self, *, input_shape: tuple[int, ...] = (1, 8, 8), classes: int = 10) -> None:
        super().__init__()
        channels, _, _ = image_shape("ResNetSmall", input_shape, 4)
        self.conv = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        self.block1 = _Block(16, 16, stride=1)
        self.block2 = _Block(16, 32, stride=2)
        self.linear = nn.Linear(32, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (batch × classes) of images (batch × channels × height × width)."""
        x = self.block2(self.block1(F.relu(self.norm(self.conv(images)))))
        return self.linear(x.mean((2, 3)))


class _Block(nn.Module):
    """Two convolutions beside a shortcut (He et al. 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, inputs: Tensor) -> Tensor:
        x = F.relu(self.norm1(self.conv1(inputs)))
        return F.relu(self.norm2(self.conv2(x)) + self.shortcut(inputs))
