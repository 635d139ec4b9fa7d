"""Networks of other libraries by name: ``torchvision/resnet50``, ``timm/vit_tiny_patch16_224``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any

from torch import nn

from ..errors import UsageError, lacking, message_of, suggestion
from .architecture import MODELS

Build = Callable[[str, int, int, bool], nn.Module]
"""From a name, the numbers of channels and of classes, and whether weights are to be pretrained."""


@MODELS.library("torchvision")
@cache
def torchvision_model(name: str) -> type[nn.Module]:
    """A classification network of torchvision.

    Raises:
        UsageError: there is none of this name.
    """
    from torchvision import models  # importing it takes nearly as long as torch

    known = models.list_models(module=models)
    if name not in known:
        raise UsageError(f"unknown torchvision model {name!r}: {suggestion(name, known)}")
    return _model_class(f"torchvision/{name}", name, _from_torchvision)


@MODELS.library("timm")
@cache
def timm_model(name: str) -> type[nn.Module]:
    """A network of timm (Wightman), which is to be installed.

    Raises:
        UsageError: there is none of this name, or timm is not installed.
    """
    timm = _timm()
    known = timm.list_models()
    if name.partition(".")[0] not in known:
        raise UsageError(f"unknown timm model {name!r}: {suggestion(name, known)}")
    return _model_class(f"timm/{name}", name, _from_timm)


def _from_torchvision(name: str, channels: int, classes: int, pretrained: bool) -> nn.Module:
    if channels != 3:
        raise UsageError(
            f"model torchvision/{name} needs images of 3 channels, and those of this data set "
            f"have {channels}"
        )
    from torchvision import models

    builder = models.get_model_builder(name)
    # The auxiliary outputs of Inception and GoogLeNet are no part of the network that is used.
    auxiliary: dict[str, Any] = {}
    if name in ("googlenet", "inception_v3"):
        # Their weights were trained on images that are normalised in another way.
        auxiliary = {"aux_logits": False, "init_weights": True, "transform_input": pretrained}
    network: nn.Module = builder(weights=None, num_classes=classes, **auxiliary)
    if pretrained:
        weights = models.get_model_weights(name)
        state = weights.DEFAULT.get_state_dict(progress=True)
        own = network.state_dict()
        # An output layer of other classes stays as it was drawn.
        fitting = {
            key: tensor
            for key, tensor in state.items()
            if key in own and own[key].shape == tensor.shape
        }
        network.load_state_dict(own | fitting)
    return network


def _from_timm(name: str, channels: int, classes: int, pretrained: bool) -> nn.Module:
    network: nn.Module = _timm().create_model(
        name, pretrained=pretrained, num_classes=classes, in_chans=channels
    )
    return network


def _timm() -> Any:
    if reason := lacking("timm", "timm"):
        raise UsageError(f"models of timm: {reason}")
    import timm  # importing it takes time

    return timm


def _model_class(reference: str, name: str, build: Build) -> type[nn.Module]:
    """A class that a registry can hold, whose instances are networks of the library itself.

    So their parameters have the library's names, and their checkpoints load.
    """

    def make(
        cls: type[nn.Module],
        *,
        input_shape: tuple[int, ...] = (3, 224, 224),
        classes: int = 1_000,
        pretrained: bool = False,
    ) -> nn.Module:
        if len(input_shape) != 3:
            shape = "×".join(map(str, input_shape))
            raise UsageError(
                f"model {reference} needs images, and the examples of this data set are {shape}"
            )
        try:
            return build(name, input_shape[0], classes, pretrained)
        except OSError as error:
            raise UsageError(
                f"model {reference}: the pretrained weights could not be downloaded ({error})"
            ) from None
        except UsageError:
            raise
        except Exception as error:  # as of an unknown tag, or a size that is none of a network
            raise UsageError(f"model {reference} cannot be made: {message_of(error)}") from None

    body = {
        "__new__": make,
        # Never called, as instances are of another class; it says which hyperparameters there are.
        "__init__": make,
        "__doc__": f"{name} of {reference.partition('/')[0]}; ``pretrained`` takes its weights.",
        "__module__": __name__,
        "__signature__": inspect.Signature(list(inspect.signature(make).parameters.values())[1:]),
    }
    return type(reference, (nn.Module,), body)
