"""Exporting the pruned network of a run: files that other programs load without prunebench."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from ...errors import UsageError
from ...metrics import UnsupportedError, as_onnx, encode
from ...results import Place, Record, Store, write_atomically
from ...results.naming import shown
from ..sweeps.sweep import data_folder
from .restoring import restore


def export(
    record: Record,
    file_format: str,
    path: Path,
    *,
    runs: str | Place = "runs",
    data: str | Path | None = None,
    trust: bool = False,
) -> int:
    """Write the pruned network of a finished run to a file, and return its size in bytes.

    It is the network without the channels that are gone, where whole channels were removed, else
    the one with its zeros.

    Args:
        record: the run.
        file_format: ``safetensors``, ``sparse`` (safetensors with bitmasks in place of zeros),
            ``onnx`` or ``pt`` (a program that ``torch.export.load`` reads).
        path: the file.
        runs: the folder of the record, and of the weights.
        data: the folder of data sets, which know the size of the inputs.
        trust: whether Python from outside prunebench that the record names may be executed.

    Raises:
        UsageError: the format is unknown, or the network cannot be built or exported.
        OSError: the file could not be written; an earlier one is as it was.
    """
    if file_format not in FORMATS:
        raise UsageError(f"--format: {file_format!r} is not allowed: give {', '.join(FORMATS)}")
    restored = restore(record, Store(runs), data_folder(data), trust=trust)
    # Two examples: exporters take a batch of one for a constant.
    inputs = restored.task.inputs(2).contiguous()
    model = restored.deployed.to(memory_format=torch.contiguous_format)
    try:
        content = FORMATS[file_format](model, inputs)
    except UnsupportedError as unsupported:
        raise UsageError(
            f"{shown(record.experiment['model'])} cannot be exported: {unsupported}"
        ) from None
    write_atomically(path, content)
    return len(content)


def _as_safetensors(model: nn.Module, inputs: Tensor) -> bytes:
    # The format has no tied weights: each name gets a copy.
    state = {
        name: tensor.clone(memory_format=torch.contiguous_format)
        for name, tensor in model.state_dict().items()
    }
    groups = {
        name: module.groups
        for name, module in model.named_modules()
        if isinstance(module, _ConvNd) and module.groups > 1
    }
    # All sizes can be seen from the tensors, but for the groups of convolutions.
    return save(state, {"groups": json.dumps(groups)})


def _as_sparse_safetensors(model: nn.Module, inputs: Tensor) -> bytes:
    return encode(model.state_dict())


def _as_onnx(model: nn.Module, inputs: Tensor) -> bytes:
    with torch.inference_mode():
        return as_onnx(model, inputs, any_batch_size=True)


def _as_program(model: nn.Module, inputs: Tensor) -> bytes:
    batch = torch.export.Dim.DYNAMIC
    try:
        program = torch.export.export(model, (inputs,), dynamic_shapes=({0: batch},))
    except Exception as error:  # whatever the exporter raises
        raise UnsupportedError.because("no torch.export", error) from error
    with TemporaryDirectory() as folder:
        file = Path(folder) / "program.pt2"
        torch.export.save(program, file)
        return file.read_bytes()


FORMATS: dict[str, Callable[[nn.Module, Tensor], bytes]] = {
    "safetensors": _as_safetensors,
    "sparse": _as_sparse_safetensors,
    "onnx": _as_onnx,
    "pt": _as_program,
}
"""Name of a file format → what makes a file's content of a network and inputs for it."""
