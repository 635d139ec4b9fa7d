"""Int8 in ONNX Runtime: the rival of pruning, which makes a dense network faster."""

from __future__ import annotations

import math
import tempfile
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from .onnx_runtime import as_onnx, in_onnx_runtime, refuse_elsewhere
from .runtime import Run, Runtime, UnsupportedError, quietly, register


@register
@dataclass(frozen=True)
class OnnxInt8(Runtime):
    """ONNX Runtime with weights and activations of 8 bits, as many threads as torch has.

    Static quantisation (Jacob et al. 2018): a scale for each output channel of a weight, and one
    for each activation, by its least and largest value on training examples. Outputs are not those
    of float32: by how much they differ stands with the time as ``difference``, and no difference is
    too large, since what becomes of the quality is measured. ``pip install '.[onnx]'``.
    """

    tolerance = math.inf

    def prepare(self, model: nn.Module, inputs: Tensor, examples: Tensor | None = None) -> Run:
        """A session on the exported network, quantised, with the inputs given to it beforehand."""
        refuse_elsewhere(inputs)
        network, known = as_onnx(model, inputs), inputs if examples is None else examples
        return in_onnx_runtime(_quantised(network, len(inputs), known), inputs)

    def rounded(self, model: nn.Module, examples: Tensor) -> nn.Module:
        """The same network of 8 bits."""
        refuse_elsewhere(examples)
        network = as_onnx(model, examples, any_batch_size=True)
        return _Quantised(_quantised(network, len(examples), examples))


class _Quantised(nn.Module):
    """A network of 8 bits."""

    def __init__(self, network: bytes) -> None:
        super().__init__()
        self._network = network

    def forward(self, inputs: Tensor) -> Tensor:
        return in_onnx_runtime(self._network, inputs)()


class _Examples:
    """What the quantiser asks for batches, until there are none."""

    def __init__(self, examples: Tensor, batch_size: int) -> None:
        whole = examples[torch.arange(-(-len(examples) // batch_size) * batch_size) % len(examples)]
        self._batches = iter(whole.split(batch_size))

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self._batches, None)
        return None if batch is None else {"input": batch.contiguous().numpy()}


def _quantised(network: bytes, batch_size: int, examples: Tensor) -> bytes:
    """An ONNX file, for batches of a size, with scales that fit the examples.

    Raises:
        UnsupportedError: it cannot be quantised.
    """
    try:
        with quietly(), redirect_stdout(StringIO()):
            return _statically_quantised(network, _Examples(examples, batch_size))
    except Exception as error:  # whatever the quantiser raises
        raise UnsupportedError.because("no network of 8 bits", error) from error


def _statically_quantised(network: bytes, examples: _Examples) -> bytes:
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{name}.onnx" for name in ("float", "prepared", "quantised")]
        paths[0].write_bytes(network)
        quant_pre_process(paths[0], paths[1])
        quantize_static(
            paths[1],
            paths[2],
            examples,
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return paths[2].read_bytes()
