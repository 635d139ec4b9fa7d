"""What scoring and masking cost on large networks: seconds and memory, beside torch's own pruning.

    python performance/scoring_cost.py
    python performance/scoring_cost.py --models vgg16 --strategies GlobalMagnitude SNIP --threads 2

Every method removes 90 % of the prunable weights of an untrained torchvision network once, in a
process of its own; all methods take turns. Seconds are the median of the turns, and speed is the
median ratio to torch's own pruning in the same turn, with its 95 % interval; torch's own pruning
runs twice in each turn, which is the control. Memory is the peak beyond what the process held
before, in units of the network's parameters. A method without a number says why it has none, and a
speed that cannot be believed has a question mark.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from tabulate import tabulate
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import prune as torch_prune

from prunebench import UsageError
from prunebench.datasets import Batch, Split, Task, sampled_labels
from prunebench.metrics import Conditions, Ratio, load_between, processor_times, ratio
from prunebench.registry import hyperparameters
from prunebench.seeding import generator
from prunebench.strategies import (
    STRATEGIES,
    Context,
    ScoredStrategy,
    Strategy,
    find_prunable,
    full_masks,
    kept,
)

_TORCH = "torch global_unstructured"
_CONTROL = "torch global_unstructured again"
_SPARSITY = 0.9
# What a method asks of data is cut down to this, so that all do the same work.
_SCORING = {"batches": 1, "batch_size": 4, "examples": 4, "probes": 1, "iterations": 10}


class RandomImages(Task):
    """Random images of 224×224 pixels in 1,000 classes."""

    input_shape, classes, quality = (3, 224, 224), 1000, "Accuracy"

    def size(self, split: Split) -> int:
        """64 in every split."""
        return 64

    def batches(
        self, split: Split, batch_size: int, generator: torch.Generator | None = None
    ) -> Iterator[Batch]:
        """Batches of noise with random labels."""
        for _ in range(64 // batch_size):
            labels = torch.randint(self.classes, (batch_size,), generator=generator)
            yield torch.randn(batch_size, *self.input_shape, generator=generator), labels

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean cross-entropy."""
        return F.cross_entropy(model(batch[0]), batch[1])

    def sampled_loss(self, model: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        """Mean cross-entropy of labels drawn from the model."""
        logits = model(batch[0])
        return F.cross_entropy(logits, sampled_labels(logits, generator))

    def inputs(self, batch_size: int) -> Tensor:
        """Black images."""
        return torch.zeros(batch_size, *self.input_shape)


def main() -> None:
    """Measure what the command line asks for, and print a table for each network."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=["resnet50", "vgg16"])
    parser.add_argument("--strategies", nargs="+", default=STRATEGIES.names())
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=120, help="seconds for each method")
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(_measured(options.models[0], options.measure, options.threads)))
        return
    for model in options.models:
        print(f"\n{model}, {options.threads} thread(s), {_SPARSITY:.0%} removed")
        headers = ("method", "seconds", "speed", "memory / parameters", "")
        table = _table(model, options)
        print(tabulate(table, headers, floatfmt=".2f", maxcolwidths=[40, None, None, None, 50]))


def _table(model: str, options: argparse.Namespace) -> list[tuple[object, ...]]:
    """A line for each method, all of which take turns."""
    methods = [_TORCH, *options.strategies, _CONTROL]
    results: dict[str, list[dict[str, Any]]] = {method: [] for method in methods}
    load = 0.0
    for _ in range(options.turns):
        for method in methods:
            if not any("reason" in each for each in results[method]):
                results[method].append(_in_a_process(model, method, options))
                load = max(load, results[method][-1].get("load") or 0.0)
    failed = {
        method: each["reason"] for method in methods for each in results[method] if "reason" in each
    }
    seconds = {
        method: np.array([each["seconds"] for each in results[method]])
        for method in methods
        if method not in failed
    }
    control = None
    if _TORCH in seconds and _CONTROL in seconds:
        control = ratio(seconds[_TORCH], seconds[_CONTROL])
    conditions = Conditions(options.turns, load, control)
    rows: list[tuple[object, ...]] = []
    for method in methods:
        if method in failed:
            rows.append((method, None, "", None, failed[method]))
            continue
        speed = ratio(seconds[_TORCH], seconds[method]) if _TORCH in seconds else None
        memory = np.median([each["memory"] for each in results[method]])
        rows.append((method, np.median(seconds[method]), *_told(speed, conditions, memory)))
    return rows


def _told(speed: Ratio | None, conditions: Conditions, memory: float) -> tuple[object, ...]:
    """The speed if it can be believed, the memory, and why it cannot be."""
    if speed is None:
        return "", memory, ""
    doubt = conditions.doubt(speed)
    return ("?" if doubt else str(speed)), memory, doubt


def _in_a_process(model: str, method: str, options: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, __file__, "--models", model, "--measure", method]
    command += ["--threads", str(options.threads)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=options.timeout, check=True
        )
    except subprocess.TimeoutExpired:
        return {"reason": f"took more than {options.timeout:g} seconds"}
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines() or ["killed, for want of memory perhaps"]
        return {"reason": lines[-1]}
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _measured(model_name: str, method: str, threads: int) -> dict[str, Any]:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model: nn.Module = torchvision.models.get_model(model_name, weights=None)
    parameters = sum(p.numel() * p.element_size() for p in model.parameters())
    if method in (_TORCH, _CONTROL):
        layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
        pairs = [(layer, "weight") for layer in layers]
        before, books, start = _memory_now(), processor_times(), time.perf_counter()
        torch_prune.global_unstructured(pairs, torch_prune.L1Unstructured, amount=_SPARSITY)
    else:
        strategy = _frugal(STRATEGIES.component(method).create())
        if strategy.capabilities.training == "own":
            return {"reason": "prunes while the network trains"}
        found = find_prunable(model, RandomImages().inputs(1))
        names = strategy.removable(model, found)
        if not isinstance(strategy, ScoredStrategy) or not strategy.scorable(model, names):
            return {"reason": "finds nothing to prune"}
        weights = dict(model.named_parameters())
        before, books, start = _memory_now(), processor_times(), time.perf_counter()
        masks = full_masks({name: weights[name] for name in names})
        context = Context(model, RandomImages(), masks, found.outputs, generator(0))
        budget = round((1 - _SPARSITY) * kept(masks))
        try:
            strategy.masks(context, max(budget, strategy.smallest_budget(context.weights)))
        except UsageError as error:
            return {"reason": str(error)}
    seconds = time.perf_counter() - start
    load = load_between(books, processor_times())
    return {"seconds": seconds, "memory": (_peak_memory() - before) / parameters, "load": load}


def _frugal(strategy: Strategy) -> Strategy:
    """The strategy with as little scoring as it can be asked for."""
    fields = hyperparameters(type(strategy))
    less: dict[str, Any] = {name: value for name, value in _SCORING.items() if name in fields}
    if "curvature" in fields:
        curvature = strategy.curvature  # type: ignore[attr-defined]
        inner = hyperparameters(type(curvature))
        part = {name: value for name, value in _SCORING.items() if name in inner}
        less["curvature"] = replace(curvature, **part)
    return replace(strategy, **less)


def _memory_now() -> int:
    """Bytes held now; the peak is counted from here on (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _peak_memory() -> int:
    return _status("VmHWM")


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise OSError(f"this system does not tell {name}")


if __name__ == "__main__":
    main()
