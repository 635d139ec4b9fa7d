"""The state in which models are measured."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from ..networks import modes_kept


@contextmanager
def inference(*models: nn.Module) -> Iterator[None]:
    """Evaluation mode without autograd; each module gets its own mode back afterwards."""
    with modes_kept(*models), torch.inference_mode():
        for model in models:
            for module in model.modules():
                module.training = False
        yield
