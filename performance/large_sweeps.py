"""How long it takes to look at very many records, and at a grid of very many cells.

    python performance/large_sweeps.py
    python performance/large_sweeps.py --count 10000 --folder /tmp/records

Times commands as people give them, each in a process of its own: ``prunebench leaderboard`` of a
folder of records, which it makes if it is not there, for the first time and again, and ``prunebench
run --dry-run`` of a grid. What is remembered of leaderboards begins empty.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from prunebench.performance import cost_curves

_GRID = """
dataset: Digits
model: LeNetSmall
strategy: [Random, LayerMagnitude, GlobalMagnitude, SNIP, LAMP]
compression: [2, 4, 8, 16]
seed: [{seeds}]
"""
_CELLS_OF_A_SEED = 20


def main() -> None:
    """Print a line for each command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=100_000, help="records, and cells of the grid")
    parser.add_argument("--folder", type=Path, help="of the records, which are kept there")
    options = parser.parse_args()
    with TemporaryDirectory() as name:
        own = Path(name)
        records = options.folder or own / "records"
        if not records.exists():
            records.mkdir(parents=True)
            cost_curves.stored(options.count, records)
        config = own / "grid.yaml"
        seeds = range(options.count // _CELLS_OF_A_SEED)
        config.write_text(_GRID.format(seeds=", ".join(map(str, seeds))))
        rehearsal = ["run", str(config), "--dry-run", "--runs", str(own / "none")]
        for what, arguments in (
            ("leaderboard", ["leaderboard", str(records)]),
            ("leaderboard again", ["leaderboard", str(records)]),
            ("dry run", rehearsal),
        ):
            print(f"{what} of {options.count:,}: {_seconds(arguments, own):.1f} s", flush=True)


def _seconds(arguments: list[str], cache: Path) -> float:
    command = [sys.executable, "-m", "prunebench", *arguments]
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    start = time.perf_counter()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
