"""Runtimes: ways to run a network, each of which makes something else of its zeros."""

from __future__ import annotations

import copy
import io
import logging
import re
import shutil
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from ..errors import lacking
from ..registry import Configured, Registry
from .timing import Protocol, interleaved

NetworkKind = Literal["dense", "masked", "shrunk"]
Run = Callable[[], Tensor]

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class UnsupportedError(Exception):
    """Why a runtime or a file format cannot take a network, in a sentence without a full stop."""

    @classmethod
    def because(cls, what: str, error: BaseException) -> UnsupportedError:
        """``what``, and the first line of the error that was at the bottom of ``error``."""
        while error.__cause__ is not None:
            error = error.__cause__
        first = "".join(_COLOUR.sub("", str(error)).strip().splitlines()[:1])[:200]
        return cls(f"{what}: {type(error).__name__}: {first}")


@dataclass(frozen=True)
class Runtime(Configured, ABC):
    """A way to run a network.

    Attributes:
        runs_dense: whether it is any use to a network without zeros, so that pruned networks are
            compared with the dense one in this runtime; else they are with that in ``Eager``.
        uses_zeros: whether it is the zeros of the masked network that it gains from, and not a
            smaller one.
        tolerance: by how much outputs may differ from those of ``Eager``, relative to the largest.
    """

    runs_dense: ClassVar[bool] = True
    uses_zeros: ClassVar[bool] = False
    tolerance: ClassVar[float] = 1e-3

    @abstractmethod
    def prepare(self, model: nn.Module, inputs: Tensor) -> Run:
        """What runs ``model``, which is in evaluation mode, on ``inputs`` and gives its output.

        Raises:
            UnsupportedError: the runtime is not installed, or has no use or no support for the
                model.
        """

    def forget(self) -> None:
        """Drop what is remembered of networks prepared before, which are not run again."""


RUNTIMES: Registry[Runtime] = Registry("runtime", "runtimes", Runtime, home=__name__)
register = RUNTIMES.register


@register
@dataclass(frozen=True)
class Eager(Runtime):
    """PyTorch as it comes: one operation after the other, zeros multiplied like all else."""

    def prepare(self, model: nn.Module, inputs: Tensor) -> Run:
        """The forward pass itself."""
        return lambda: model(inputs)


@register
@dataclass(frozen=True)
class Compiled(Runtime):
    """``torch.compile`` for this batch size; on a CPU it needs a C++ compiler."""

    def prepare(self, model: nn.Module, inputs: Tensor) -> Run:
        """The compiled forward pass; compiling takes from seconds to minutes."""
        if not inputs.is_cuda and not any(map(shutil.which, ("c++", "g++", "clang++", "cl"))):
            raise UnsupportedError("torch.compile needs a C++ compiler, and there is none")
        compiled = torch.compile(model, dynamic=False)
        with _quiet():
            compiled(inputs)
        return lambda: compiled(inputs)

    def forget(self) -> None:
        """Else networks of the same class would be compiled no more after a few."""
        torch.compiler.reset()


@register
@dataclass(frozen=True)
class OnnxRuntime(Runtime):
    """ONNX Runtime on the CPU, as many threads as torch has; ``pip install '.[onnx]'``."""

    def prepare(self, model: nn.Module, inputs: Tensor) -> Run:
        """A session on the exported network, with the inputs given to it beforehand."""
        if inputs.is_cuda:
            raise UnsupportedError("ONNX Runtime is run on the CPU only")
        if reason := lacking("onnx", "onnx", "onnxscript", "onnxruntime"):
            raise UnsupportedError(reason)
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(
            as_onnx(model, inputs), options, providers=["CPUExecutionProvider"]
        )
        feed = {session.get_inputs()[0].name: inputs.contiguous().numpy()}
        return lambda: torch.from_numpy(session.run(None, feed)[0])


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
                candidate = _SparseLinear(layer)
                if self.everywhere or _is_faster(candidate, layer, taken):
                    sparse.set_submodule(name, candidate)
                    replaced += 1
        if not replaced:
            raise UnsupportedError("no linear layer is faster as a sparse matrix")
        return lambda: sparse(inputs)


@register
@dataclass(frozen=True)
class SemiStructured(Runtime):
    """NVIDIA's kernels for two of four weights (Mishra et al. 2021), in half precision, on a GPU.

    The dense network is run in half precision too.
    """

    uses_zeros = True
    tolerance = 5e-2

    def prepare(self, model: nn.Module, inputs: Tensor) -> Run:
        """The model in half precision, linear layers in the 2:4 pattern in the sparse format."""
        if not inputs.is_cuda:
            raise UnsupportedError("2:4 sparsity needs an NVIDIA GPU")
        if torch.cuda.get_device_capability() < (8, 0):
            raise UnsupportedError(
                "2:4 sparsity needs an NVIDIA GPU of compute capability 8.0 or more"
            )
        half, halves = copy.deepcopy(model).half(), inputs.half()
        layers = [each for each in half.modules() if isinstance(each, nn.Linear)]
        if has_zeros := any(bool((each.weight == 0).any()) for each in layers):
            fitting = [each for each in layers if _is_two_of_four(each.weight)]
            for layer in fitting:
                sparse = torch.sparse.to_sparse_semi_structured(layer.weight.detach())
                layer.weight = nn.Parameter(sparse, requires_grad=False)
            if has_zeros and not fitting:
                raise UnsupportedError("no linear layer has the 2:4 pattern in a size that fits")
        return lambda: half(halves)


def as_onnx(model: nn.Module, inputs: Tensor, *, any_batch_size: bool = False) -> bytes:
    """The network as an ONNX file, its input called ``input`` and its output ``output``.

    Raises:
        UnsupportedError: it cannot be exported, or what exports it is not installed.
    """
    if reason := lacking("onnx", "onnx", "onnxscript"):
        raise UnsupportedError(reason)
    shapes = ({0: torch.export.Dim.DYNAMIC},) if any_batch_size else None
    try:
        with _quiet(), redirect_stdout(io.StringIO()):
            program = torch.onnx.export(
                model,
                (inputs.contiguous(),),
                dynamo=True,
                input_names=["input"],
                output_names=["output"],
                dynamic_shapes=shapes,
                verbose=False,
            )
        assert program is not None  # it is without a file name
        content: bytes = program.model_proto.SerializeToString()
    except Exception as error:  # whatever the exporter raises
        raise UnsupportedError.because("no ONNX export", error) from error
    return content


class _SparseLinear(nn.Module):
    """A linear layer whose weight is in compressed rows."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.weight = layer.weight.detach().to_sparse_csr()
        self.bias = layer.bias
        self.out_features = layer.out_features

    def forward(self, inputs: Tensor) -> Tensor:
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


def _is_faster(candidate: nn.Module, layer: nn.Module, inputs: Tensor) -> bool:
    calls = {"sparse": lambda: candidate(inputs), "dense": lambda: layer(inputs)}
    times = interleaved(calls, Protocol(5, 5, sample_ms=1.0), cuda=inputs.is_cuda)
    return bool(sorted(times["sparse"])[2] < sorted(times["dense"])[2])


def _is_two_of_four(weight: Tensor) -> bool:
    """Whether of four consecutive weights two at most are not zero, in a size that kernels take."""
    rows, columns = weight.shape
    if rows % 32 or columns % 64:
        return False
    return bool(((weight != 0).unflatten(1, (-1, 4)).sum(2) <= 2).all())


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep off the terminal what compilers and exporters say while all goes well."""
    names = ("torch", "onnxscript", "onnx_ir")
    levels = {name: logging.getLogger(name).level for name in names}
    try:
        for name in names:
            logging.getLogger(name).setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
