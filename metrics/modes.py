"""The state in which models are measured."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn


@contextmanager
def inference(*models: nn.Module) -> Iterator[None]:
    """Evaluation mode without autograd; each module gets its own mode back afterwards."""
    modes = [(module, module.training) for model in models for module in model.modules()]
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode())
        for module, training in modes:
            module.training = False
            stack.callback(setattr, module, "training", training)
        yield
