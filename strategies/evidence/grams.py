"""Layers as products of matrices: what they are multiplied by, and how their inputs correlate."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...orientation import is_transposed
from .activations import hooked, owners, refuse_unseen
from .context import Context
from .modes import evaluation_mode

PRODUCTS: tuple[type[nn.Module], ...] = (nn.Linear, nn.Conv2d)
"""The layers whose outputs are products of a matrix of weights with rows of inputs."""


def grams(context: Context, batches: int, batch_size: int) -> dict[str, Tensor]:
    """Σ x·xᵀ of what each prunable weight is multiplied by, over scoring examples and positions.

    Groups × inputs × inputs, in float32 at least: a linear layer is one group, and the inputs of a
    convolution are those under its kernel. Zero where the network does not use a layer.

    Raises:
        UsageError: as :func:`.activations.refuse_unseen`.
    """
    found = owners(context.model, context.masks, PRODUCTS)
    sums = {name: _nothing(modules[0]) for name, modules in found.items()}
    names = {id(module): name for name, modules in found.items() for module in modules}
    seen: set[str] = set()

    def observe(module: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> None:
        seen.add(names[id(module)])
        total = sums[names[id(module)]]
        rows = _rows(module, inputs[0].to(total.dtype))
        rows = rows.unflatten(1, (len(total), -1)).transpose(0, 1)
        total.baddbmm_(rows.mT, rows)

    modules = [module for group in found.values() for module in group]
    with evaluation_mode(context.model), torch.no_grad(), hooked(modules, observe):
        context.send(batches, batch_size)
    refuse_unseen(context, found.keys() - seen)
    return sums


def groups_of(module: nn.Module) -> int:
    """Into how many groups a layer divides its inputs and outputs."""
    return int(getattr(module, "groups", 1))


def _nothing(module: nn.Module) -> Tensor:
    weight: Tensor = module.weight  # type: ignore[assignment]
    inputs = weight.transpose(0, 1)[0].numel() if is_transposed(module) else weight[0].numel()
    shape = groups_of(module), inputs, inputs
    wide = torch.promote_types(weight.dtype, torch.float32)
    return torch.zeros(shape, dtype=wide, device=weight.device)


def _rows(module: nn.Module, inputs: Tensor) -> Tensor:
    """What each output is computed from: a row for each position (positions × inputs)."""
    if not isinstance(module, nn.Conv2d):
        return inputs.reshape(-1, inputs.shape[-1])
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    padded = F.pad(inputs, module._reversed_padding_repeated_twice, mode=mode)
    patches = F.unfold(padded, module.kernel_size, dilation=module.dilation, stride=module.stride)
    return patches.transpose(1, 2).reshape(-1, patches.shape[1])
