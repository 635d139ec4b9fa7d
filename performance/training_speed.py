"""Training throughput of the benchmark beside a hand-written PyTorch loop on the same work.

    python performance/training_speed.py [--model LeNet5] [--dataset MNIST] [--data FOLDER]
    python performance/training_speed.py --model 'CifarResNet(depth=20)' --dataset CIFAR10 \\
        --batch-size 128 --steps 10

The hand-written loop is as tight as its author could make it: the same batches, already shuffled,
augmented and normalised in memory, the same fused optimizer, channels-last, and nothing else. The
benchmark's loop makes its batches as it goes, and trains through its public engine, with masks at
90 % sparsity applied after each step. The two take turns at being the first, each turn on a fresh
network; the ratio of their throughputs is printed for each turn, and its median at the end with its
95 % interval. A ratio of 1 means that the benchmark costs nothing. Many short turns say more than a
few long ones, for a machine that is shared is slower at one time than at another. The hand-written
loop runs twice in each turn: against itself it is the control, by which the machine is judged.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from prunebench.benchmark.cell.epochs import Purpose, epochs
from prunebench.benchmark.cell.pretraining import build
from prunebench.benchmark.experiment import Experiment, Recipe
from prunebench.benchmark.sweeps.sweep import data_folder
from prunebench.datasets import DATASETS, Batch, Task
from prunebench.metrics import Conditions, keep_memory, load_between, processor_times, ratio
from prunebench.seeding import generator
from prunebench.strategies import SparseTraining, keep_largest, prunable_weights


def main() -> None:
    """Measure, and print a line for each turn."""
    options = _options()
    torch.set_num_threads(options.threads)
    keep_memory()  # as all processes do in which cells run
    task = DATASETS.component(options.dataset).create().load(data_folder(options.data))
    examples = min(task.size("train"), options.steps * options.batch_size)
    task = _shortened(task, options.steps)
    experiment = Experiment(
        dataset=options.dataset, model=options.model, strategy="GlobalMagnitude", compression=10.0
    )
    recipe = Recipe(epochs=1, batch_size=options.batch_size)
    loops = {"benchmark": _benchmark, "by hand": _by_hand, "control": _by_hand}
    names = list(loops)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    before = processor_times()
    for turn in range(options.turns):
        for name in names:
            seconds[name].append(_seconds(loops[name](build(experiment, task), task, recipe)))
        names.append(names.pop(0))
        ours, theirs = seconds["benchmark"][-1], seconds["by hand"][-1]
        print(
            f"turn {turn + 1:2}: benchmark {examples / ours:8,.0f} examples/s   "
            f"by hand {examples / theirs:8,.0f} examples/s   ratio {theirs / ours:.3f}"
        )
    load = load_between(before, processor_times())
    by_hand = np.array(seconds["by hand"])
    found = ratio(by_hand, np.array(seconds["benchmark"]))
    identical = ratio(by_hand, np.array(seconds["control"]))
    print(f"median ratio: {found}; identical loops: {identical}")
    if doubt := Conditions(options.turns, load, identical).doubt(found):
        print(f"no verdict: {doubt}")


def _benchmark(model: nn.Module, task: Task, recipe: Recipe) -> Callable[[], None]:
    weights = dict(model.named_parameters())
    masks = {
        name: keep_largest(weights[name].abs(), weights[name].numel() // 10, generator(0))
        for name in prunable_weights(model)
    }
    sparsity = SparseTraining(model, masks)
    sparsity.apply()

    def run() -> None:
        for _ in epochs(model, task, recipe, Purpose(0, "speed"), sparsity):
            pass

    return run


def _by_hand(model: nn.Module, task: Task, recipe: Recipe) -> Callable[[], None]:
    optimizer = torch.optim.Adam(model.parameters(), lr=recipe.learning_rate, fused=True)
    batches = list(task.training_batches(recipe.batch_size, generator(0)))

    def run() -> None:
        model.train()
        for inputs, labels in batches:
            loss = F.cross_entropy(model(inputs), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return run


def _shortened(task: Task, steps: int) -> Task:
    """The task with an epoch of so many batches."""

    def batches(batch_size: int, generator: torch.Generator) -> Iterator[Batch]:
        return islice(task.training_batches(batch_size, generator), steps)

    short = copy.copy(task)
    short.training_batches = batches  # type: ignore[method-assign]
    return short


def _seconds(run: Callable[[], None]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="LeNet5")
    parser.add_argument("--dataset", default="MNIST")
    parser.add_argument("--data")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=100, help="of a turn")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--turns", type=int, default=20)
    return parser.parse_args()


if __name__ == "__main__":
    main()
