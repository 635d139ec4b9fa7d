"""Shrinking large networks: does it compute the same, and is it as small as the masks say?

    python benchmarks/shrinking.py
    python benchmarks/shrinking.py --networks resnet50 vit_b_16 --removed 0.5

Of each group of channels (heads, for attention) a fraction is removed at random. Told are the
largest difference between the outputs of the masked and the shrunk network, relative to the
largest output; whether parameters and multiply–adds of the shrunk network are what the masks
predict; and the seconds that tracing and shrinking take.
"""

from __future__ import annotations

import argparse
import copy
import time

import torch
import torchvision
from tabulate import tabulate
from torch import Tensor, nn

from prunebench.benchmark.target import flops_left
from prunebench.metrics import flops_by_module
from prunebench.models import MODELS
from prunebench.strategies import (
    Coupling,
    MaskedWeights,
    check_equivalence,
    couple,
    keep_largest,
    output_weight,
    prunable_weights,
    shrink,
)

_OURS = {
    "LeNet5": (1, 28, 28),
    "CifarResNet(depth=20)": (3, 32, 32),
    "CifarResNet(depth=56)": (3, 32, 32),
    "CifarVGG(depth=16)": (3, 32, 32),
}
_TORCHVISION = ("resnet18", "resnet50", "vgg16_bn", "mobilenet_v2", "densenet121", "vit_b_16")
_HEADERS = (
    "network",
    "removed",
    "difference",
    "parameters",
    "FLOPs",
    "compression",
    "speedup",
    "s",
)


def main() -> None:
    """Print a line for each network and fraction."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=[*_OURS, *_TORCHVISION])
    parser.add_argument("--removed", nargs="+", type=float, default=[0.3, 0.5, 0.75])
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    lines = []
    for name in options.networks:
        torch.manual_seed(0)
        model, shape = _network(name)
        inputs = torch.randn(2, *shape)
        start = time.perf_counter()
        names = [each for each in prunable_weights(model) if each != output_weight(model)]
        coupling = couple(model, inputs[:1], names)
        tracing = time.perf_counter() - start
        lines += [_line(name, model, coupling, inputs, each, tracing) for each in options.removed]
    print(tabulate(lines, headers=_HEADERS, disable_numparse=True))


def _network(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    """The network with parameters and statistics at which nothing cancels by chance."""
    if name in _OURS:
        model, shape = MODELS.component(name).create(input_shape=_OURS[name]), _OURS[name]
    else:
        model, shape = torchvision.models.get_model(name, weights=None), (3, 224, 224)
    with torch.no_grad():
        for key, statistic in model.named_buffers():
            if key.endswith("running_mean"):
                statistic.normal_(0, 0.1)
            elif key.endswith("running_var"):
                statistic.uniform_(0.5, 1.5)
        for parameter in model.parameters():
            if parameter.ndim == 1 or not parameter.any():
                parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval(), shape


def _line(
    name: str, model: nn.Module, coupling: Coupling, inputs: Tensor, removed: float, tracing: float
) -> list[str]:
    lots = torch.Generator().manual_seed(0)
    kept = torch.cat(
        [
            keep_largest(
                torch.rand(size, generator=lots), max(1, round((1 - removed) * size)), lots
            )
            for size in (group.stop - group.start for group in coupling.groups.values())
        ]
    )
    masks = coupling.masks(model, kept)
    masked = copy.deepcopy(model)
    MaskedWeights(masked, masks).apply()
    start = time.perf_counter()
    small = shrink(masked, coupling, kept)
    seconds = tracing + time.perf_counter() - start
    difference = check_equivalence(masked, small, inputs)

    parameters = {n: p.numel() for n, p in model.named_parameters()}
    predicted = sum(int(masks[n].sum()) if n in masks else size for n, size in parameters.items())
    got = sum(p.numel() for p in small.parameters())
    predicted_flops = round(flops_left(model, inputs[:1])(coupling, kept))
    dense_flops = sum(flops_by_module(model, inputs[:1]).values())
    got_flops = sum(flops_by_module(small, inputs[:1]).values())
    return [
        name,
        f"{100 * removed:g} %",
        f"{difference:.0e}",
        _beside(predicted, got),
        _beside(predicted_flops, got_flops),
        f"{sum(parameters.values()) / got:.2f}",
        f"{dense_flops / got_flops:.2f}",
        f"{seconds:.2f}",
    ]


def _beside(predicted: int, got: int) -> str:
    return f"{got:,} {'as predicted' if got == predicted else f'NOT {predicted:,}'}"


if __name__ == "__main__":
    main()
