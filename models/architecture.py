"""The registry of models, and how a model's size follows from the size of its inputs.

A model is any ``nn.Module``. Its constructor may take ``input_shape`` (of one example, without the
batch dimension) and ``classes``, which the task gives; its other arguments are hyperparameters.
"""

from __future__ import annotations

from torch import nn

from ..errors import UsageError
from ..registry import Registry

MODELS: Registry[nn.Module] = Registry(
    "model",
    "models",
    nn.Module,
    home=__name__,
    given=("input_shape", "classes"),
    example="own_model_and_data",
)
register = MODELS.register


def widened(width: float, *channels: int) -> list[int]:
    """Each number of channels times ``width``, of which at least one is left."""
    return [max(1, round(width * each)) for each in channels]


def image_shape(model: str, input_shape: tuple[int, ...], smallest: int) -> tuple[int, int, int]:
    """``input_shape`` as (channels, height, width), for a model that needs images.

    Raises:
        UsageError: the inputs are no images, or smaller than ``smallest`` pixels a side.
    """
    if len(input_shape) != 3 or min(input_shape[1:]) < smallest:
        shape = "×".join(map(str, input_shape))
        raise UsageError(
            f"model {model} needs images of at least {smallest}×{smallest} pixels, "
            f"and those of this data set are {shape}"
        )
    channels, height, width = input_shape
    return channels, height, width
