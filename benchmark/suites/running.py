"""Running the cells of a suite: dense networks first, and nothing else unless they have learned."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from ...errors import UsageError, tell
from ...results import Place, Record, Store
from ...results.gathering import gathered, whole_records
from ...results.naming import named
from ..experiment import Experiment
from ..sweeps.sweep import data_folder, sweep
from .cells import Cell, Refusal, first_cells, note, refusals


class Bench(NamedTuple):
    """Where the cells of a suite are run.

    Attributes:
        runs: the folder of records.
        data: the folder of data sets.
        workers: processes that run cells.
        timeout: seconds after which a cell fails, if any.
        beside: where records of others are; what is finished there is not run.
    """

    runs: Place
    data: Path | None = None
    workers: int = 1
    timeout: int | None = None
    beside: Sequence[Place] = ()


def run_cells(cells: Sequence[Cell], bench: Bench) -> list[Record]:
    """Train the dense networks, go on only if all have reached their mark, and run all else.

    What cannot be run has a failed record then. What is finished is not run again.

    Raises:
        UsageError: a dense network has not learned what the suite asks for.
    """
    sound, refused = sound_cells(cells, bench)
    note(refused, bench.runs)
    for record in _swept(first_cells(sound), bench):
        if record.error is not None and record.error.type == "UntrainedError":
            raise UsageError(f"the suite does not go on: {record.error.message}")
    return _swept([cell.experiment for cell in sound], bench)


def run_all(cells: Sequence[Cell], bench: Bench) -> dict[str, Record]:
    """As :func:`run_cells`, and return the records of all of them by id, failed ones too."""
    run_cells(cells, bench)
    store, ids = Store(bench.runs), {cell.experiment.id for cell in cells}
    found = {id_: record for id_ in ids if (record := store.load(id_)) is not None}
    if found.keys() < ids:
        found |= {each.id: each for each in whole_records(bench.beside) if each.id in ids}
    return found


def sound_cells(cells: Sequence[Cell], bench: Bench) -> tuple[list[Cell], list[Refusal]]:
    """Those of the cells that are to be run, and those that cannot be, of which is told."""
    waiting = _unfinished(cells, bench)
    refused = refusals(waiting, data_folder(bench.data))
    _tell(refused)
    known = {each.cell.experiment.id for each in refused}
    return [cell for cell in waiting if cell.experiment.id not in known], refused


def _swept(experiments: Sequence[Experiment], bench: Bench) -> list[Record]:
    return sweep(
        experiments,
        runs=bench.runs,
        data=bench.data,
        workers=bench.workers,
        timeout=bench.timeout,
    )


def _unfinished(cells: Iterable[Cell], bench: Bench) -> list[Cell]:
    """Those of the cells that are finished neither here nor in the folders beside."""
    there = {each.id for each in gathered(bench.beside) if each.finished} if bench.beside else {}
    store = Store(bench.runs)
    return [
        cell
        for cell in cells
        if cell.experiment.id not in there and not store.is_finished(cell.experiment.id)
    ]


def _tell(refused: Sequence[Refusal]) -> None:
    """Say which methods cannot prune which tasks, and why."""
    told: dict[tuple[str, str, str], list[str]] = {}
    for (task, method, experiment), reason in refused:
        points = told.setdefault((task, named(method), str(reason)), [])
        if (point := f"{experiment.compression:g}×") not in points:
            points.append(point)
    for (task, method, why), points in told.items():
        tell(f"{method} counts as the worst in {task} at {', '.join(points)}: {why}")
