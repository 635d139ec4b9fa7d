"""Where the time of a cell goes: training, evaluation, latency and all the rest.

    python performance/cell_parts.py
    python performance/cell_parts.py --workloads translation --data FOLDER

A dense network is trained, and then one cell run that shares it, under Python's profiler, with one
thread. Of each workload a line is printed: seconds of the cell, and the share of each part in
percent. What is nested counts once, for the part that is named first. A workload whose data are
not there is left out by name.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import tempfile
import time
from pathlib import Path
from typing import Any

from prunebench.benchmark.experiment import Experiment
from prunebench.benchmark.sweeps.sweep import data_folder, run
from prunebench.errors import UsageError
from prunebench.metrics import keep_memory

_ONE_EPOCH = {"epochs": 1, "batch_size": 128}
_WORKLOADS: dict[str, dict[str, Any]] = {
    "digits": {
        "dataset": "Digits",
        "model": "LeNetSmall",
        "rounds": 3,
        "pretraining": {"epochs": 5},
        "finetuning": {"epochs": 10},
    },
    "MNIST": {
        "dataset": "MNIST",
        "model": "LeNet5",
        "pretraining": _ONE_EPOCH,
        "finetuning": _ONE_EPOCH,
    },
    "CIFAR": {
        "dataset": "ImageFolder(folder='cifar10-jpeg', size=32, augmentation='crop')",
        "model": "CifarResNet(depth=20)",
        "pretraining": {"epochs": 0},
        "finetuning": _ONE_EPOCH,
    },
    "translation": {
        "dataset": "Multi30k",
        "model": "Seq2SeqLSTM",
        "pretraining": {"epochs": 0},
        "finetuning": {"epochs": 1},
        "metrics": ("BLEU",),
    },
}

# Each part with the functions of which it is made, by file and name.
_PARTS = {
    "training": [("epochs.py", "step")],
    "evaluation": [
        ("accuracy.py", "in_detail"),
        ("perplexity.py", "measure"),
        ("bleu.py", "measure"),
    ],
    "scoring": [("scored.py", "prune")],
    "latency": [("latency.py", "measure_and_doubt")],
    "FLOPs": [("work.py", "work_by_weight")],
    "bytes": [("storage.py", "measure")],
}


def main() -> None:
    """Print a line for each workload."""
    options = _options()
    keep_memory()  # as all processes do in which cells run
    print(
        f"{'workload':12} {'seconds':>8} " + " ".join(f"{part:>10}" for part in [*_PARTS, "rest"])
    )
    for name in options.workloads:
        try:
            seconds, parts = _measured(_WORKLOADS[name], data_folder(options.data))
        except UsageError as error:
            print(f"{name:12} left out: {error}", flush=True)
            continue
        shares = [*parts, seconds - sum(parts)]
        shown = " ".join(f"{100 * share / seconds:10.1f}" for share in shares)
        print(f"{name:12} {seconds:8.2f} {shown}", flush=True)


def _measured(settings: dict[str, Any], data: Path) -> tuple[float, list[float]]:
    """Seconds of a cell, and of each of its parts."""
    common = {**settings, "least_dense_quality": _NOTHING_ASKED.get(settings["dataset"], 0.0)}
    with tempfile.TemporaryDirectory() as runs:
        run(Experiment(strategy="Random", compression=2.0, **common), runs=runs, data=data)
        profile = cProfile.Profile()
        start = time.perf_counter()
        experiment = Experiment(strategy="GlobalMagnitude", compression=4.0, **common)
        record = profile.runcall(run, experiment, runs=runs, data=data)
        seconds = time.perf_counter() - start
    if record.error is not None:
        raise UsageError(record.error.message)
    calls: Any = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    return seconds, [
        sum(
            found[3]
            for (file, _, function), found in calls.items()
            if (Path(file).name, function) in places
        )
        for places in _PARTS.values()
    ]


# An untrained network has learned nothing: perplexity is better the lower it is.
_NOTHING_ASKED = {"Multi30k": 1e30}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workloads", nargs="+", choices=list(_WORKLOADS), default=[*_WORKLOADS])
    parser.add_argument("--data", type=Path, help="folder of the data sets")
    return parser.parse_args()


if __name__ == "__main__":
    main()
