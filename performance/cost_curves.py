"""How time and memory grow with cells, records, rounds and parameters: is anything superlinear?

    python performance/cost_curves.py -o results/published/cost-curves
    python performance/cost_curves.py --of cells records --largest 1000

Each line is one thing that the benchmark does: at each size the seconds of the fastest of up to
three times, and the memory at the peak beyond what was held before. The growth of both is the
exponent of the size between the last two sizes, by which 1 is linear. Above 1.15, which sorting
stays below, it is called superlinear. Every measurement has a process of its own, on one thread.

Cells, and records, are of five methods at four compressions and of ever more seeds; where more
methods, targets or settings are said, they are of five seeds and of ever more of those. Of settings
there are no plots, since no more than 24 comparisons are drawn. Parameters are those of a
perceptron of four layers, and rounds those of one cell of a small network on digits, an epoch each.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Callable
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from tabulate import tabulate
from torch import nn

import prunebench
from prunebench import Experiment
from prunebench.benchmark.cell.record import described
from prunebench.benchmark.sweeps.checking import check
from prunebench.datasets import Digits
from prunebench.performance.forks import Cost, cost, forked
from prunebench.results import Record, Store, as_text, leaderboard
from prunebench.results.plots import draw_plots
from prunebench.results.report import report
from prunebench.seeding import generator
from prunebench.strategies import (
    Context,
    GlobalMagnitude,
    MaskedWeights,
    full_masks,
    keep_largest,
    kept,
)

_SUPERLINEAR = 1.15
_TIMES, _ENOUGH_SECONDS = 3, 2.0
_LEAST_BYTES = 2**24  # less is not told from what the interpreter takes
_LAYERS = 4
_CELL = {"dataset": "Digits", "model": "LeNetSmall", "measurements": ["Size"]}
_RECIPE = {"pretraining": {"epochs": 1}, "least_dense_quality": 0.0}
_METHODS = ["Random", "LayerMagnitude", "GlobalMagnitude", "SNIP", "LAMP"]
_COMPRESSIONS = [2.0, 4.0, 8.0, 16.0]

Call = Callable[[], object]


class Curve(NamedTuple):
    """Something that the benchmark does.

    Attributes:
        name: what.
        prepare: makes, for a size and with a folder to write to, what is timed.
    """

    name: str
    prepare: Callable[[int, Path], Call]


def main() -> None:
    """Print a table for each kind of size, and what is superlinear."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--of", nargs="+", choices=_SIZES, default=list(_SIZES))
    parser.add_argument("--largest", type=int, default=10**8, help="size that is measured")
    parser.add_argument("-o", "--output", type=Path, help="folder for the tables as CSV files")
    options = parser.parse_args()
    torch.set_num_threads(1)
    superlinear: list[str] = []
    for unit in options.of:
        sizes = [size for size in _SIZES[unit] if size <= options.largest]
        frame = pd.concat(
            _with_growth(unit, curve.name, sizes, [_cost(curve, size) for size in sizes])
            for curve in _CURVES[unit]
        )
        print(f"{costs_as_text(frame)}\n", flush=True)
        last = frame[frame[unit] == sizes[-1]]
        for what in ("seconds", "bytes"):
            grown = last[last[f"{what}_exponent"] > _SUPERLINEAR]
            superlinear += [f"{what} of {name}" for name in grown["what"]]
        if options.output:
            options.output.mkdir(parents=True, exist_ok=True)
            frame.to_csv(options.output / f"{unit}.csv", index=False)
    print(f"superlinear: {', '.join(superlinear) or 'nothing'}")


def costs_as_text(frame: pd.DataFrame) -> str:
    """The table of a kind of size, as its CSV file has it, for people."""
    unit = frame.columns[1]
    sizes = sorted(frame[unit].unique())
    lines = [
        [
            name,
            *map("{:.2g} s, {:,.0f} MiB".format, rows["seconds"], rows["bytes"] / 2**20),
            *(_in_words(rows[f"{what}_exponent"].iloc[-1]) for what in ("seconds", "bytes")),
        ]
        for name, rows in frame.groupby("what", sort=False)
    ]
    headers = [unit, *(f"{size:,}" for size in sizes), "time grows as", "memory grows as"]
    return tabulate(lines, headers, disable_numparse=True)


def _cost(curve: Curve, size: int) -> Cost:
    """What it costs in a process of its own: the fastest time, and the most memory."""
    with tempfile.TemporaryDirectory() as folder:
        call = curve.prepare(size, Path(folder))

        def measured() -> list[Cost]:
            costs: list[Cost] = []
            while len(costs) < _TIMES and sum(each.seconds for each in costs) < _ENOUGH_SECONDS:
                costs.append(cost(call))
            return costs

        seconds, memory = zip(*forked(measured), strict=True)
    return Cost(min(seconds), max(memory))


def _with_growth(unit: str, name: str, sizes: list[int], costs: list[Cost]) -> pd.DataFrame:
    """The costs of a curve, and the exponents of the size since the last size."""
    frame = pd.DataFrame({"what": name, unit: sizes, **_columns(costs)})
    steps = np.log(frame[unit]).diff()
    told = frame[["seconds", "bytes"]].where(frame["bytes"] >= _LEAST_BYTES)
    told["seconds"] = frame["seconds"]
    return frame.assign(
        **{f"{what}_exponent": (np.log(told[what]).diff() / steps).round(2) for what in told}
    )


def _columns(costs: list[Cost]) -> dict[str, list[float]]:
    return {
        "seconds": [float(f"{cost.seconds:.3g}") for cost in costs],
        "bytes": [cost.bytes for cost in costs],
    }


def _in_words(exponent: float) -> str:
    if math.isnan(exponent):
        return "—"
    return f"n^{exponent:.2f}{', superlinear' if exponent > _SUPERLINEAR else ''}"


def expanded(size: int, more: str) -> list[Experiment]:
    """So many cells, of ever more of something."""
    settings: dict[str, Any] = {
        **_CELL,
        **_RECIPE,
        "strategy": _METHODS,
        "compression": _COMPRESSIONS,
        "seed": list(range(5)),
    }
    if more == "seeds":
        settings["seed"] = list(range(size // 20))
    elif more == "methods":
        allocations = (f"allocation=Global(minimum={n})" for n in range(size // 20))
        settings["strategy"] = [f"GlobalMagnitude({each})" for each in allocations]
    elif more == "targets":
        settings["compression"] = [1 + n / 100 for n in range(1, size // 25 + 1)]
    else:
        settings["pretraining"] = [{"epochs": n} for n in range(1, size // 100 + 1)]
    return prunebench.grid(**settings)


_cells = lru_cache(maxsize=1)(expanded)


@lru_cache(maxsize=1)
def _finished() -> Record:
    """A record as it is."""
    with tempfile.TemporaryDirectory() as folder:
        experiment = Experiment(**_CELL, **_RECIPE, strategy="Random", compression=2.0)
        return prunebench.run(experiment, runs=folder)


@lru_cache(maxsize=1)
def _records(size: int, more: str) -> list[Record]:
    """So many records of different cells, which came to the same."""
    return [
        _finished().model_copy(update={"id": each.id, "experiment": described(each)})
        for each in _cells(size, more)
    ]


@cache
def _leaderboard(size: int, more: str) -> pd.DataFrame:
    return leaderboard(_records(size, more))


def stored(size: int, folder: Path) -> Store:
    """A folder with so many records of ever more seeds."""
    store = Store(folder)
    for record in _records(size, "seeds"):
        path = folder / record.id[:2] / f"{record.id}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(record.to_json())
    return store


def _grid(size: int, folder: Path) -> Call:
    return lambda: expanded(size, "seeds")


def _ids(size: int, folder: Path) -> Call:
    experiments = _cells(size, "seeds")
    return lambda: [experiment.id for experiment in experiments]


def _checks(size: int, folder: Path) -> Call:
    experiments = _cells(size, "seeds")
    return lambda: check(experiments, folder)


def _sweep(size: int, folder: Path) -> Call:
    stored(size, folder)
    experiments = _cells(size, "seeds")
    return lambda: prunebench.sweep(experiments, runs=folder, progress=False)


def _reading(size: int, folder: Path) -> Call:
    store = stored(size, folder)
    return lambda: list(store.outcomes())


def _boards(more: str) -> Curve:
    def prepare(size: int, folder: Path) -> Call:
        records = _records(size, more)
        _leaderboard(size, more)  # for what is made of it next, while these records are here
        return lambda: leaderboard(records)

    return Curve(f"leaderboard, more {more}", prepare)


def _texts(more: str) -> Curve:
    def prepare(size: int, folder: Path) -> Call:
        frame = _leaderboard(size, more)
        return lambda: as_text(frame)

    return Curve(f"table as text, more {more}", prepare)


def _reports(more: str) -> Curve:
    def prepare(size: int, folder: Path) -> Call:
        frame = _leaderboard(size, more)
        return lambda: report(frame, folder / "report.html")

    return Curve(f"report, more {more}", prepare)


def _plots(more: str) -> Curve:
    def prepare(size: int, folder: Path) -> Call:
        frame = _leaderboard(size, more)
        return lambda: draw_plots(frame, folder)

    return Curve(f"plots, more {more}", prepare)


def _rounds(size: int, folder: Path) -> Call:
    settings = {**_CELL, **_RECIPE, "finetuning": {"epochs": 1}, "rounds": size}
    experiment = Experiment(**settings, strategy="GlobalMagnitude", compression=8.0)
    return lambda: prunebench.run(experiment, runs=folder, force=True)


@lru_cache(maxsize=1)
def _network(parameters: int) -> nn.Module:
    width = round(math.sqrt(parameters / _LAYERS))
    layers = (nn.Linear(width, width, bias=False) for _ in range(_LAYERS))
    return nn.Sequential(*layers).requires_grad_(requires_grad=False)


def _scoring(size: int, folder: Path) -> Call:
    model, task = _network(size), Digits().load(folder)
    masks = full_masks(dict(model.named_parameters()))

    def call() -> object:
        context = Context(model, task, masks, (), generator(0))
        return GlobalMagnitude().masks(context, kept(masks) // 10)

    return call


def _step(size: int, folder: Path) -> Call:
    model = _network(size)
    lots = generator(0)
    masks = {n: keep_largest(p, p.numel() // 10, lots) for n, p in model.named_parameters()}
    return MaskedWeights(model, masks).apply


def _saving(size: int, folder: Path) -> Call:
    state = _network(size).state_dict()
    return lambda: save_file(state, folder / "weights.safetensors")


def _loading(size: int, folder: Path) -> Call:
    _saving(size, folder)()
    model = _network(size)
    return lambda: model.load_state_dict(load_file(folder / "weights.safetensors"))


_SIZES = {
    "cells": (100, 1_000, 10_000),
    "records": (100, 1_000, 10_000),
    "rounds": (1, 10, 25, 50),
    "parameters": (10**4, 10**6, 10**7, 10**8),
}
_CURVES = {
    "cells": [
        Curve("expanding a grid", _grid),
        Curve("ids", _ids),
        Curve("checking before anything runs", _checks),
        Curve("sweep of finished cells", _sweep),
    ],
    "records": [
        Curve("reading them", _reading),
        *map(_boards, ("seeds", "methods", "targets", "settings")),
        *map(_texts, ("seeds", "methods", "targets", "settings")),
        *map(_reports, ("seeds", "methods", "targets", "settings")),
        *map(_plots, ("seeds", "methods", "targets")),
    ],
    "rounds": [Curve("one cell", _rounds)],
    "parameters": [
        Curve("scores and masks of GlobalMagnitude", _scoring),
        Curve("masks after a step", _step),
        Curve("writing weights", _saving),
        Curve("reading weights", _loading),
    ],
}


if __name__ == "__main__":
    main()
