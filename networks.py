"""Networks, as all rooms handle them: how far outputs are apart, and how modules are replaced."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def relative_difference(outputs: Tensor, expected: Tensor) -> float:
    """The largest difference of outputs from the expected ones, relative to the largest of these.

    Infinite if they differ in shape.
    """
    if outputs.shape != expected.shape:
        return float("inf")
    largest = expected.abs().max().clamp(min=torch.finfo(expected.dtype).tiny)
    return float((outputs - expected).abs().max() / largest)


def replace_module(model: nn.Module, module: nn.Module, by: nn.Module) -> None:
    """Put a module in the place of another, under all names that this has in the network."""
    for name, each in list(model.named_modules(remove_duplicate=False)):
        if each is module:
            model.set_submodule(name, by)
