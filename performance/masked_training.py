"""What keeping masks up costs a training step: an LSTM that translates, dense and masked.

    python performance/masked_training.py
    python performance/masked_training.py --dataset MNIST --model LeNet5

Both networks train on the same batches by the benchmark's own engine, an epoch's part each in turn;
the masks of one are kept up after each step at 90 % sparsity. The ratio of their times is printed
for each turn, and its median at the end with its 95 % interval. A second dense network, identical
to the first, trains beside them as a control, by which the machine is judged.
"""

from __future__ import annotations

import argparse
import time
from itertools import islice

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from prunebench.benchmark.cell.epochs import clip_gradients
from prunebench.benchmark.sweeps.sweep import data_folder
from prunebench.datasets import DATASETS, Batch, Task
from prunebench.metrics import load_between, processor_times
from prunebench.models import MODELS
from prunebench.performance.turns import Turns
from prunebench.seeding import generator, seeded
from prunebench.strategies import SparseTraining, keep_largest, prunable_weights


class _Training:
    """A network on its way, and how it is trained."""

    def __init__(self, model: nn.Module, task: Task, sparsity: float) -> None:
        self._model, self._task = model, task
        self._optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
        weights = dict(model.named_parameters())
        masks = {
            name: keep_largest(
                weights[name].abs(), round((1 - sparsity) * weights[name].numel()), generator(0)
            )
            for name in prunable_weights(model)
        }
        self._sparsity = SparseTraining(model, masks) if sparsity else None

    def seconds(self, batch: Batch) -> float:
        """Of one step, as :func:`prunebench.benchmark.cell.training.epochs` takes it."""
        start = time.perf_counter()
        loss = self._task.loss(self._model, batch)
        self._optimizer.zero_grad()
        loss.backward()
        clip_gradients(self._model, self._sparsity, 1.0)
        self._optimizer.step()
        if self._sparsity is not None:
            self._sparsity.after_step()
        return time.perf_counter() - start


DENSE, CONTROL, MASKED = "dense", "dense again", "masked"


def main() -> None:
    """Print the ratio of each turn, and the median."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--dataset", default="Multi30k")
    parser.add_argument("--model", default="Seq2SeqLSTM")
    parser.add_argument("--data")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=40, help="of a turn")
    parser.add_argument("--turns", type=int, default=6)
    options = parser.parse_args()
    torch.set_num_threads(1)
    task = DATASETS.component(options.dataset).create().load(data_folder(options.data))
    turns = measured(task, options.model, options.batch_size, options.steps, options.turns)
    milliseconds = {name: 1000 * each / options.steps for name, each in turns.seconds.items()}
    for number, (dense, masked) in enumerate(
        zip(milliseconds[DENSE], milliseconds[MASKED], strict=True), 1
    ):
        print(
            f"turn {number}: dense {dense:6.1f} ms a step, masked {masked:6.1f} ms, "
            f"ratio {masked / dense:.3f}"
        )
    found = turns.ratio(MASKED, DENSE, (CONTROL, DENSE))
    print(f"median ratio: {found.ratio}; identical networks: {found.control}")
    if found.doubt:
        print(f"no verdict: {found.doubt}")


def measured(task: Task, model: str, batch_size: int, steps: int, turns: int) -> Turns:
    """The seconds of so many steps of each network in each turn."""
    names = (DENSE, CONTROL, MASKED)
    networks = {name: _network(task, model, 0.9 if name == MASKED else 0.0) for name in names}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    before = processor_times()
    for turn in tqdm(range(turns), leave=False):
        batches = islice(task.batches("train", batch_size, generator(turn)), steps)
        times = dict.fromkeys(names, 0.0)
        for number, batch in enumerate(batches):
            # Who goes first changes, since a batch is warm for the others.
            for place in range(len(names)):
                which = names[(place + number) % len(names)]
                times[which] += networks[which].seconds(batch)
        for name in names:
            seconds[name].append(times[name])
    load = load_between(before, processor_times())
    return Turns({name: np.array(each) for name, each in seconds.items()}, load)


def _network(task: Task, name: str, sparsity: float) -> _Training:
    with seeded(0, "masked training"):
        size = {"input_shape": task.input_shape, "classes": task.classes}
        model = MODELS.component(name).create(**size)
    return _Training(model.train(), task, sparsity)


if __name__ == "__main__":
    main()
