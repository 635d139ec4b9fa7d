"""What is lost when sweeps are killed, starved and sabotaged: nothing, in any of many rounds.

    python tests/faults.py
    python tests/faults.py --rounds 200 --seed 7 --fork-server

In each round a small sweep begins in an empty folder and something goes wrong: it or one of its
workers is killed, two run at once, cells run out of time, the disk is full, files are cut off or
changed, a method ends its process. Then the same sweep is given again until it ends well. No record
that was finished may be gone or be another one at any time, and in the end all are those of a sweep
that nothing happened to, bit by bit. Workers are forked from the sweep here and nothing is timed,
so that a round takes seconds; with ``--fork-server`` all is as ever. POSIX only; workers are
found in ``/proc``.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

from prunebench import Experiment, UsageError, grid, sweep
from prunebench.benchmark.sweeps import fork_server
from prunebench.metrics import Latency
from prunebench.results import Record, Store

_METHOD = '''
import os, signal, sys, time
from prunebench.strategies import GlobalMagnitude

class Faulty(GlobalMagnitude):
    """Does what the environment says in a random one of its calls."""

    def score(self, context):
        if (fault := os.environ.get("FAULT")) and os.urandom(1)[0] < 128:
            exec(fault)
        return super().score(context)
'''
_MOST_TRIES = 4


@dataclass
class _Sweep:
    """The same sweep, each time in a process of its own."""

    experiments: list[Experiment]
    runs: Path
    workers: int
    log: Path
    as_ever: bool

    def start(self, prepare: Callable[[], object] = lambda: None, **options: Any) -> int:
        """Start it, and return the number of its process, which also is that of its group."""
        # Forked, since most of a small sweep's time goes by with importing torch.
        if process := os.fork():
            return process
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        output = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        status = 1
        if not self.as_ever:
            mock.patch.object(fork_server, "start", return_value="fork").start()
            mock.patch.object(Latency, "measure", return_value={}).start()
        try:
            prepare()
            records = sweep(
                self.experiments,
                runs=self.runs,
                workers=self.workers,
                checkpoint_minutes=0.005,
                progress=False,
                **options,
            )
            status = int(any(not record.finished for record in records))
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", flush=True)
        finally:
            os._exit(status)

    def run(self) -> int:
        """Run it to its end, and return its status."""
        return os.waitpid(self.start(), 0)[1]

    def finished(self, damaged: set[Path]) -> dict[str, dict[str, Any]]:
        """The results that are there, by id, but for those in files that we have damaged."""
        found = {}
        for path in self.runs.glob("[0-9a-f][0-9a-f]/*.json"):
            if path not in damaged and not path.name.endswith(".failed.json"):
                record = Record.from_json(path.read_bytes())
                if record.finished:
                    found[record.id] = record.result()
        return found


@dataclass
class _Round:
    """One round: what goes wrong in it, and what is found then."""

    sweep: _Sweep
    expected: dict[str, dict[str, Any]]
    seconds: float
    draw: random.Random
    damaged: set[Path] = field(default_factory=set)
    known: dict[str, dict[str, Any]] = field(default_factory=dict)
    found: Counter[str] = field(default_factory=Counter)

    def run(self, fault: str) -> str:
        """Do what the fault says, let the sweep run to its end, and tell what happened."""
        what = _FAULTS[fault](self)
        self.look()
        started = len(self.known)
        tries = 1
        while self.sweep.run() != 0 and tries < _MOST_TRIES:
            tries += 1
            self.look()
        self.look()
        self.found["left for a person to mend"] += tries == _MOST_TRIES
        self.found["lost"] += len(self.expected.keys() - self.known.keys())
        store = Store(self.sweep.runs)
        self.found["doubled"] += len(list(store.ids())) - len(set(self.expected) & set(store.ids()))
        failures = list(self.sweep.runs.glob("??/*.failed.json"))
        self.found["left for a person to delete"] += len(failures)
        return f"{what}; {started} of {len(self.expected)} finished, all after {tries} more"

    def look(self) -> None:
        """Compare what is finished now to what was before, and to what it has to be."""
        now = self.sweep.finished(self.damaged)
        self.found["lost"] += len(self.known.keys() - now.keys())
        self.found["wrong"] += sum(self.expected.get(id_) != now[id_] for id_ in now)
        self.known = now
        self.damaged = set()  # the next sweep sets them aside

    def moment(self, share: float = 1.0) -> float:
        """Wait for a while in which anything may be going on."""
        seconds = self.draw.uniform(0, share * self.seconds)
        time.sleep(seconds)
        return seconds

    def signal(self) -> signal.Signals:
        """One of those that end processes."""
        return self.draw.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT])


def _kill_the_sweep(this: _Round) -> str:
    process, sent = this.sweep.start(), this.signal()
    seconds = this.moment()
    os.kill(process, sent)
    os.waitpid(process, 0)
    _wait_for_the_end_of(process)
    return f"{sent.name} to the sweep after {seconds:.1f} s"


def _kill_workers(this: _Round) -> str:
    process, killed = this.sweep.start(), []
    deadline = time.monotonic() + 10 * this.seconds
    while len(list(_members(process))) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)  # until there are workers
    for _ in range(this.draw.choice([1, 1, 3])):
        this.moment(0.4)
        others = [each for each in _members(process) if each != process] or [process]
        sent = this.signal()
        try:
            os.kill(this.draw.choice(others), sent)
        except ProcessLookupError:
            continue
        killed.append(sent.name)
    os.waitpid(process, 0)
    _wait_for_the_end_of(process)
    return f"{', '.join(killed) or 'nothing'} to processes of the sweep"


def _two_at_once(this: _Round) -> str:
    first = this.sweep.start()
    this.moment(0.2)
    second = this.sweep.start(force=this.draw.random() < 0.5)
    killed = this.draw.random() < 0.5
    if killed:
        this.moment()
        os.kill(this.draw.choice([first, second]), signal.SIGKILL)
    for process in (first, second):
        os.waitpid(process, 0)
        _wait_for_the_end_of(process)
    return f"two sweeps at once, {'one of them killed' if killed else 'both to their end'}"


def _out_of_time(this: _Round) -> str:
    hang = {"FAULT": "time.sleep(600)"}
    this.sweep.workers, timeout = 2, this.draw.uniform(0.2, 1) * this.seconds
    os.waitpid(this.sweep.start(lambda: os.environ.update(hang), timeout=timeout), 0)
    return f"cells that hang, stopped after {timeout:.1f} s"


def _method_ends(this: _Round) -> str:
    end = this.draw.choice(
        [
            "sys.exit()",
            "os.kill(os.getpid(), signal.SIGKILL)",
            "os._exit(0)",
            "raise ValueError('\\udcff')",
            "raise type('Mute', (Exception,), {'__str__': lambda self: None})()",
        ]
    )
    os.waitpid(this.sweep.start(lambda: os.environ.update(FAULT=end)), 0)
    return f"a method that does {end!a}"


def _forced(this: _Round) -> str:
    this.sweep.run()
    this.look()
    end = this.draw.choice(["sys.exit()", "os._exit(3)", ""])
    process = this.sweep.start(lambda: os.environ.update(FAULT=end), force=True)
    killed = this.draw.random() < 0.5
    if killed:
        this.moment()
        os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    _wait_for_the_end_of(process)
    return f"finished, then forced with {end or 'no fault'}{', and killed' * killed}"


def _full_disk(this: _Round) -> str:
    """No file may grow over a limit, so that writing fails as on a full disk."""
    limit = round(10 ** this.draw.uniform(3, 5.7))
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    start = this.sweep.start(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard)))
    os.waitpid(start, 0)
    return f"no file over {limit:,} bytes"


def _damage(this: _Round) -> str:
    process = this.sweep.start()
    this.moment(1.5)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    _wait_for_the_end_of(process)
    this.look()
    files = sorted(path for path in this.sweep.runs.rglob("*") if path.is_file())
    files = [path for path in files if path.suffix != ".lock"]
    chosen = this.draw.sample(files, min(len(files), 3))
    for path in chosen:
        content = path.read_bytes()
        place = this.draw.randrange(len(content)) if content else 0
        cut = this.draw.random() < 0.5 or path.parent.parent == this.sweep.runs
        is_record = path.suffix == ".json" and len(path.parent.name) == 2
        changed = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        path.write_bytes(content[:place] if cut or is_record or not content else changed)
        if is_record:
            this.damaged.add(path)
            this.known.pop(path.stem, None)
    return f"killed, then {', '.join(path.suffix for path in chosen) or 'nothing'} damaged"


_FAULTS: dict[str, Callable[[_Round], str]] = {
    "kill": _kill_the_sweep,
    "workers": _kill_workers,
    "two": _two_at_once,
    "timeout": _out_of_time,
    "method": _method_ends,
    "force": _forced,
    "disk": _full_disk,
    "damage": _damage,
}


def _members(group: int) -> Iterator[int]:
    """The processes of a group that are alive."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            yield int(stat.parent.name)


def _wait_for_the_end_of(group: int) -> None:
    """Workers end by themselves when their sweep has ended."""
    deadline = time.monotonic() + 60
    while list(_members(group)):
        if time.monotonic() > deadline:
            raise UsageError(f"processes of the sweep {group} outlive it")
        time.sleep(0.02)


def main() -> int:
    """Print what happened in each round, and what was lost in all of them; 1 if anything was."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fork-server", action="store_true")
    options = parser.parse_args()
    total: Counter[str] = Counter()
    with TemporaryDirectory() as name:
        folder = Path(name)
        method = folder / "faulty.py"
        method.write_text(_METHOD)
        experiments = grid(
            dataset="Digits",
            model="LeNetSmall",
            strategy=["Random", f"{method}:Faulty", "GlobalMagnitude"],
            compression=4,
            pretraining={"epochs": 1},
            finetuning={"epochs": 1},
        )
        log, seconds, expected = folder / "log", {}, {}
        for workers in (1, 2):
            undisturbed = _Sweep(
                experiments, folder / f"{workers}", workers, log, options.fork_server
            )
            start = time.monotonic()
            assert undisturbed.run() == 0, log.read_text()
            seconds[workers] = time.monotonic() - start
            expected = undisturbed.finished(set())
            print(f"undisturbed, {workers} workers: {len(expected)} cells", end=" ")
            print(f"in {seconds[workers]:.1f} s", flush=True)
        for number in range(1, options.rounds + 1):
            draw = random.Random(f"{options.seed} {number}")
            fault = list(_FAULTS)[(number - 1) % len(_FAULTS)]
            workers = 2 if fault == "workers" or draw.random() < 0.25 else 1
            runs = folder / f"round-{number}"
            disturbed = _Sweep(experiments, runs, workers, log, options.fork_server)
            this = _Round(disturbed, expected, seconds[workers], draw)
            what = this.run(fault)
            total += this.found
            bad = ", ".join(f"{count} {title}" for title, count in (+this.found).items())
            print(f"{number:3}  {this.sweep.workers} workers  {what}: {bad or 'well'}", flush=True)
            if bad:
                print(log.read_text(), file=sys.stderr)
            log.unlink(missing_ok=True)
    titles = (
        "lost",
        "doubled",
        "wrong",
        "left for a person to delete",
        "left for a person to mend",
    )
    print(f"{options.rounds} rounds: {', '.join(f'{total[title]} {title}' for title in titles)}")
    return int(bool(+total))


if __name__ == "__main__":
    sys.exit(main())
