"""ONNX Runtime, and the ONNX file that it runs."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...errors import lacking
from .runtime import Run, Runtime, UnsupportedError, quietly, register


@register
@dataclass(frozen=True)
class OnnxRuntime(Runtime):
    """ONNX Runtime on the CPU, as many threads as torch has; ``pip install '.[onnx]'``."""

    def prepare(self, model: nn.Module, inputs: Tensor, examples: Tensor | None = None) -> Run:
        """A session on the exported network, with the inputs given to it beforehand."""
        refuse_elsewhere(inputs)
        return in_onnx_runtime(as_onnx(model, inputs), inputs)


def refuse_elsewhere(inputs: Tensor) -> None:
    """Say so if inputs are not on the CPU, or ONNX Runtime is not installed.

    Raises:
        UnsupportedError: so it is.
    """
    if inputs.is_cuda:
        raise UnsupportedError("ONNX Runtime is run on the CPU only")
    if reason := lacking("onnx", "onnx", "onnxscript", "onnxruntime"):
        raise UnsupportedError(reason)


def in_onnx_runtime(network: bytes, inputs: Tensor) -> Run:
    """What runs an ONNX file on inputs, with as many threads as torch has."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: inputs.contiguous().numpy()}
    return lambda: torch.from_numpy(session.run(None, feed)[0])


def as_onnx(model: nn.Module, inputs: Tensor, *, any_batch_size: bool = False) -> bytes:
    """The network as an ONNX file, its input called ``input`` and its output ``output``.

    Raises:
        UnsupportedError: it cannot be exported, or what exports it is not installed.
    """
    if reason := lacking("onnx", "onnx", "onnxscript"):
        raise UnsupportedError(reason)
    shapes = ({0: torch.export.Dim.DYNAMIC},) if any_batch_size else None
    try:
        with quietly(), redirect_stdout(io.StringIO()):
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
