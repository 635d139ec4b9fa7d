"""Cells per hour whose networks train together, beside the same cells one at a time.

    python performance/stacked_training.py [--dataset Digits] [--model Perceptron]
    python performance/stacked_training.py --dataset MNIST --model LeNet300100 --stack 8
    python performance/stacked_training.py --dataset MNIST --model LeNet5 --device cuda

Both run whole cells (scoring, masks, fine-tuning, evaluation, size, FLOPs and bytes, but no
latency) of random pruning to as many compressions as networks train together. The dense network is
there before. For each number of networks the two ways take turns, and the first of them twice as a
control. Printed are cells per hour, the ratio with its 95 % interval, and how far the accuracies of
the two ways lie apart at most, which is rounding magnified by training. Of steps alone 1.3 is what
``prunebench run --stack`` asks for, to train networks together.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from prunebench.benchmark.cell import stacking
from prunebench.benchmark.experiment import Experiment
from prunebench.benchmark.grid import grid
from prunebench.benchmark.sweeps.jobs import Job, run_stack
from prunebench.benchmark.sweeps.sweep import data_folder
from prunebench.metrics import keep_memory
from prunebench.performance.turns import take_turns
from prunebench.results import Record

_APART, _TOGETHER, _CONTROL = "apart", "together", "apart again"


def main() -> None:
    """Measure, and print a line for each number of networks."""
    options = _options()
    keep_memory()  # as all processes do in which cells run
    stacking.WORTHWHILE = 0.0  # however little it gains, for it is what is measured
    print(f"{options.model} on {options.dataset}, {options.epochs} epochs of fine-tuning")
    with tempfile.TemporaryDirectory() as folder:
        for count in options.stack:
            _compare(_experiments(options, count), Path(folder), options)


def _compare(experiments: list[Experiment], runs: Path, options: argparse.Namespace) -> None:
    data = data_folder(options.data)
    jobs = [Job(each, runs, data, weights=False, forced=True) for each in experiments]
    jobs[0].pretrain()
    ways: dict[str, Callable[[], list[Record]]] = {
        _APART: lambda: [record for job in jobs for record in run_stack((job,))],
        _TOGETHER: lambda: run_stack(tuple(jobs)),
    }
    records = {name: run() for name, run in ways.items()}  # which warms both up
    count = f"{len(jobs):3} networks"
    if failed := [each.error for each in records[_TOGETHER] if each.error]:
        print(f"{count}: {failed[0].type}: {failed[0].message}")
        return
    if any(each.stacked == 1 for each in records[_TOGETHER]):
        print(f"{count}: they cannot train together")
        return
    timed = {name: partial(_seconds, run) for name, run in ways.items()}
    turns = take_turns({**timed, _CONTROL: timed[_APART]}, options.turns)
    apart, together = (
        len(jobs) * 3600 / float(np.median(turns.seconds[name])) for name in (_APART, _TOGETHER)
    )
    found = turns.ratio(_APART, _TOGETHER, (_APART, _CONTROL))
    difference = max(
        abs(_top1(one) - _top1(other))
        for one, other in zip(records[_APART], records[_TOGETHER], strict=True)
    )
    print(
        f"{count}: {apart:7,.0f} cells an hour apart, {together:7,.0f} together: {found.ratio}; "
        f"accuracies at most {100 * difference:.2f} points apart"
        + (f"; no verdict: {found.doubt}" if found.doubt else ""),
        flush=True,
    )


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _top1(record: Record) -> float:
    found = record.final.get("top1")
    return math.nan if found is None else found


def _experiments(options: argparse.Namespace, count: int) -> list[Experiment]:
    return grid(
        dataset=options.dataset,
        model=options.model,
        strategy="Random",
        compression=list(np.geomspace(2, 8, count)),
        measurements=("Size", "Flops", "Storage"),
        device=options.device,
        pretraining={"epochs": options.epochs, "batch_size": options.batch_size},
        finetuning={"epochs": options.epochs, "batch_size": options.batch_size},
        least_dense_quality=0.0,
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", default="Digits")
    parser.add_argument("--model", default="Perceptron")
    parser.add_argument("--stack", type=int, nargs="+", default=[2, 4, 8, 16])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--data", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
