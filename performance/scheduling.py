"""What it costs to have cells run elsewhere: time beside the cells themselves, and memory.

    python performance/scheduling.py overhead --executor processes
    python performance/scheduling.py overhead --executor ray
    python performance/scheduling.py speedup
    python performance/scheduling.py memory --executor processes
    python performance/scheduling.py memory --executor ray

``overhead`` runs the smallest cells there are (a perceptron that is not trained, its size measured,
nothing timed) in this process and then with one worker, and prints the difference for each cell
(the way of jobs and records, and what a worker does otherwise than this process), and the same with
a thousandth of what passes until the first record more than here (the start of the worker).
``speedup`` runs a sweep of the digits with one worker and with two, and beside them the same cells
by two programs that know nothing of each other, which is as fast as two cores are together.
``memory`` prints what this process and all that it has started hold as cells go by.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from prunebench import Experiment, grid
from prunebench.benchmark.cell.progress import SweepBar
from prunebench.benchmark.sweeps.executors import (
    Executor,
    RayCluster,
    ThisProcess,
    WorkerProcesses,
)
from prunebench.benchmark.sweeps.jobs import Job
from prunebench.results import Record

_EXECUTORS: dict[str, type[WorkerProcesses] | type[RayCluster]] = {
    "processes": WorkerProcesses,
    "ray": RayCluster,
}


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("overhead", "speedup", "memory", "half"))
    parser.add_argument("--executor", choices=tuple(_EXECUTORS), default="processes")
    parser.add_argument("--cells", type=int)
    parser.add_argument("--part", type=int, default=0, help="of two, for speedup's own use")
    options = parser.parse_args()
    if options.what == "overhead":
        _print_overhead(options.executor, options.cells or 250)
    elif options.what == "memory":
        _print_memory(options.executor, options.cells or 2000)
    elif options.what == "speedup":
        _print_speedup(options.cells or 24)
    else:
        _seconds(ThisProcess(), _digits(options.cells)[options.part :: 2])


def _print_overhead(name: str, count: int) -> None:
    cells = _trivial(count)
    here, there = _pace(ThisProcess(), cells), _pace(_EXECUTORS[name](workers=1), cells)
    each, start = there.each - here.each, there.first - here.first
    print(f"{count} cells; this process: {_as_text(here)}")
    print(f"{name}, one worker: {_as_text(there)}")
    print(f"beyond the cell: {1000 * each:+.1f} ms, {1000 * each + start:+.1f} ms for 1,000 cells")


class _Pace(NamedTuple):
    """Seconds until the first record, and from then on for each."""

    first: float
    each: float


def _as_text(pace: _Pace) -> str:
    return f"the first record after {pace.first:.1f} s, one every {1000 * pace.each:.1f} ms then"


def _pace(executor: Executor, cells: list[Experiment]) -> _Pace:
    start = time.perf_counter()
    times = []
    with TemporaryDirectory() as folder:
        for record in _records(executor, cells, Path(folder)):
            times.append(time.perf_counter() - start)
            if record.error:
                raise SystemExit(f"a cell failed: {record.error}")
    return _Pace(times[0], (times[-1] - times[0]) / (len(times) - 1))


def _print_speedup(count: int) -> None:
    cells = _digits(count)
    _seconds(WorkerProcesses(1), cells[:1])  # what workers are forked from is there from now on
    one = _seconds(WorkerProcesses(1), cells)
    two = _seconds(WorkerProcesses(2), cells)
    start = time.perf_counter()
    _run_halves(count, ("0",))
    alone = time.perf_counter() - start
    start = time.perf_counter()
    _run_halves(count, ("0", "1"))
    both = time.perf_counter() - start
    print(f"{count} cells of the digits: {one:.1f} s with one worker, {two:.1f} s with two")
    print(f"two workers are {one / two:.2f} times as fast as one")
    print(f"two programs of their own are {2 * alone / both:.2f} times as fast as one")


def _run_halves(count: int, parts: tuple[str, ...]) -> None:
    command = [sys.executable, __file__, "half", "--cells", str(count), "--part"]
    running = [subprocess.Popen([*command, part]) for part in parts]
    if any(each.wait() for each in running):
        raise SystemExit("a program failed")


def _print_memory(name: str, count: int) -> None:
    executor, cells = _EXECUTORS[name](workers=2), _trivial(count)
    print(f"{'cells':>6}{'this process':>15}{'all it has started':>21}")
    with TemporaryDirectory() as folder:
        for number, _ in enumerate(_records(executor, cells, Path(folder)), start=1):
            if number % (count // 8) == 0:
                ours, started = _resident()
                print(f"{number:6}{ours / 1e6:12.0f} MB{started / 1e6:18.0f} MB", flush=True)


def _seconds(executor: Executor, cells: list[Experiment]) -> float:
    with TemporaryDirectory() as folder:
        start = time.perf_counter()
        records = list(_records(executor, cells, Path(folder)))
        seconds = time.perf_counter() - start
    failed = [record.error for record in records if record.error]
    if failed:
        raise SystemExit(f"a cell failed: {failed[0]}")
    return seconds


def _records(executor: Executor, cells: list[Experiment], folder: Path) -> Iterator[Record]:
    jobs = [Job(each, folder, folder, weights=False, forced=True) for each in cells]
    bar = SweepBar(cells=len(cells), finished=0, epochs=0, hidden=True)
    return executor.run(jobs, bar)


def _trivial(count: int) -> list[Experiment]:
    return grid(
        dataset="Digits",
        model="Perceptron",
        strategy="GlobalMagnitude",
        compression=[2 + number / count for number in range(count)],
        pretraining={"epochs": 0},
        recovery="NoRecovery",
        measurements=["Size"],
    )


def _digits(count: int) -> list[Experiment]:
    return grid(
        dataset="Digits",
        model="LeNetSmall",
        strategy=["Random", "GlobalMagnitude"],
        compression=[2, 4, 8],
        seed=list(range(-(-count // 6))),
        measurements=["Size", "Flops"],
    )[:count]


def _resident() -> tuple[int, int]:
    """Bytes of memory of this process, and of all that it has started and they have."""
    parents: dict[int, int] = {}
    held: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = dict(
                line.split(":", 1) for line in (folder / "status").read_text().splitlines()
            )
            shares = dict(
                line.split(":", 1)
                for line in (folder / "smaps_rollup").read_text().splitlines()[1:]
            )
        except (OSError, KeyError):  # it has ended, is not ours, or holds nothing
            continue
        parents[int(folder.name)] = int(status["PPid"])
        held[int(folder.name)] = 1024 * int(shares["Pss"].split()[0])
    own = int(Path("/proc/self").readlink().name)
    started = [each for each in held if each != own and own in _ancestors(each, parents)]
    return held[own], sum(held[each] for each in started)


def _ancestors(process: int, parents: dict[int, int]) -> Iterator[int]:
    while process in parents:
        process = parents[process]
        yield process


if __name__ == "__main__":
    main()
