"""LeNets: the small networks on which pruning methods have been compared since 1990."""

from __future__ import annotations

from math import prod
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from .architecture import image_shape, register, widened


@register
class LeNet5(nn.Module):
    """LeNet-5 of Caffe and of Han et al. 2015: convolutions 20-50 (5×5), linear 500-classes.

    431,080 parameters and 2,293,000 multiply–adds on 1×28×28 inputs with 10 classes.
    """

    def __init__(self, *, input_shape: tuple[int, ...] = (1, 28, 28), classes: int = 10) -> None:
        super().__init__()
        channels, height, width = image_shape("LeNet5", input_shape, 16)
        self.conv1 = nn.Conv2d(channels, 20, 5)
        self.conv2 = nn.Conv2d(20, 50, 5)
        self.linear1 = nn.Linear(50 * _halved_twice(height) * _halved_twice(width), 500)
        self.linear2 = nn.Linear(500, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (batch × classes) of images (batch × channels × height × width)."""
        x = F.relu(F.max_pool2d(self.conv1(images), 2))
        x = F.relu(F.max_pool2d(self.conv2(x), 2))
        return self.linear2(F.relu(self.linear1(x.flatten(1))))


@register
class LeNet5Classic(nn.Module):
    """LeNet-5 with the layers of LeCun et al. 1998: convolutions 6-16 (5×5), linear 120-84-classes.

    ReLU and max pooling stand for the original's sigmoid and subsampling, as is usual today, and
    the first convolution pads by 2, so that 28×28 images keep the size of the original's input.
    61,706 parameters and 416,520 multiply–adds on 1×28×28 inputs with 10 classes.

    Args:
        width: by which the numbers of channels and hidden units are multiplied.
    """

    def __init__(
        self,
        *,
        width: Annotated[float, Field(gt=0)] = 1.0,
        input_shape: tuple[int, ...] = (1, 28, 28),
        classes: int = 10,
    ) -> None:
        super().__init__()
        channels, rows, columns = image_shape("LeNet5Classic", input_shape, 12)
        first, second, third, fourth = widened(width, 6, 16, 120, 84)
        self.conv1 = nn.Conv2d(channels, first, 5, padding=2)
        self.conv2 = nn.Conv2d(first, second, 5)
        pixels = _halved_twice(rows + 4) * _halved_twice(columns + 4)
        self.linear1 = nn.Linear(second * pixels, third)
        self.linear2 = nn.Linear(third, fourth)
        self.linear3 = nn.Linear(fourth, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (batch × classes) of images (batch × channels × height × width)."""
        x = F.relu(F.max_pool2d(self.conv1(images), 2))
        x = F.relu(F.max_pool2d(self.conv2(x), 2))
        x = F.relu(self.linear1(x.flatten(1)))
        return self.linear3(F.relu(self.linear2(x)))


@register
class LeNetDropout(nn.Module):
    """The network of PyTorch's MNIST example: convolutions 10-20 (5×5), linear 50-classes, dropout.

    21,840 parameters and 480,500 multiply–adds on 1×28×28 inputs with 10 classes.

    Args:
        dropout: on the feature maps of the second convolution and on the hidden layer.
    """

    def __init__(
        self,
        *,
        input_shape: tuple[int, ...] = (1, 28, 28),
        classes: int = 10,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5,
    ) -> None:
        super().__init__()
        channels, height, width = image_shape("LeNetDropout", input_shape, 16)
        self.conv1 = nn.Conv2d(channels, 10, 5)
        self.conv2 = nn.Conv2d(10, 20, 5)
        self.dropout_maps = nn.Dropout2d(dropout)
        self.linear1 = nn.Linear(20 * _halved_twice(height) * _halved_twice(width), 50)
        self.dropout_units = nn.Dropout(dropout)
        self.linear2 = nn.Linear(50, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (batch × classes) of images (batch × channels × height × width)."""
        x = F.relu(F.max_pool2d(self.conv1(images), 2))
        x = F.relu(F.max_pool2d(self.dropout_maps(self.conv2(x)), 2))
        return self.linear2(self.dropout_units(F.relu(self.linear1(x.flatten(1)))))


@register
class LeNet300100(nn.Module):
    """LeNet-300-100 (LeCun et al. 1998): a perceptron with hidden layers of 300 and 100 units.

    266,610 parameters and 266,200 multiply–adds on 28×28 inputs with 10 classes.
    """

    def __init__(self, *, input_shape: tuple[int, ...] = (1, 28, 28), classes: int = 10) -> None:
        super().__init__()
        self.linear1 = nn.Linear(prod(input_shape), 300)
        self.linear2 = nn.Linear(300, 100)
        self.linear3 = nn.Linear(100, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (batch × classes) of inputs of any shape (batch × …)."""
        x = F.relu(self.linear1(inputs.flatten(1)))
        return self.linear3(F.relu(self.linear2(x)))


@register
class LeNetSmall(nn.Module):
    """A LeNet for images as small as 8×8: convolutions 16-32 (3×3, padded), linear 128-classes.

    71,754 parameters and 149,760 multiply–adds on 1×8×8 inputs with 10 classes.

    Args:
        width: by which the numbers of channels and hidden units are multiplied.
    """

    def __init__(
        self,
        *,
        width: Annotated[float, Field(gt=0)] = 1.0,
        input_shape: tuple[int, ...] = (1, 8, 8),
        classes: int = 10,
    ) -> None:
        super().__init__()
        channels, rows, columns = image_shape("LeNetSmall", input_shape, 2)
        first, second, third = widened(width, 16, 32, 128)
        self.conv1 = nn.Conv2d(channels, first, 3, padding=1)
        self.conv2 = nn.Conv2d(first, second, 3, padding=1)
        self.linear1 = nn.Linear(second * (rows // 2) * (columns // 2), third)
        self.linear2 = nn.Linear(third, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (batch × classes) of images (batch × channels × height × width)."""
        x = F.relu(F.max_pool2d(self.conv1(images), 2))
        # Flattened first: rectifying channels-last activations costs a step a tenth more.
        x = F.relu(self.conv2(x).flatten(1))
        return self.linear2(F.relu(self.linear1(x)))


def _halved_twice(size: int) -> int:
    """Side of a feature map after two unpadded 5×5 convolutions with 2×2 pooling after each."""
    return ((size - 4) // 2 - 4) // 2
