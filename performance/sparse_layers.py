"""From which sparsity on ResNet-50's layers are faster without their zeros, and by which way.

    python performance/sparse_layers.py
    python performance/sparse_layers.py --sparsities 0.9 --samples 30

Weights are pruned at random, one example goes in, one thread computes. For each way a table says
how many times as fast it is as the dense layer in ONNX Runtime, which must be installed. Sparse
rows (CSR) and sparse blocks (BSR, whole blocks of 8 × 8 weights being zero) are PyTorch's products
of matrices, of unrolled images where the kernel is larger than 1 × 1; ``direct`` is the kernel of
the runtime ``SparseDirect``. The last column is the least sparsity measured from which on it pays.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Mapping, Sequence

import torch
from tabulate import tabulate
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from prunebench.metrics import Protocol, interleaved, keep_memory, pinned, ratio
from prunebench.metrics.runtimes import OnnxRuntime
from prunebench.metrics.runtimes.direct_convolution import DirectConvolution, Geometry
from prunebench.seeding import generator

Call = Callable[[], object]

_BLOCK = 8

# Inputs, outputs, kernel and side of the image; the last is the linear layer.
_LAYERS = (
    *((64, 256, 1, 56), (256, 64, 1, 56), (512, 128, 1, 28), (128, 512, 1, 28)),
    *((1024, 256, 1, 14), (256, 1024, 1, 14), (2048, 512, 1, 7), (512, 2048, 1, 7)),
    *((64, 64, 3, 56), (128, 128, 3, 28), (256, 256, 3, 14), (512, 512, 3, 7)),
    (2048, 1000, 1, 1),
)


def main() -> None:
    """Print a table for each way."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--sparsities", nargs="+", type=float, default=[0.5, 0.7, 0.8, 0.9, 0.95, 0.98]
    )
    parser.add_argument("--samples", type=int, default=9, help="of each time")
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory()
    rows: dict[str, list[list[object]]] = {}
    with torch.inference_mode(), pinned(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that sparse tensors are in beta
        for layer in tqdm(_LAYERS, leave=False):
            speedups = _speedups(layer, options.sparsities, options.samples)
            for way, found in speedups.items():
                rows.setdefault(way, []).append([_title(layer), *found.values(), _pays(found)])
    for way, lines in rows.items():
        headers = [way, *(f"{each:.0%}" for each in options.sparsities), "pays from"]
        print(tabulate(lines, headers, floatfmt=".2f", disable_numparse=[len(headers) - 1]) + "\n")


def _pays(speedups: Mapping[float, float]) -> str:
    """From which of the sparsities on all are faster than dense."""
    slower = [each for each, speedup in speedups.items() if speedup <= 1]
    faster = [each for each in speedups if each > max(slower, default=-1.0)]
    return f"{min(faster):.0%}" if faster else "never"


def _speedups(
    layer: tuple[int, int, int, int], sparsities: Sequence[float], samples: int
) -> dict[str, dict[float, float]]:
    """For each way and each sparsity, the time of the dense layer in ONNX Runtime over its time."""
    inputs, outputs, kernel, side = layer
    lots = generator(0, "sparse layers")
    weight = torch.randn(outputs, inputs, kernel, kernel, generator=lots)
    image = torch.randn(1, inputs, side, side, generator=lots)
    calls = {"dense": _in_onnx_runtime(weight, image)}
    for sparsity in sparsities:
        kept = torch.rand(outputs, inputs, kernel, kernel, generator=lots) >= sparsity
        blocks = torch.rand(outputs // _BLOCK, weight[0].numel() // _BLOCK, generator=lots)
        whole = blocks.repeat_interleave(_BLOCK, 0).repeat_interleave(_BLOCK, 1) >= sparsity
        rows, in_blocks = (weight * kept).flatten(1), weight.flatten(1) * whole
        calls[f"CSR {sparsity}"] = _product(rows.to_sparse_csr(), kernel, image)
        calls[f"BSR {sparsity}"] = _product(
            in_blocks.to_sparse_bsr((_BLOCK, _BLOCK)), kernel, image
        )
        calls[f"direct {sparsity}"] = _direct(weight * kept, image)
    times = interleaved(calls, Protocol(samples, samples, sample_ms=2.0))
    return {
        way: {each: ratio(times["dense"], times[f"{way} {each}"]).value for each in sparsities}
        for way in ("CSR", "BSR", "direct")
    }


def _in_onnx_runtime(weight: Tensor, image: Tensor) -> Call:
    outputs, inputs, kernel, _ = weight.shape
    layer = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    layer.weight = nn.Parameter(weight)
    return OnnxRuntime().prepare(layer, image)


def _product(matrix: Tensor, kernel: int, image: Tensor) -> Call:
    if kernel == 1:
        return lambda: matrix @ image[0].flatten(1)
    return lambda: matrix @ F.unfold(image, kernel, padding=kernel // 2)[0]


def _direct(weight: Tensor, image: Tensor) -> Call:
    side = weight.shape[-1] // 2
    _, channels, height, width = image.shape
    layer = DirectConvolution(
        weight, torch.zeros(len(weight)), Geometry(padding=(side, side)), (channels, height, width)
    )
    return lambda: layer(image)


def _title(layer: tuple[int, int, int, int]) -> str:
    inputs, outputs, kernel, side = layer
    if side == 1:
        return f"{inputs} → {outputs}, linear"
    return f"{inputs} → {outputs}, {kernel} × {kernel}, {side} × {side}"


if __name__ == "__main__":
    main()
