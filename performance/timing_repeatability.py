"""How much a measured speedup moves when it is measured again: on an idle machine, below 5 %.

    python performance/timing_repeatability.py
    python performance/timing_repeatability.py --times 10 --networks LeNet5

Half of the channels of each network are removed at random; the speedup of the shrunk network over
the dense one in eager PyTorch is measured several times, each time from the start. The last column
says of which times the machine was in no state to measure, and why.
"""

from __future__ import annotations

import argparse

from tabulate import tabulate

from prunebench.benchmark.studies.break_even import break_even, network

_SHAPES = {"LeNet5": (1, 28, 28), "CifarResNet": (3, 32, 32), "LeNet300100": (1, 28, 28)}


def main() -> None:
    """Print the speedups of each network at each batch size, and how far apart they are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", choices=_SHAPES, default=list(_SHAPES))
    parser.add_argument("--times", type=int, default=5)
    options = parser.parse_args()
    found: dict[tuple[str, int], list[float]] = {}
    doubts: dict[tuple[str, int], list[str]] = {}
    for name in options.networks:
        model, shape = network(name, _SHAPES[name])
        for number in range(1, options.times + 1):
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
                place = (name, row["batch_size"])
                found.setdefault(place, []).append(row["speedup"])
                if row["doubt"]:
                    doubts.setdefault(place, []).append(f"time {number}: {row['doubt']}")
    lines = [
        [
            *place,
            *(f"{each:.3f}" for each in values),
            f"{max(values) / min(values) - 1:.1%}",
            "\n".join(doubts.get(place, [])),
        ]
        for place, values in found.items()
    ]
    times = [f"time {number}" for number in range(1, options.times + 1)]
    print(
        tabulate(
            lines, headers=["network", "batch", *times, "spread", "in doubt"], disable_numparse=True
        )
    )


if __name__ == "__main__":
    main()
