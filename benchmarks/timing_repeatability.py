"""How much a measured speedup moves when it is measured again: on an idle machine, below 5 %.

    python benchmarks/timing_repeatability.py
    python benchmarks/timing_repeatability.py --times 10 --networks LeNet5

Half of the channels of each network are removed at random; the speedup of the shrunk network over
the dense one in eager PyTorch is measured several times, each time from the start.
"""

from __future__ import annotations

import argparse

from tabulate import tabulate

from prunebench.benchmark.break_even import break_even, network

_SHAPES = {"LeNet5": (1, 28, 28), "CifarResNet": (3, 32, 32), "LeNet300100": (1, 28, 28)}


def main() -> None:
    """Print the speedups of each network at each batch size, and how far apart they are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", choices=_SHAPES, default=list(_SHAPES))
    parser.add_argument("--times", type=int, default=5)
    options = parser.parse_args()
    found: dict[tuple[str, int], list[float]] = {}
    for name in options.networks:
        model, shape = network(name, _SHAPES[name])
        for _ in range(options.times):
            frame = break_even(
                name,
                model,
                shape,
                kinds=["channels"],
                sparsities=[0.5],
                runtimes=["Eager"],
                batch_sizes=[1, 64],
                progress=False,
            )
            for _, row in frame[frame["network"] == "shrunk"].iterrows():
                found.setdefault((name, row["batch_size"]), []).append(row["speedup"])
    lines = [
        [name, batch, *(f"{each:.3f}" for each in values), f"{max(values) / min(values) - 1:.1%}"]
        for (name, batch), values in found.items()
    ]
    times = [f"time {number}" for number in range(1, options.times + 1)]
    print(tabulate(lines, headers=["network", "batch", *times, "spread"], disable_numparse=True))


if __name__ == "__main__":
    main()
