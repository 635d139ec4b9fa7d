"""What scoring and masking cost on large networks: seconds and memory, beside torch's own pruning.

    python performance/scoring_cost.py
    python performance/scoring_cost.py --models vgg16 --strategies GlobalMagnitude SNIP --threads 2
    python performance/scoring_cost.py --models vgg16 --strategies GlobalMagnitude --beside kthvalue

Every method removes 90 % of the prunable weights of an untrained torchvision network once, in a
process of its own; all methods take turns. Seconds are the median of the turns, and speed is the
median ratio to torch's own pruning in the same turn, with its 95 % interval; torch's own pruning
runs twice in each turn, which is the control. In its place may stand ``torch.kthvalue`` or
``torch.topk`` alone, given the magnitudes of all prunable weights in one tensor. Memory is the peak
beyond what the process held before, in units of the network's parameters. A method without a number
says why it has none, and a speed that cannot be believed has a question mark.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from tabulate import tabulate
from torch import nn
from torch.nn.utils import prune as torch_prune

from prunebench import UsageError
from prunebench.hyperparameters import hyperparameters
from prunebench.performance.forks import Cost, cost, forked
from prunebench.performance.random_images import RandomImages
from prunebench.performance.turns import Judged, Turns, take_turns
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

_TORCH, KTHVALUE, _TOPK = "global_unstructured", "kthvalue", "topk"
_AGAIN = " again"
_SPARSITY = 0.9
# What a method asks of data is cut down to this, so that all do the same work.
_SCORING = {"batches": 1, "batch_size": 4, "examples": 4, "probes": 1, "iterations": 10}


def main() -> None:
    """Measure what the command line asks for, and print a table for each network."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=["resnet50", "vgg16"])
    parser.add_argument("--strategies", nargs="+", default=STRATEGIES.names())
    parser.add_argument("--beside", choices=(_TORCH, KTHVALUE, _TOPK), default=_TORCH)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=120, help="seconds for each method")
    parser.add_argument("--turns", type=int, default=6)
    options = parser.parse_args()
    torch.set_num_threads(1)  # a process that has others cannot be forked
    for model in options.models:
        print(f"\n{model}, {options.threads} thread(s), {_SPARSITY:.0%} removed")
        headers = ("method", "seconds", "speed", "memory / parameters", "")
        table = _table(model, options)
        print(tabulate(table, headers, floatfmt=".2f", maxcolwidths=[40, None, None, None, 50]))


def _table(model: str, options: argparse.Namespace) -> list[tuple[object, ...]]:
    """A line for each method, all of which take turns."""
    torchs, again = options.beside, options.beside + _AGAIN
    processes = Processes(model, options.threads, options.timeout)
    turns = processes.measured([torchs, *options.strategies], options.turns)
    rows: list[tuple[object, ...]] = []
    for method in (torchs, *options.strategies, again):
        if method in processes.reasons:
            rows.append((method, None, "", None, processes.reasons[method]))
            continue
        memory = np.median(processes.memory[method])
        speed = None
        if {torchs, again} <= turns.seconds.keys():
            speed = turns.ratio(torchs, method, (torchs, again))
        rows.append((method, np.median(turns.seconds[method]), *_told(speed, memory)))
    return rows


def _told(speed: Judged | None, memory: float) -> tuple[object, ...]:
    """The speed if it can be believed, the memory, and why it cannot be."""
    if speed is None:
        return "", memory, ""
    return ("?" if speed.doubt else str(speed.ratio)), memory, speed.doubt


class Processes:
    """Prunes a network by one method after the other, each time in a process of its own.

    Args:
        model: a network of torchvision.
        threads: of each process.
        timeout: seconds for each.

    Attributes:
        memory: of each method the peaks, in units of the network's parameters.
        reasons: why a method has no numbers.
    """

    def __init__(self, model: str, threads: int, timeout: float) -> None:
        torch.manual_seed(0)
        self._model: nn.Module = torchvision.models.get_model(model, weights=None)
        self._bytes = sum(p.numel() * p.element_size() for p in self._model.parameters())
        self._threads, self._timeout = threads, timeout
        self.memory: dict[str, list[float]] = {}
        self.reasons: dict[str, str] = {}

    def measured(self, methods: Sequence[str], turns: int) -> Turns:
        """The seconds of each method that has any, and of the first one again, in each turn."""
        names = [*methods, methods[0] + _AGAIN]
        taken = take_turns({name: partial(self._seconds, name) for name in names}, turns)
        known = {name: s for name, s in taken.seconds.items() if name not in self.reasons}
        return taken._replace(seconds=known)

    def _seconds(self, method: str) -> float:
        if method in self.reasons:
            return math.nan
        try:
            measured = forked(lambda: self._cost(method), self._timeout)
        except (TimeoutError, ChildProcessError) as error:
            self.reasons[method] = str(error)
            return math.nan
        self.memory.setdefault(method, []).append(measured.bytes / self._bytes)
        return measured.seconds

    def _cost(self, method: str) -> Cost:
        torch.set_num_threads(self._threads)
        return cost(_pruning(self._model, method))


def _pruning(model: nn.Module, method: str) -> Callable[[], object]:
    """What is timed.

    Raises:
        UsageError: there is nothing to time.
    """
    method = method.removesuffix(_AGAIN)
    if method == _TORCH:
        layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
        pairs = [(layer, "weight") for layer in layers]
        return partial(
            torch_prune.global_unstructured,
            pairs,
            torch_prune.L1Unstructured,
            amount=_SPARSITY,
        )
    task = RandomImages(channels=3, size=224, classes=1000, examples=64).load(Path())
    found = find_prunable(model, task.inputs(1))
    weights = dict(model.named_parameters())
    if method in (KTHVALUE, _TOPK):
        scores = torch.cat([weights[name].detach().abs().flatten() for name in found.names])
        largest = round((1 - _SPARSITY) * len(scores))
        if method == KTHVALUE:
            return partial(scores.kthvalue, len(scores) - largest + 1)
        return partial(scores.topk, largest, sorted=False)
    strategy = _frugal(STRATEGIES.component(method).create())
    if strategy.capabilities.training == "own":
        raise UsageError("prunes while the network trains")
    names = strategy.removable(model, found)
    if not isinstance(strategy, ScoredStrategy) or not strategy.scorable(model, names):
        raise UsageError("finds nothing to prune")

    def masks() -> object:
        full = full_masks({name: weights[name] for name in names})
        context = Context(model, task, full, found.outputs, generator(0))
        budget = round((1 - _SPARSITY) * kept(full))
        return strategy.masks(context, max(budget, strategy.smallest_budget(context.weights)))

    return masks


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


if __name__ == "__main__":
    main()
