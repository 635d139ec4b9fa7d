"""PyTorch's sparse matrices in the place of linear layers."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

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

    def prepare(self, model: nn.Module, inputs: Tensor) -> Run:
        """The model with a sparse copy of each linear layer that is faster with one."""
        sparse = copy.deepcopy(model)
        replaced = 0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the format is in beta
            for name, layer, taken in _linear_layers(sparse, inputs):
                candidate = SparseLinear(layer.weight, layer.bias)
                if self.everywhere or is_faster(candidate, layer, taken):
                    sparse.set_submodule(name, candidate)
                    replaced += 1
        if not replaced:
            raise UnsupportedError("no linear layer is faster as a sparse matrix")
        return lambda: sparse(inputs)


class SparseLinear(nn.Module):
    """A linear layer whose weight is in compressed rows."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight = weight.detach().to_sparse_csr()
        self.bias = bias
        self.out_features = len(weight)

    def forward(self, inputs: Tensor) -> Tensor:
        """The output, of whatever shape the inputs are."""
        # Sparse times dense is several times as fast as what nn.functional.linear does with it.
        product = (self.weight @ inputs.flatten(0, -2).T).T
        outputs = product if self.bias is None else product + self.bias
        return outputs.reshape(*inputs.shape[:-1], self.out_features)


def _linear_layers(model: nn.Module, inputs: Tensor) -> list[tuple[str, nn.Linear, Tensor]]:
    """The linear layers that the model calls, each with what goes into it."""
    names = {module: name for name, module in model.named_modules()}
    seen: dict[nn.Module, Tensor] = {}

    def note(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        seen[module] = arguments[0]

    handles = [
        module.register_forward_pre_hook(note)
        for module in model.modules()
        if type(module) is nn.Linear
    ]
    model(inputs)
    for handle in handles:
        handle.remove()
    return [(names[each], each, taken) for each, taken in seen.items()]  # type: ignore[misc]


def is_faster(
    candidate: Callable[[Tensor], Tensor], layer: Callable[[Tensor], Tensor], inputs: Tensor
) -> bool:
    """Whether a candidate takes less time on the inputs than the layer."""
    calls = {"sparse": lambda: candidate(inputs), "dense": lambda: layer(inputs)}
    times = interleaved(calls, Protocol(5, 5, sample_ms=1.0), cuda=inputs.is_cuda)
    return bool(sorted(times["sparse"])[2] < sorted(times["dense"])[2])
