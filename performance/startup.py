"""How long it takes until something happens: commands, imports, and a worker's first step.

    python performance/startup.py
    python performance/startup.py --times 9

Each is timed in processes of its own, from their start to their end, with all files in the file
system's cache; the median is printed, with the least and the most. torch is timed beside them, as
it takes most of what prunebench's own imports take. ``prunebench list`` remembers what it has found
out: the first time is once for each version of the source. A worker is timed from the moment at
which a sweep asks for it to the end of its first step of training, the first of a sweep and one
that joins it later.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections import deque
from tempfile import TemporaryDirectory

_COMMANDS = {
    "python": ["-c", "pass"],
    "prunebench --help": ["-m", "prunebench", "--help"],
    "prunebench run --help": ["-m", "prunebench", "run", "--help"],
    "prunebench list": ["-m", "prunebench", "list"],
    "prunebench list strategies": ["-m", "prunebench", "list", "strategies"],
    "import prunebench.benchmark": ["-c", "import prunebench.benchmark"],
    "import torch": ["-c", "import torch"],
    "import prunebench.benchmark.sweeps.sweep": ["-c", "import prunebench.benchmark.sweeps.sweep"],
}


def main() -> None:
    """Print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--times", type=int, default=5, help="how often each is started")
    parser.add_argument("--worker", action="store_true", help="time workers in this process alone")
    options = parser.parse_args()
    if options.worker:
        print(_worker_seconds(), _worker_seconds())
        return
    for name, command in _COMMANDS.items():
        _seconds(command)  # which fills the file system's cache
        _print(name, [_seconds(command) for _ in range(options.times)])
        if name == "prunebench list":
            _print(f"{name}, the first time", [_first(command) for _ in range(options.times)])
    workers = [_of_workers() for _ in range(options.times)]
    _print("first worker's first step of training", [first for first, _ in workers])
    _print("further worker's first step of training", [further for _, further in workers])


def _print(name: str, seconds: list[float]) -> None:
    median = statistics.median(seconds)
    print(f"{name:42}{median:6.2f} s  ({min(seconds):.2f} to {max(seconds):.2f})", flush=True)


def _seconds(command: list[str], **environment: str) -> float:
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, *command],
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, **environment},
    )
    return time.perf_counter() - start


def _first(command: list[str]) -> float:
    """The seconds of a command that finds nothing remembered."""
    with TemporaryDirectory() as folder:
        return _seconds(command, XDG_CACHE_HOME=folder)


def _of_workers() -> tuple[float, float]:
    """The seconds of the first worker of a sweep, and of another."""
    done = subprocess.run(
        [sys.executable, __file__, "--worker"], check=True, capture_output=True, text=True
    )
    first, further = map(float, done.stdout.split())
    return first, further


def _worker_seconds() -> float:
    """From asking for a worker to the end of its first step of training."""
    from prunebench.benchmark.sweeps import fork_server
    from prunebench.benchmark.sweeps.tasks import Task
    from prunebench.benchmark.sweeps.workers import Workers

    start = time.perf_counter()
    workers = Workers(1, fork_server.start(["cpu"]))
    tasks = deque([Task(_step, ())])
    while not (ended := workers.work(tasks, 1.0)):
        pass
    seconds = time.perf_counter() - start
    workers.close()
    if ended[0].error:
        raise ended[0].error
    return seconds


def _step(jobs: tuple[object, ...]) -> tuple[()]:
    import torch
    from torch.nn import functional as F

    model = torch.nn.Linear(8, 2)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    F.cross_entropy(model(torch.zeros(4, 8)), torch.zeros(4, dtype=torch.long)).backward()
    optimizer.step()
    return ()


if __name__ == "__main__":
    main()
