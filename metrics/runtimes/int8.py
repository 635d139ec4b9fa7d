"""Int8 in ONNX Runtime: the rival of pruning, which makes a dense network faster."""

from __future__ import annotations

import math
import tempfile
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from .onnx_runtime import as_onnx, in_onnx_runtime, refuse_elsewhere
from .runtime import Run, Runtime, UnsupportedError, quietly, register


@register
@dataclass(frozen=True)
class OnnxInt8(Runtime):
    """ONNX Runtime with weights and activations of 8 bits, as many threads as torch has.

    Static quantisation (Jacob et al. 2018): a scale for each output channel of a weight, and one
    for each activation, by its least and largest value on the examples that are timed. Outputs are
    not those of float32: by how much they differ stands with the time as ``difference``, and no
    difference is too large. ``pip install '.[onnx]'``.
    """

    tolerance = math.inf

    def prepare(self, model: nn.Module, inputs: Tensor) -> Run:
        """A session on the exported network, quantised, with the inputs given to it beforehand."""
        refuse_elsewhere(inputs)
        network = as_onnx(model, inputs)
        try:
            with quietly(), redirect_stdout(StringIO()):
                quantised = _quantised(network, inputs)
        except Exception as error:  # whatever the quantiser raises
            raise UnsupportedError.because("no network of 8 bits", error) from error
        return in_onnx_runtime(quantised, inputs)


class _Examples:
    """What the quantiser asks for batches, until there are none."""

    def __init__(self, inputs: Tensor) -> None:
        self._batches = iter([{"input": inputs.contiguous().numpy()}])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._batches, None)


def _quantised(network: bytes, inputs: Tensor) -> bytes:
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{name}.onnx" for name in ("float", "prepared", "quantised")]
        paths[0].write_bytes(network)
        quant_pre_process(paths[0], paths[1])
        quantize_static(
            paths[1],
            paths[2],
            _Examples(inputs),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return paths[2].read_bytes()
