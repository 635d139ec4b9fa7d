"""Training throughput of the benchmark beside a hand-written PyTorch loop on the same work.

    python performance/training_speed.py [--model LeNet5] [--dataset MNIST] [--data FOLDER]
    python performance/training_speed.py --model 'CifarResNet(depth=20)' --dataset CIFAR10 \\
        --batch-size 128 --steps 10
    python performance/training_speed.py --device cuda \\
        --dataset 'performance/random_images.py:RandomImages'

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
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from prunebench.benchmark.cell.epochs import Purpose, Training, epochs
from prunebench.benchmark.cell.loop import load_task
from prunebench.benchmark.cell.pretraining import build
from prunebench.benchmark.experiment import Experiment
from prunebench.benchmark.recipe import Recipe
from prunebench.benchmark.sweeps.sweep import data_folder
from prunebench.datasets import Batch, Task
from prunebench.metrics import keep_memory
from prunebench.performance.turns import Turns, take_turns
from prunebench.seeding import generator
from prunebench.strategies import SparseTraining, keep_largest, prunable_weights

BENCHMARK, BY_HAND, CONTROL = "benchmark", "by hand", "by hand again"


def main() -> None:
    """Measure, and print a line for each turn."""
    options = _options()
    experiment = Experiment(
        dataset=options.dataset,
        model=options.model,
        strategy="GlobalMagnitude",
        compression=10.0,
        device=options.device,
        threads=options.threads,
        pretraining={"batch_size": options.batch_size},
    )
    torch.set_num_threads(options.threads)
    keep_memory()  # as all processes do in which cells run
    examples = options.steps * options.batch_size
    turns = measured(experiment, data_folder(options.data), options.steps, options.turns)
    ours, theirs = turns.seconds[BENCHMARK], turns.seconds[BY_HAND]
    for number, (our, their) in enumerate(zip(ours, theirs, strict=True), 1):
        print(
            f"turn {number:2}: benchmark {examples / our:8,.0f} examples/s   "
            f"by hand {examples / their:8,.0f} examples/s   ratio {their / our:.3f}"
        )
    found = turns.ratio(BY_HAND, BENCHMARK, (BY_HAND, CONTROL))
    print(f"median ratio: {found.ratio}; identical loops: {found.control}")
    if found.doubt:
        print(f"no verdict: {found.doubt}")


def measured(experiment: Experiment, data: Path, steps: int, turns: int) -> Turns:
    """The seconds of the loops in each turn.

    Args:
        experiment: what is trained, with the batches of its pretraining and where it says.
        data: the folder of data sets.
        steps: of a turn.
        turns: how many.
    """
    task = _shortened(load_task(experiment.dataset, data, experiment.device), steps)
    recipe = Recipe(epochs=1, batch_size=experiment.pretraining.batch_size)
    loops = {BENCHMARK: _benchmark, BY_HAND: _by_hand, CONTROL: _by_hand}

    def timed(loop: _Loop) -> Callable[[], float]:
        return lambda: _seconds(loop(build(experiment, task), task, recipe), task.device)

    return take_turns({name: timed(loop) for name, loop in loops.items()}, turns)


_Loop = Callable[[nn.Module, Task, Recipe], Callable[[], None]]


def _benchmark(model: nn.Module, task: Task, recipe: Recipe) -> Callable[[], None]:
    weights = dict(model.named_parameters())
    masks = {
        name: keep_largest(weights[name].abs(), weights[name].numel() // 10, generator(0))
        for name in prunable_weights(model)
    }
    sparsity = SparseTraining(model, masks)
    sparsity.apply()

    def run() -> None:
        for _ in epochs(Training(model, task, recipe, Purpose(0, "speed"), sparsity)):
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


def _seconds(run: Callable[[], None], device: torch.device) -> float:
    """Until all is computed: a GPU is only told what to do, and does it later."""
    _finish(device)
    start = time.perf_counter()
    run()
    _finish(device)
    return time.perf_counter() - start


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="LeNet5")
    parser.add_argument("--dataset", default="MNIST")
    parser.add_argument("--data")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=100, help="of a turn")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--turns", type=int, default=20)
    return parser.parse_args()


if __name__ == "__main__":
    main()
