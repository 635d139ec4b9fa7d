"""PyTorch's own ways to run a network: as it comes, compiled, and with 2:4 kernels on a GPU."""

from __future__ import annotations

import copy
import shutil
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .runtime import Run, Runtime, UnsupportedError, quietly, register


@register
@dataclass(frozen=True)
class Eager(Runtime):
    """PyTorch as it comes: one operation after the other, zeros multiplied like all else."""

    def prepare(self, model: nn.Module, inputs: Tensor, examples: Tensor | None = None) -> Run:
        """The forward pass itself."""
        return lambda: model(inputs)


@register
@dataclass(frozen=True)
class Compiled(Runtime):
    """``torch.compile`` for this batch size; on a CPU it needs a C++ compiler."""

    def prepare(self, model: nn.Module, inputs: Tensor, examples: Tensor | None = None) -> Run:
        """The compiled forward pass; compiling takes from seconds to minutes."""
        if not inputs.is_cuda and not any(map(shutil.which, ("c++", "g++", "clang++", "cl"))):
            raise UnsupportedError("torch.compile needs a C++ compiler, and there is none")
        compiled = torch.compile(model, dynamic=False)
        with quietly():
            compiled(inputs)
        return lambda: compiled(inputs)

    def forget(self) -> None:
        """Else networks of the same class would be compiled no more after a few."""
        torch.compiler.reset()


@register
@dataclass(frozen=True)
class SemiStructured(Runtime):
    """NVIDIA's kernels for two of four weights (Mishra et al. 2021), in half precision, on a GPU.

    The dense network is run in half precision too; one in bfloat16 stays so.
    """

    uses_zeros = True
    tolerance = 5e-2

    def prepare(self, model: nn.Module, inputs: Tensor, examples: Tensor | None = None) -> Run:
        """The model in half precision, linear layers in the 2:4 pattern in the sparse format."""
        if not inputs.is_cuda:
            raise UnsupportedError("2:4 sparsity needs an NVIDIA GPU")
        if torch.cuda.get_device_capability() < (8, 0):
            raise UnsupportedError(
                "2:4 sparsity needs an NVIDIA GPU of compute capability 8.0 or more"
            )
        half, halves = _in_half_precision(copy.deepcopy(model), inputs)
        layers = [each for each in half.modules() if isinstance(each, nn.Linear)]
        if has_zeros := any(bool((each.weight == 0).any()) for each in layers):
            fitting = [each for each in layers if _is_two_of_four(each.weight)]
            for layer in fitting:
                sparse = torch.sparse.to_sparse_semi_structured(layer.weight.detach())
                layer.weight = nn.Parameter(sparse, requires_grad=False)
            if has_zeros and not fitting:
                raise UnsupportedError("no linear layer has the 2:4 pattern in a size that fits")
        return lambda: half(halves)


def _in_half_precision(model: nn.Module, inputs: Tensor) -> tuple[nn.Module, Tensor]:
    """A network and what goes into it, which may be tokens; bfloat16 has 16 bits as it is."""
    if any(each.dtype == torch.bfloat16 for each in model.parameters()):
        return model, inputs
    return model.half(), inputs.half() if inputs.is_floating_point() else inputs


def _is_two_of_four(weight: Tensor) -> bool:
    """Whether of four consecutive weights two at most are not zero, in a size that kernels take."""
    rows, columns = weight.shape
    if rows % 32 or columns % 64:
        return False
    return bool(((weight != 0).unflatten(1, (-1, 4)).sum(2) <= 2).all())
