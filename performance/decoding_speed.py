"""Tokens a second in decoding: dense, masked and shrunk, in batches and sentence by sentence.

    python performance/decoding_speed.py RUN --runs runs/translation

RUN is a finished run of a translator, such as one of experiments/translation-units.yaml, from which
whole hidden units were cut. All networks translate the same sentences with the same beam, in turn.
The tokens that they put out are counted, ends included; printed are the median of the turns, and
the median ratio to the dense network in the same turn with its 95 % interval. An identical copy of
the dense network takes part as a control.
"""

from __future__ import annotations

import argparse
import copy
import time
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate
from torch import nn
from tqdm import tqdm

from prunebench.benchmark.cell.process import threads
from prunebench.benchmark.studies.restoring import restore
from prunebench.benchmark.sweeps.sweep import data_folder
from prunebench.datasets import Translation
from prunebench.errors import UsageError
from prunebench.metrics import (
    Conditions,
    keep_memory,
    load_between,
    pinned,
    processor_times,
    ratio,
)
from prunebench.results import Store


def main() -> None:
    """Print a line for each network and batch size."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--data")
    parser.add_argument("--beam", type=int, default=5)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 100])
    parser.add_argument("--sentences", type=int, default=200)
    parser.add_argument("--turns", type=int, default=6)
    options = parser.parse_args()
    keep_memory()
    store = Store(options.runs)
    restored = restore(store.find(options.run), store, data_folder(options.data))
    task = restored.task
    if not isinstance(task, Translation):
        raise UsageError("decoding is timed of networks that translate")
    networks: dict[str, nn.Module] = {"control": copy.deepcopy(restored.networks["dense"])}
    networks.update(restored.networks.items())
    rows = []
    with threads(1), pinned(1):
        for size in options.batch_sizes:
            batches = _some(task, size, options.sentences)
            taken: dict[str, list[float]] = {name: [] for name in networks}
            before = processor_times()
            for turn in tqdm(range(options.turns), desc=f"batches of {size}", leave=False):
                # Who goes first changes, since what the machine does else does too.
                for name in list(networks)[:: -1 if turn % 2 else 1]:
                    taken[name].append(_rate(networks[name], task, batches, options.beam))
            load = load_between(before, processor_times())
            rates = {name: np.array(each) for name, each in taken.items()}
            conditions = Conditions(options.turns, load, ratio(rates["control"], rates["dense"]))
            for name, each in rates.items():
                speedup = ratio(each, rates["dense"])
                doubt = conditions.doubt(speedup)
                told = "?" if doubt else str(speedup)
                rows.append([name, size, f"{np.median(each):,.0f}", told, doubt])
    headers = ["network", "sentences at once", "tokens/s", "speedup over dense", "in doubt"]
    print(tabulate(rows, headers=headers, disable_numparse=True))


def _some(task: Translation, size: int, count: int) -> list[Any]:
    """Sentences of all lengths, in batches."""
    batches = [tokens for _, tokens in task.sources("test", size)]
    step = max(1, len(batches) * size // count)
    return batches[step // 2 :: step]


def _rate(network: Any, task: Translation, batches: list[Any], beam: int) -> float:
    start = time.perf_counter()
    tokens = sum(
        len(output) + 1
        for batch in batches
        for output in network.translate(batch, task.begin, task.end, beam)
    )
    return tokens / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
