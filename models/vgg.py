"""VGG networks for small images."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from .architecture import image_shape, register, widened

# Convolutions of each of the five stages (Simonyan & Zisserman 2015, table 1).
_STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
_WIDTHS = (64, 128, 256, 512, 512)


@register
class CifarVGG(nn.Module):
    """VGG with batch normalisation for images of 32×32: five stages and one linear layer.

    The convolutions are those of Simonyan & Zisserman 2015, each with batch normalisation; of their
    three linear layers only the last stays, as is usual on CIFAR (Liu et al. 2017). Parameters on
    3×32×32 inputs with 10 classes: 9,228,362 (depth 11), 9,413,066 (13), 14,724,042 (16),
    20,035,018 (19).

    Args:
        depth: layers with weights in the original network.
        width: by which the numbers of channels are multiplied.
    """

    def __init__(
        self,
        *,
        depth: Literal[11, 13, 16, 19] = 16,
        width: Annotated[float, Field(gt=0)] = 1.0,
        input_shape: tuple[int, ...] = (3, 32, 32),
        classes: int = 10,
    ) -> None:
        super().__init__()
        channels, _, _ = image_shape("CifarVGG", input_shape, 32)
        layers: list[nn.Module] = []
        for convolutions, outputs in zip(_STAGES[depth], widened(width, *_WIDTHS), strict=True):
            for _ in range(convolutions):
                layers += [
                    nn.Conv2d(channels, outputs, 3, padding=1, bias=False),
                    nn.BatchNorm2d(outputs),
                    nn.ReLU(),
                ]
                channels = outputs
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.linear = nn.Linear(channels, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (batch × classes) of images (batch × channels × height × width)."""
        return self.linear(self.features(images).mean((2, 3)))
