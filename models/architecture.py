"""The registry of models, and how a model's size follows from the size of its inputs.

A model is any ``nn.Module``. Its constructor may take ``input_shape`` (of one example, without the
batch dimension) and ``classes``, which the task gives; its other arguments are hyperparameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor, nn

from ..errors import UsageError
from ..registry import Registry

MODELS: Registry[nn.Module] = Registry(
    "model", "models", nn.Module, home=__package__ or "", given=("input_shape", "classes")
)
register = MODELS.register


class ChannelGroup(NamedTuple):
    """Channels of one kind that a model says can be removed, where tracing would not find them.

    A model has them in a method ``channel_groups()``, which gives a list of these.

    Attributes:
        made_by: names of the weights that make the channels, by which they are scored.
        positions: name of a parameter → dimension → for each position along it the number of the
            channel in this group that it belongs to, −1 for none.
    """

    made_by: tuple[str, ...]
    positions: Mapping[str, Mapping[int, Tensor]]


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
