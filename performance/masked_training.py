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
import statistics
import time
from itertools import islice

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from prunebench.benchmark.cell.epochs import clip_gradients
from prunebench.benchmark.sweeps.sweep import data_folder
from prunebench.datasets import DATASETS, Batch, Task
from prunebench.metrics import Conditions, load_between, processor_times, ratio
from prunebench.models import MODELS
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
    networks = []
    for sparsity in (0.0, 0.0, 0.9):
        with seeded(0, "masked training"):
            size = {"input_shape": task.input_shape, "classes": task.classes}
            model = MODELS.component(options.model).create(**size)
        networks.append(_Training(model.train(), task, sparsity))
    turns = []
    before = processor_times()
    for turn in range(options.turns):
        batches = islice(task.batches("train", options.batch_size, generator(turn)), options.steps)
        times: list[list[float]] = [[] for _ in networks]
        for number, batch in enumerate(tqdm(batches, total=options.steps, leave=False)):
            # Who goes first changes, since a batch is warm for the others.
            for place in range(len(networks)):
                which = (place + number) % len(networks)
                times[which].append(networks[which].seconds(batch))
        turns.append([sum(each) for each in times])
        dense, _, masked = (1000 * statistics.median(each) for each in times)
        print(
            f"turn {turn + 1}: dense {dense:6.1f} ms a step, masked {masked:6.1f} ms, "
            f"ratio {turns[-1][2] / turns[-1][0]:.3f}"
        )
    load = load_between(before, processor_times())
    dense_seconds, control, masked_seconds = np.array(turns).T
    found = ratio(masked_seconds, dense_seconds)
    identical = ratio(control, dense_seconds)
    doubt = Conditions(options.turns, load, identical).doubt(found)
    print(f"median ratio: {found}; identical networks: {identical}")
    if doubt:
        print(f"no verdict: {doubt}")


if __name__ == "__main__":
    main()
