"""Direct sparse convolution: a convolution that multiplies by the weights that are not zero.

Each output channel is a sum of shifted input planes, one for each such weight. The kernel is
``direct_convolution.c``, which the system's C compiler makes for this processor at first use.
"""

from __future__ import annotations

import ctypes
import functools
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .runtime import UnsupportedError

_SOURCE = Path(__file__).with_name("direct_convolution.c")
_COMPILERS = ("cc", "gcc", "clang")
_FLAGS = ("-O3", "-march=native", "-fopenmp", "-shared", "-fPIC")

# The most lanes that the kernel's vectors have: it reads and writes as many positions at least.
_LANES = 16


class Geometry(NamedTuple):
    """How the windows of a convolution lie, along height and width."""

    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1


class _Layer(ctypes.Structure):
    """As in the kernel's source."""

    _fields_ = [
        *(
            (name, ctypes.c_int64)
            for name in (
                *("channels", "height", "width", "stride_y", "stride_x", "pad_y", "pad_x"),
                *("phases", "plane_height", "plane_width", "plane"),
                *("rows", "out_height", "out_width", "out_plane", "rectified", "threads"),
            )
        ),
        *(
            (name, ctypes.c_void_p)
            for name in (
                *("phase", "start", "offset", "value", "bias"),
                *("packed", "wide", "wide_added"),
            )
        ),
    ]


class DirectConvolution(nn.Module):
    """A convolution of images of one size, with as many threads as torch has now.

    Args:
        weight: output channels × input channels of a group × height × width, of float32.
        bias: for each output channel.
        geometry: of its windows.
        image: channels, height and width of an input.
        rectified: whether what is negative becomes zero.

    Raises:
        UnsupportedError: there is no C compiler, or it cannot compile the kernel.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        geometry: Geometry,
        image: tuple[int, int, int],
        rectified: bool = False,
    ) -> None:
        super().__init__()
        self._convolve = _library().convolve
        channels, height, width = image
        (stride_y, stride_x), padding, dilation, groups = geometry
        rows, _, *kernel = weight.shape
        spans = [far * (taps - 1) for far, taps in zip(dilation, kernel, strict=True)]
        out_height = (height + 2 * padding[0] - spans[0] - 1) // stride_y + 1
        out_width = (width + 2 * padding[1] - spans[1] - 1) // stride_x + 1
        plane_height = out_height + spans[0] // stride_y
        plane_width = out_width + spans[1] // stride_x
        plane = plane_height * plane_width
        row, channel, y, x, value = _weights_left(weight, dilation, groups)
        phase, index = torch.unique(y % stride_y * stride_x + x % stride_x, return_inverse=True)
        offset = (channel * max(len(phase), 1) + index) * plane
        offset += y // stride_y * plane_width + x // stride_x
        starts = torch.zeros(rows + 1, dtype=torch.int32)
        starts[1:] = torch.bincount(row, minlength=rows).cumsum(0)
        self._tensors = {
            "phase": phase,
            "start": starts,
            "offset": offset.to(torch.int32),
            "value": value,
            "bias": bias.contiguous(),
        }
        # The kernel reads and writes where torch does if nothing lies between rows of pixels.
        tiny = out_height * plane_width < _LANES
        if tiny or (plane, len(phase)) != (height * width, 1) or padding != (0, 0):
            self._tensors["packed"] = torch.zeros(channels * max(len(phase), 1) * plane + _LANES)
        out_plane = max(out_height * plane_width, _LANES)
        if tiny or plane_width != out_width:
            for name in ("wide", "wide_added"):
                self._tensors[name] = torch.zeros(rows * out_plane)
        self._layer = _Layer(
            *(channels, height, width, stride_y, stride_x, *padding),
            *(len(phase), plane_height, plane_width, plane),
            *(rows, out_height, out_width, out_plane, rectified, torch.get_num_threads()),
            **{name: tensor.data_ptr() for name, tensor in self._tensors.items()},
        )

    def forward(self, inputs: Tensor, added: Tensor | None = None) -> Tensor:
        """The output for a batch of images, with ``added`` added before it is rectified."""
        inputs = inputs.contiguous()
        layer = self._layer
        outputs = inputs.new_empty(len(inputs), layer.rows, layer.out_height, layer.out_width)
        added = None if added is None else added.contiguous()
        self._convolve(
            ctypes.byref(layer),
            ctypes.c_int64(len(inputs)),
            ctypes.c_void_p(inputs.data_ptr()),
            ctypes.c_void_p(None if added is None else added.data_ptr()),
            ctypes.c_void_p(outputs.data_ptr()),
        )
        return outputs


def _weights_left(
    weight: Tensor, dilation: tuple[int, int], groups: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Of each weight that is not zero its output and input channel, how far it reads, its value."""
    row, channel, y, x = weight.nonzero(as_tuple=True)
    value = weight[row, channel, y, x]
    group = row // (len(weight) // groups)
    return row, channel + group * weight.shape[1], y * dilation[0], x * dilation[1], value


@functools.cache
def _library() -> ctypes.CDLL:
    """The kernel, compiled."""
    compiler = next(filter(None, map(shutil.which, _COMPILERS)), None)
    if compiler is None:
        raise UnsupportedError("the kernel needs a C compiler, and there is none")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "direct_convolution.so"
        command = [compiler, *_FLAGS, str(_SOURCE), "-o", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            said = next((line for line in done.stderr.splitlines() if "error" in line), "")
            raise UnsupportedError(f"the C compiler cannot make the kernel: {said[:200]}")
        return ctypes.CDLL(str(path))
