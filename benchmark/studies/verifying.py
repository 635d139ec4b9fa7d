"""Verifying: running published cells again, and holding what comes of it against their records.

Cells are drawn at random, since nobody who forges results is to know which ones. Those that would
take too long are passed over, and named, as are failures for want of time or memory, of which
another machine may have more. Other failures must fail again. Cells are run in a folder of their
own, that with the least expected time first, so that there is as much as possible to tell when time
is up.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ...errors import UsageError
from ...results import Record
from ...results.agreement import Agreement, Tolerances, agreement
from ...results.brief import title
from ...results.differences import Difference
from ...results.manifest import Verification, describe, write_manifest
from ...results.record_file import RECORDS_FILE
from ..cell.environment import environment
from ..cell.loop import load_task
from ..cell.record import failed_record
from ..experiment import Experiment
from ..sweeps.sweep import data_folder, run
from .published import Published

OF_THE_MACHINE = ("TimeoutError", "MemoryError", "OutOfMemoryError", "ChildProcessError")
"""Failures that say something of the machine: it was too slow or small, or killed the process."""

_TRAINING = ("scoring_seconds", "finetuning_seconds")


@dataclass(frozen=True)
class Repeated:
    """A cell that was run again.

    Attributes:
        record: what is published of it.
        agreement: how what came of it agrees with that.
        seconds: what that took.
    """

    record: Record
    agreement: Agreement
    seconds: float

    @property
    def fails_again(self) -> bool:
        """Whether it failed, as its record says that it did."""
        return self.record.error is not None and self.agreement.verdict == "identical"

    def sentence(self) -> str:
        """What came of it, in words."""
        said = f"{title(self.record.experiment)} ({self.record.id}), {self.seconds:.0f} s"
        found = self.agreement
        if self.fails_again:
            return f"{said}: fails again, by the same name"
        if found.verdict == "identical":
            return f"{said}: identical bits"
        if found.verdict == "equal":
            return (
                f"{said}: within the tolerance; first, {_in_words(found.first)} "
                f"(with {'; '.join(found.conditions)})"
            )
        where = f" (with {'; '.join(found.conditions)})" if found.conditions else ""
        return f"{said}: {_in_words(found.beyond)}{where}"

    def as_json(self) -> dict[str, Any]:
        """The same as plain data."""
        first, beyond = self.agreement.first, self.agreement.beyond
        return {
            "id": self.record.id,
            "cell": title(self.record.experiment),
            "verdict": self.agreement.verdict,
            "first_difference": _as_data(first),
            "beyond_tolerance": _as_data(beyond),
            "conditions": list(self.agreement.conditions),
            "seconds": round(self.seconds, 1),
        }


def _in_words(difference: Difference | None) -> str:
    assert difference is not None  # of cells that are not identical
    return f"{difference.place} is {difference.first} in the record and {difference.second} here"


def _as_data(difference: Difference | None) -> dict[str, Any] | None:
    if difference is None:
        return None
    place, recorded, found = difference
    return {"place": place, "recorded": recorded, "found": found}


@dataclass(frozen=True)
class Draw:
    """Cells that were drawn.

    Attributes:
        chosen: those to run, that with the least expected time first.
        passed_over: those that were drawn too, but would take too long.
        not_repeated: those that were drawn too, but failed for what :data:`OF_THE_MACHINE` says.
    """

    chosen: tuple[Record, ...]
    passed_over: tuple[Record, ...]
    not_repeated: tuple[Record, ...] = ()


def draw(published: Published, cells: int | None, seconds: float, seed: int) -> Draw:
    """Draw cells at random until there are enough or there is no time for any other.

    Args:
        published: the folder.
        cells: how many; None for all.
        seconds: how long they may take together.
        seed: of what is drawn.
    """
    records = list(published.records)
    random.Random(seed).shuffle(records)
    expected = Expected(published)
    chosen: list[Record] = []
    passed_over: list[Record] = []
    not_repeated: list[Record] = []
    for record in records:
        if cells is not None and len(chosen) == cells:
            break
        if record.error is not None and record.error.type in OF_THE_MACHINE:
            not_repeated.append(record)
        elif expected.so_far + expected.of(record) <= seconds:
            expected.add(record)
            chosen.append(record)
        else:
            passed_over.append(record)
    alone = Expected(published)
    chosen.sort(key=lambda record: (alone.of(record), record.id))
    return Draw(tuple(chosen), tuple(passed_over), tuple(not_repeated))


class Expected:
    """How long cells took where they were run; a dense network that they share counts once.

    Those that failed do not say so: each is to take as long as the longest that shares its dense
    network.

    Attributes:
        so_far: seconds of all cells that were added.
    """

    def __init__(self, published: Published) -> None:
        self._dense = {
            identity: experiment.pretraining_id
            for identity, experiment in published.experiments.items()
        }
        self._trained: set[str] = set()
        self._longest: dict[str, dict[str, float]] = defaultdict(dict)
        for record in published.records:
            known = self._longest[self._dense[record.id]]
            for name, seconds in record.timings.items():
                known[name] = max(known.get(name, 0.0), seconds or 0.0)
        self.so_far = 0.0

    def of(self, record: Record) -> float:
        """The seconds of one more cell."""
        dense = self._dense[record.id]
        names = _TRAINING if dense in self._trained else ("pretraining_seconds", *_TRAINING)
        timings = record.timings if record.finished else self._longest[dense]
        return sum(timings.get(name) or 0.0 for name in names)

    def add(self, record: Record) -> None:
        """Count a cell."""
        self.so_far += self.of(record)
        self._trained.add(self._dense[record.id])


def repeat(
    published: Published, records: Sequence[Record], *, data: Path | None, seconds: float
) -> Iterator[Repeated]:
    """Run cells again, one after the other, for as long as there is time for the next.

    How much longer they take here than where they were run is taken from those before.

    Args:
        published: the folder in which they are.
        records: what to run again.
        data: the folder of data sets.
        seconds: how long it may take.
    """
    start, spent, slower = time.perf_counter(), 0.0, 1.0
    tolerances, expected = Tolerances(published.records), Expected(published)
    with TemporaryDirectory(prefix="prunebench-") as folder, published.admitting():
        for number, record in enumerate(records):
            before, usual = time.perf_counter(), expected.of(record)
            if number > 0 and before - start + slower * usual > seconds:
                return
            found = _run(record, untimed(published.experiments[record.id]), folder, data)
            expected.add(record)
            taken = time.perf_counter() - before
            if usual > 0:  # of what failed at once nothing is expected
                spent += taken
                slower = spent / max(expected.so_far, 1e-3)
            yield Repeated(record, agreement(record, found, tolerances), taken)


def _run(record: Record, experiment: Experiment, runs: str, data: Path | None) -> Record:
    """What comes of a cell now; of one that failed also why it is refused before it is run."""
    try:
        return run(experiment, runs=runs, data=data, weights=False)
    except UsageError as error:
        if record.finished:
            raise
        load_task(experiment.dataset, data_folder(data))  # whose absence is none of its failures
        return failed_record(experiment, error)


def untimed(experiment: Experiment) -> Experiment:
    """The same experiment without what measures times alone: that is long and changes nothing."""
    measured = [each for each in experiment.measurements if not each.factory.timing]
    return experiment.model_copy(update={"measurements": tuple(measured)})


def note_verification(published: Published, repeated: Sequence[Repeated], by: str) -> None:
    """Write into the manifest that cells were verified, which all agree.

    Args:
        published: the folder.
        repeated: the cells.
        by: who says so.
    """
    here = environment()
    verdicts = {each.record.id: each.agreement.verdict for each in repeated}
    verification = Verification(
        date=datetime.now(timezone.utc).date().isoformat(),
        by=by,
        processor=str(here["processor"]),
        torch=str(here["torch"]),
        commit=here["commit"],
        cells={id_: verdict for id_, verdict in verdicts.items() if verdict != "different"},
        records=published.manifest.files[RECORDS_FILE],
    )
    earlier = published.manifest.valid()
    folder, records = published.folder, published.records
    write_manifest(folder, describe(folder, records, verifications=(*earlier, verification)))
