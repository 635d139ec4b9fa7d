"""All that scoring must leave as it was: of the network, and of the process."""

from __future__ import annotations

import pickle
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from ...strategies import Masks


def observed(model: nn.Module, masks: Masks) -> dict[str, object]:
    """All that scoring must not change, under the names used in sentences."""
    parameters, modules = dict(model.named_parameters()), dict(model.named_modules())
    gradients = {name: p.grad for name, p in parameters.items() if p.grad is not None}
    return {
        "parameters": _bytes(parameters),
        "gradients (parameter.grad)": _bytes(gradients),
        "buffers such as BatchNorm statistics": _bytes(dict(model.named_buffers())),
        "training or evaluation mode": {name: m.training for name, m in modules.items()},
        "requires_grad": {name: p.requires_grad for name, p in parameters.items()},
        "hooks": {name: _hooks(module) for name, module in modules.items()},
        "context.masks": _bytes(masks),
        "torch's global random state": _bytes({"": torch.get_rng_state()}),
        "numpy's global random state": pickle.dumps(np.random.get_state()),
        "Python's global random state": random.getstate(),
        "torch's gradient mode": torch.is_grad_enabled(),
        "torch's default dtype": torch.get_default_dtype(),
    }


def _bytes(tensors: Mapping[str, Tensor]) -> dict[str, bytes]:
    return {name: tensor.detach().numpy().tobytes() for name, tensor in tensors.items()}


def _hooks(module: nn.Module) -> int:
    return len(
        [
            *module._forward_hooks,
            *module._forward_pre_hooks,
            *module._backward_hooks,
            *module._backward_pre_hooks,
        ]
    )


@contextmanager
def global_state_restored() -> Iterator[None]:
    """Put back what a strategy may have changed outside the network that it was given."""
    torch_state, numpy_state, python_state = (
        torch.get_rng_state(),
        np.random.get_state(),
        random.getstate(),
    )
    gradient_mode, dtype = torch.is_grad_enabled(), torch.get_default_dtype()
    try:
        yield
    finally:
        torch.set_rng_state(torch_state)
        np.random.set_state(numpy_state)
        random.setstate(python_state)
        torch.set_grad_enabled(gradient_mode)
        torch.set_default_dtype(dtype)
