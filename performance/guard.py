"""What has become slower than it was: the committed ratios, measured again.

    python performance/guard.py                   # measures, compares, and exits with 1 if any has
    python performance/guard.py loop leaderboard  # only these
    python performance/guard.py --update          # writes what was measured to ratios.csv

Each ratio is the time of something of ours over that of a yardstick on the same machine, timed in
turn, one of the two twice as a control, so that it says much the same on every machine. Slower is
what has its whole interval above the committed one. Where the machine is in no state to tell, there
is no verdict, and the reason is said; ``--update`` writes it beside the ratio.
"""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from tabulate import tabulate

from prunebench import Experiment
from prunebench.metrics import Ratio, keep_memory
from prunebench.performance import cost_curves, masked_training, scoring_cost, training_speed
from prunebench.performance.random_images import RandomImages
from prunebench.performance.turns import Judged, take_turns
from prunebench.results import leaderboard

RATIOS = Path(__file__).with_name("ratios.csv")
_IMAGES = f"{Path(__file__).with_name('random_images.py')}:RandomImages"
_TURNS = 10


class Guarded(NamedTuple):
    """A ratio that is not to grow.

    Attributes:
        what: of whose times, in words.
        measure: finds it.
    """

    what: str
    measure: Callable[[], Judged]


def main() -> int:
    """Measure, compare with what is committed, and tell whether anything is slower."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(GUARDED))
    parser.add_argument("--update", action="store_true", help="write what was measured")
    parser.add_argument("--ratios", type=Path, default=RATIOS, help="the committed ratios")
    options = parser.parse_args()
    if unknown := set(options.names) - set(GUARDED):
        parser.error(f"{', '.join(sorted(unknown))} is none of {', '.join(GUARDED)}")
    torch.set_num_threads(1)
    keep_memory()
    committed = read(options.ratios)
    measured: dict[str, Judged] = {}
    for name in options.names or GUARDED:
        measured[name] = GUARDED[name].measure()
        if options.update:
            write(options.ratios, name, measured[name])
    verdicts = {name: verdict(committed.get(name), each) for name, each in measured.items()}
    rows = [
        [name, GUARDED[name].what, committed.get(name, "—"), each.ratio, each.control, said]
        for (name, each), said in zip(measured.items(), verdicts.values(), strict=True)
    ]
    headers = ["name", "time of", "committed", "now", "control", "verdict"]
    print(tabulate([[str(cell) for cell in row] for row in rows], headers, disable_numparse=True))
    return int(SLOWER in verdicts.values())


SLOWER, FASTER, SAME, UNKNOWN = "slower", "faster", "the same", "not committed yet"


def verdict(committed: Ratio | None, now: Judged) -> str:
    """Whether a ratio has grown by more than its noise, or why nobody can tell."""
    if now.doubt:
        return f"no verdict: {now.doubt}"
    if committed is None:
        return UNKNOWN
    if now.ratio.low > committed.high:
        return SLOWER
    return FASTER if now.ratio.high < committed.low else SAME


def read(path: Path) -> dict[str, Ratio]:
    """The committed ratios by their names; none where there is no file."""
    if not path.exists():
        return {}
    rows = pd.read_csv(path, index_col="name")
    return {
        str(name): Ratio(row["ratio"], row["low"], row["high"]) for name, row in rows.iterrows()
    }


def write(path: Path, name: str, measured: Judged) -> None:
    """Write a ratio, and what speaks against believing it; the others in the file stay there."""
    now = datetime.datetime.now(datetime.timezone.utc)
    value, low, high = (round(each, 4) for each in measured.ratio)
    row: dict[Hashable, Any] = {
        "name": name,
        "ratio": value,
        "low": low,
        "high": high,
        "command": f"python performance/guard.py {name} --update",
        "date": now.date().isoformat(),
        "doubt": measured.doubt,
    }
    rows = pd.read_csv(path).to_dict("records") if path.exists() else []
    known = {each["name"]: each for each in [*rows, row]}
    ordered = [known[each] for each in GUARDED if each in known]
    pd.DataFrame(ordered).to_csv(path, index=False)


def _loop() -> Judged:
    experiment = Experiment(
        dataset=_IMAGES, model="LeNet5", strategy="GlobalMagnitude", compression=10.0
    )
    speed = training_speed
    turns = speed.measured(experiment, Path(), steps=40, turns=_TURNS)
    return turns.ratio(speed.BENCHMARK, speed.BY_HAND, (speed.CONTROL, speed.BY_HAND))


def _masks() -> Judged:
    masked = masked_training
    turns = masked.measured(RandomImages().load(Path()), "LeNet5", 64, steps=40, turns=_TURNS)
    return turns.ratio(masked.MASKED, masked.DENSE, (masked.CONTROL, masked.DENSE))


def _scoring() -> Judged:
    kthvalue, again = scoring_cost.KTHVALUE, f"{scoring_cost.KTHVALUE} again"
    processes = scoring_cost.Processes("resnet50", threads=1, timeout=60)
    turns = processes.measured([kthvalue, "GlobalMagnitude"], turns=8)
    return turns.ratio("GlobalMagnitude", kthvalue, (again, kthvalue))


def _leaderboard() -> Judged:
    with tempfile.TemporaryDirectory() as folder:
        store = cost_curves.stored(5_000, Path(folder))
        paths = [store.record_path(each) for each in store.ids()]

        def plain() -> object:
            return [json.loads(path.read_bytes()) for path in paths]

        return _of_calls(lambda: leaderboard(folder), plain)


def _imports() -> Judged:
    def imported(module: str) -> Callable[[], object]:
        return lambda: subprocess.run([sys.executable, "-c", f"import {module}"], check=True)

    return _of_calls(imported("prunebench.benchmark.sweeps.sweep"), imported("torch"))


def _grid() -> Judged:
    cells = cost_curves.expanded(2_000, "seeds")
    plain = [cell.model_dump(mode="json") for cell in cells]
    return _of_calls(
        lambda: [cell.id for cell in cost_curves.expanded(2_000, "seeds")],
        lambda: [json.dumps(each, sort_keys=True) for each in plain for _ in range(10)],
    )


def _of_calls(ours: Callable[[], object], yardstick: Callable[[], object]) -> Judged:
    """The time of one call over that of another."""

    def seconds(call: Callable[[], object]) -> Callable[[], float]:
        def timed() -> float:
            start = time.perf_counter()
            call()
            return time.perf_counter() - start

        return timed

    ours()
    calls = {"ours": ours, "yardstick": yardstick, "again": yardstick}
    turns = take_turns({name: seconds(call) for name, call in calls.items()}, _TURNS)
    return turns.ratio("ours", "yardstick", ("again", "yardstick"))


GUARDED = {
    "loop": Guarded("the benchmark's loop over one written by hand, LeNet-5", _loop),
    "masks": Guarded("training under masks over training without, LeNet-5", _masks),
    "scoring": Guarded("GlobalMagnitude over one torch.kthvalue, ResNet-50", _scoring),
    "leaderboard": Guarded("a leaderboard of 5,000 records over reading their JSON", _leaderboard),
    "grid": Guarded("2,000 cells and their ids over writing each ten times as JSON", _grid),
    "import": Guarded("import of all that runs sweeps over that of torch", _imports),
}


if __name__ == "__main__":
    sys.exit(main())
