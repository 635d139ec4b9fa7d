"""OpenVINO, Intel's runtime."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...errors import lacking
from .runtime import Run, Runtime, UnsupportedError, quietly, register


@register
@dataclass(frozen=True)
class OpenVINO(Runtime):
    """OpenVINO on the CPU, in float32, as many threads as torch has; ``pip install '.[openvino]'``.

    Without being told it would compute in half precision where the processor can.
    """

    def prepare(self, model: nn.Module, inputs: Tensor, examples: Tensor | None = None) -> Run:
        """The exported network compiled for the CPU, with the inputs given to it beforehand."""
        if inputs.is_cuda:
            raise UnsupportedError("OpenVINO is run on the CPU only")
        if reason := lacking("openvino", "openvino"):
            raise UnsupportedError(reason)
        import openvino

        inputs = inputs.contiguous()
        try:
            with quietly():
                network = openvino.convert_model(torch.export.export(model, (inputs,)))
        except Exception as error:  # whatever the exporter or the converter raises
            raise UnsupportedError.because("no conversion to OpenVINO", error) from error
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "NUM_STREAMS": 1,
        }
        compiled = openvino.compile_model(network, "CPU", settings)
        array = inputs.numpy()  # which is read anew each time, and so must live as long
        return lambda: torch.from_numpy(compiled(array, share_inputs=True, share_outputs=True)[0])
