"""Bytes on disk: what is saved by leaving out the zeros, and what compression makes of it.

The sparse encoding is a safetensors file. A tensor in which zeros are many is stored as two:
``<name>.bitmask``, a bit for each element in row-major order, most significant bit first, that says
whether it is there, and ``<name>.values``, those that are. Its shape is in the file's metadata, as
JSON under ``bitmask_shapes``. All other tensors are stored as they are.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from .metric import Measurements, Metric, Subject, register

_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@register
@dataclass(frozen=True)
class Storage(Metric):
    """Bytes of the network's parameters and buffers in a file; tied weights are stored once.

    Args:
        compression_level: of DEFLATE, from 1 (fast) to 9 (small).
    """

    compression_level: Annotated[int, Field(ge=1, le=9)] = 6

    definitions = {
        "file_bytes": "bytes of a safetensors file of the network as it is, zeros and all",
        "file_bytes_sparse": "bytes of the same with zeros left out, a bitmask in their place",
        "file_bytes_compressed": "bytes of the sparse file after DEFLATE, as gzip and zip use it",
        "file_bytes_shrunk": "bytes of a safetensors file of the network without the channels that "
        "are gone (only where whole channels were removed)",
    }

    def measure(self, subject: Subject) -> Measurements:
        """Encode the network in each way."""
        sparse = encode(_distinct(subject.model))
        measured: Measurements = {
            "file_bytes": len(save(_distinct(subject.model))),
            "file_bytes_sparse": len(sparse),
            "file_bytes_compressed": len(zlib.compress(sparse, self.compression_level)),
        }
        if subject.shrunk is not None:
            measured["file_bytes_shrunk"] = len(save(_distinct(subject.shrunk)))
        return measured


def encode(state: Mapping[str, Tensor]) -> bytes:
    """A state dict as a safetensors file without the zeros; :func:`decode` gives it back."""
    stored: dict[str, Tensor] = {}
    shapes: dict[str, list[int]] = {}
    for name, tensor in state.items():
        flat = tensor.detach().cpu().contiguous().flatten()
        # By its bits: a negative zero is a value like any other.
        there = flat.view(_INTEGERS[flat.element_size()]) != 0
        bitmask = torch.from_numpy(np.packbits(there.numpy()))
        if len(bitmask) + int(there.sum()) * flat.element_size() < flat.nbytes:
            shapes[name] = list(tensor.shape)
            stored[f"{name}.bitmask"], stored[f"{name}.values"] = bitmask, flat[there]
        else:
            stored[name] = flat.view(tensor.shape)
    # One entry only: the order of several differs from file to file.
    return save(stored, {"bitmask_shapes": json.dumps(shapes)})


def decode(path: str) -> dict[str, Tensor]:
    """The state dict in a file that :func:`encode` wrote, bit by bit as it was."""
    state = {}
    with safe_open(path, "pt") as file:
        shapes: dict[str, list[int]] = json.loads(file.metadata()["bitmask_shapes"])
        for name in file.keys():  # noqa: SIM118 (it is no mapping)
            stem, _, kind = name.rpartition(".")
            if stem not in shapes:
                state[name] = file.get_tensor(name)
            elif kind == "values":
                values, shape = file.get_tensor(name), shapes[stem]
                bits = np.unpackbits(file.get_tensor(f"{stem}.bitmask").numpy())
                there = torch.from_numpy(bits[: int(np.prod(shape))]).bool()
                flat = torch.zeros(len(there), dtype=values.dtype)
                flat[there] = values
                state[stem] = flat.view(shape)
    return state


def _distinct(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers, one that several modules share under the first of its names."""
    state = model.state_dict(keep_vars=True)
    first = {id(tensor): name for name, tensor in reversed(state.items())}
    return {
        name: state[name].detach().contiguous() for name in state if first[id(state[name])] == name
    }
