"""Shrinking large networks: does it compute the same, and is it as small as the masks say?

    python performance/shrinking.py
    python performance/shrinking.py --networks resnet50 timm/mobilevit_xxs --removed 0.5
    python performance/shrinking.py --families

Of each group of channels (heads, for attention) a fraction is removed at random. Told are the
largest difference between the outputs of the masked and the shrunk network, relative to the
largest output; whether parameters and multiply–adds of the shrunk network are what the masks
predict; and the seconds that tracing and shrinking take. A network that cannot be shrunk has the
sentence that says so. ``--families`` takes a small network of each of 40 families of torchvision
and timm (which takes 3 GB, and half an hour on one core).
"""

from __future__ import annotations

import argparse
import copy
import time

import torch
from tabulate import tabulate
from torch import Tensor, nn

from prunebench.benchmark.cell.target import flops_left
from prunebench.errors import UsageError
from prunebench.metrics import flops_by_module
from prunebench.models import MODELS
from prunebench.strategies import (
    Coupling,
    MaskedWeights,
    check_equivalence,
    couple,
    keep_largest,
    output_weights,
    prunable_weights,
    shrink,
    unsettled,
)

_OURS = {
    "LeNet5": (1, 28, 28),
    "CifarResNet(depth=20)": (3, 32, 32),
    "CifarResNet(depth=56)": (3, 32, 32),
    "CifarVGG(depth=16)": (3, 32, 32),
}
_TORCHVISION = ("resnet18", "resnet50", "vgg16_bn", "mobilenet_v2", "densenet121", "vit_b_16")
# Pixels a side: no more than it takes, since what belongs together does not depend on them.
_FAMILIES = {
    "torchvision/alexnet": 64,
    "torchvision/convnext_tiny": 64,
    "torchvision/densenet121": 64,
    "torchvision/efficientnet_b0": 64,
    "torchvision/googlenet": 64,
    "torchvision/inception_v3": 96,
    "torchvision/maxvit_t": 224,
    "torchvision/mnasnet0_5": 64,
    "torchvision/mobilenet_v2": 64,
    "torchvision/mobilenet_v3_small": 64,
    "torchvision/regnet_y_400mf": 64,
    "torchvision/resnet50": 64,
    "torchvision/resnext50_32x4d": 64,
    "torchvision/shufflenet_v2_x0_5": 64,
    "torchvision/squeezenet1_1": 64,
    "torchvision/swin_t": 64,
    "torchvision/swin_v2_t": 64,
    "torchvision/vgg11_bn": 64,
    "torchvision/vit_b_32": 224,
    "timm/coat_lite_tiny": 224,
    "timm/convnextv2_atto": 64,
    "timm/cspresnet50": 64,
    "timm/deit_tiny_distilled_patch16_224": 224,
    "timm/deit_tiny_patch16_224": 224,
    "timm/dla46_c": 64,
    "timm/edgenext_xx_small": 64,
    "timm/efficientvit_b0": 64,
    "timm/ese_vovnet19b_slim": 64,
    "timm/ghostnet_050": 64,
    "timm/gmlp_ti16_224": 224,
    "timm/hrnet_w18_small": 64,
    "timm/levit_128s": 224,
    "timm/mixer_s32_224": 224,
    "timm/mobilevit_xxs": 64,
    "timm/poolformer_s12": 64,
    "timm/repvgg_a0": 64,
    "timm/res2net50_26w_4s": 64,
    "timm/resnetv2_50": 64,
    "timm/skresnet18": 64,
    "timm/xcit_nano_12_p16_224": 224,
}
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
    """Print a table for each network, with a line for each fraction, and how many work."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--networks", nargs="+", default=[*_OURS, *_TORCHVISION])
    chosen.add_argument("--families", dest="networks", action="store_const", const=[*_FAMILIES])
    parser.add_argument("--removed", nargs="+", type=float, default=[0.3, 0.5, 0.75])
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    work = 0
    for name in options.networks:
        try:
            lines = _lines(name, options.removed)
            print(tabulate(lines, headers=_HEADERS, disable_numparse=True), end="\n\n", flush=True)
            work += not any("NOT" in cell for line in lines for cell in line)
        except UsageError as refusal:
            print(f"{name}: refused: {refusal}", end="\n\n", flush=True)
    print(f"{work} of {len(options.networks)} work")


def _lines(name: str, fractions: list[float]) -> list[list[str]]:
    torch.manual_seed(0)
    shape = _OURS.get(name) or (3, *[_FAMILIES.get(name, 224)] * 2)
    known = name in _OURS or "/" in name
    model = MODELS.component(name if known else f"torchvision/{name}").create(input_shape=shape)
    model = unsettled(model).eval()
    inputs = torch.randn(2, *shape)
    start = time.perf_counter()
    names = [each for each in prunable_weights(model) if each not in output_weights(model)]
    coupling = couple(model, inputs[:1], names)
    tracing = time.perf_counter() - start
    if not coupling.channels:
        raise UsageError("there are no channels that could be removed")
    return [_line(name, model, coupling, inputs, each, tracing) for each in fractions]


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
