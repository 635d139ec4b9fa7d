"""PyTorch's sparse matrices in the place of linear layers."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field
from torch import Tensor, nn

from ...networks import replace_module
from ..timing import Protocol, interleaved
from .runtime import Run, Runtime, UnsupportedError, register


@register
@dataclass(frozen=True)
class SparseCSR(Runtime):
    """PyTorch with sparse linear layers: compressed rows, multiplied without the zeros.

    Args:
        everywhere: make all linear layers sparse, and not those only that are faster for it.
    """

    everywhere: bool = False

    runs_dense = False
    uses_zeros = True

    def prepare(self, model: nn.Module, inputs: Tensor, examples: Tensor | None = None) -> Run:
        """The model with a sparse copy of each linear layer that is faster with one."""
        return _prepared(model, inputs, Tensor.to_sparse_csr, self.everywhere)


@register
@dataclass(frozen=True)
class SparseBSR(Runtime):
    """PyTorch with sparse linear layers: compressed rows of square blocks, for ``Block``.

    Layers that the blocks do not divide stay dense.

    Args:
        size: rows and columns of a block.
        everywhere: make all linear layers sparse, and not those only that are faster for it.
    """

    size: Annotated[int, Field(ge=2)] = 16
    everywhere: bool = False

    runs_dense = False
    uses_zeros = True

    def prepare(self, model: nn.Module, inputs: Tensor, examples: Tensor | None = None) -> Run:
        """The model with a sparse copy of each linear layer that is faster with one."""
        return _prepared(model, inputs, self._in_blocks, self.everywhere)

    def _in_blocks(self, weight: Tensor) -> Tensor | None:
        if any(side % self.size for side in weight.shape):
            return None
        return weight.to_sparse_bsr((self.size, self.size))


def _prepared(
    model: nn.Module,
    inputs: Tensor,
    compressed: Callable[[Tensor], Tensor | None],
    everywhere: bool,
) -> Run:
    sparse = copy.deepcopy(model)
    replaced = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the formats are in beta
        for layer, taken in _linear_layers(sparse, inputs):
            weight = compressed(layer.weight.detach())
            if weight is None:
                continue
            candidate = SparseLinear(weight, layer.bias)
            if everywhere or is_faster(candidate, layer, taken):
                replace_module(sparse, layer, candidate)
                replaced += 1
    if not replaced:
        raise UnsupportedError("no linear layer is faster as a sparse matrix")
    return lambda: sparse(inputs)


class SparseLinear(nn.Module):
    """A linear layer whose weight is sparse."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight = weight
        self.bias = bias
        self.out_features = len(weight)

    def forward(self, inputs: Tensor) -> Tensor:
        """The output, of whatever shape the inputs are."""
        # Sparse times dense is several times as fast as what nn.functional.linear does with it.
        product = (self.weight @ inputs.flatten(0, -2).T).T
        outputs = product if self.bias is None else product + self.bias
        return outputs.reshape(*inputs.shape[:-1], self.out_features)


def _linear_layers(model: nn.Module, inputs: Tensor) -> list[tuple[nn.Linear, Tensor]]:
    """The linear layers that the model calls, each with what goes into it."""
    seen: dict[nn.Linear, Tensor] = {}

    def note(module: nn.Linear, arguments: tuple[Any, ...]) -> None:
        seen[module] = arguments[0]

    handles = [
        module.register_forward_pre_hook(note)
        for module in model.modules()
        if type(module) is nn.Linear
    ]
    model(inputs)
    for handle in handles:
        handle.remove()
    return list(seen.items())


def is_faster(
    candidate: Callable[[Tensor], Tensor], layer: Callable[[Tensor], Tensor], inputs: Tensor
) -> bool:
    """Whether a candidate takes less time on the inputs than the layer."""
    calls = {"sparse": lambda: candidate(inputs), "dense": lambda: layer(inputs)}
    times = interleaved(calls, Protocol(5, 5, sample_ms=1.0), device=inputs.device)
    return bool(sorted(times["sparse"])[2] < sorted(times["dense"])[2])
