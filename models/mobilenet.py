"""MobileNetV2 for small images."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from .architecture import image_shape, register

# Expansion, channels, blocks and stride of each stage (Sandler et al. 2018, table 2). The first two
# strides of 2, that of the first convolution among them, are 1 for images of 32×32.
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


@register
class CifarMobileNetV2(nn.Module):
    """MobileNetV2 (Sandler et al. 2018) for images of 32×32, halved three times and not five.

    Its parameters are those of torchvision's network: 2,236,682 with 10 classes.

    Args:
        width: by which all numbers of channels are multiplied.
    """

    def __init__(
        self,
        *,
        width: Annotated[float, Field(gt=0)] = 1.0,
        input_shape: tuple[int, ...] = (3, 32, 32),
        classes: int = 10,
    ) -> None:
        channels, _, _ = image_shape("CifarMobileNetV2", input_shape, 8)
        super().__init__()
        from torchvision.models import MobileNetV2  # importing it takes nearly as long as torch

        whole = MobileNetV2(classes, width, [list(stage) for stage in _STAGES])
        first = whole.features[0][0]
        whole.features[0][0] = nn.Conv2d(channels, first.out_channels, 3, 1, padding=1, bias=False)
        self.features, self.classifier = whole.features, whole.classifier

    def forward(self, images: Tensor) -> Tensor:
        """Logits (examples × classes) of images (examples × channels × height × width)."""
        pooled = F.adaptive_avg_pool2d(self.features(images), 1)
        logits: Tensor = self.classifier(pooled.flatten(1))
        return logits
