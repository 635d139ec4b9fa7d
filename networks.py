"""Networks, as all rooms handle them: how far outputs are apart, their modes, and their modules."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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


@contextmanager
def modes_kept(*models: nn.Module) -> Iterator[None]:
    """Give each module its own mode back afterwards, and let it forget what it has computed since.

    In evaluation some networks compute a tensor of their weights once and keep it until they are
    told to train. It would be that of other weights next time, and have a graph of its own.
    """
    modes = [(module, module.training) for model in models for module in model.modules()]
    try:
        yield
    finally:
        for module, _ in modes:
            if type(module).train is not nn.Module.train:
                module.train()
        for module, training in modes:
            module.training = training


def replace_module(model: nn.Module, module: nn.Module, by: nn.Module) -> None:
    """Put a module in the place of another, under all names that this has in the network."""
    for name, each in list(model.named_modules(remove_duplicate=False)):
        if each is module:
            model.set_submodule(name, by)
