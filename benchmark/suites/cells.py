"""The cells of a suite, which of them cannot be run, and what its records are held against."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from ...errors import UsageError
from ...results import Place, Store
from ...results.naming import named
from ...results.points import point_of
from ...results.suites.levels import DENSE, INT8, NARROWER, ScoredTask
from ..cell.loop import load_task
from ..cell.record import described, failed_record
from ..experiment import Experiment
from ..sweeps.checking import check
from .recipe import Recipe
from .suite import BASELINES, Suite, Task


class Cell(NamedTuple):
    """A cell of a suite."""

    task: str
    method: str
    experiment: Experiment


class Choice(NamedTuple):
    """A strategy as it is run in a suite.

    Attributes:
        strategy: with its hyperparameters.
        rate: by what the learning rate after pruning is multiplied in all tasks.
        recipe: the method's own, in the open division.
    """

    strategy: str
    rate: float = 1.0
    recipe: Recipe | None = None

    def __str__(self) -> str:
        rate = "" if self.rate == 1 else f" · rate ×{self.rate:g}"
        recipe = f" · {self.recipe}" if self.recipe else ""
        return f"{named(self.strategy)}{rate}{recipe}"

    def task(self, name: str, task: Task) -> Task:
        """A task of the suite as it is for this choice."""
        return (self.recipe.task(name, task) if self.recipe else task).at_rate(self.rate)


USUAL = Choice(BASELINES[1])
"""What leaves the tasks as they are."""


class Refusal(NamedTuple):
    """A cell that cannot be run, since the method cannot prune the task's network so far."""

    cell: Cell
    reason: UsageError


def cells_of(suite: Suite, choices: Iterable[Choice]) -> list[Cell]:
    """All cells of methods in a suite, and those of the dense networks that are their rivals.

    Task by task, whose data are so loaded once.
    """
    cells = [
        *(cell for each in choices for cell in cells_of_choice(suite, each, suite.seeds)),
        *(
            Cell(name, rival, experiment)
            for name, task in suite.tasks.items()
            for rival, experiments in (
                (NARROWER, task.narrower_cells(suite.seeds)),
                (INT8, task.int8_cells(suite.seeds)),
            )
            for experiment in experiments
        ),
    ]
    place = {name: number for number, name in enumerate(suite.tasks)}
    return sorted(cells, key=lambda cell: place[cell.task])


def cells_of_choice(suite: Suite, choice: Choice, seeds: tuple[int, ...]) -> list[Cell]:
    """The cells of a method with some seeds."""
    return [
        Cell(name, choice.strategy, experiment)
        for name, task in suite.tasks.items()
        for experiment in choice.task(name, task).cells(choice.strategy, seeds)
    ]


def first_cells(cells: Sequence[Cell]) -> list[Experiment]:
    """A cell of each task and seed, by which its dense network is trained and held to its mark."""
    found: dict[tuple[str, int], Experiment] = {}
    for cell in cells:
        if cell.method not in DENSE:
            found.setdefault((cell.task, cell.experiment.seed), cell.experiment)
    return list(found.values())


def refusals(cells: Iterable[Cell], data: Path) -> list[Refusal]:
    """Those of the cells that cannot be run.

    Raises:
        UsageError: data are not to be had, or even a baseline cannot be run.
    """
    known: dict[tuple[object, ...], UsageError | None] = {}
    found = []
    for cell in cells:
        experiment = cell.experiment
        settings = experiment.comparison, str(experiment.model), experiment.compression
        key = cell.task, cell.method, *settings
        if key not in known:
            known[key] = _reason(cell, data)
        if (reason := known[key]) is not None:
            found.append(Refusal(cell, reason))
    return found


def _reason(cell: Cell, data: Path) -> UsageError | None:
    """Why a cell cannot be run; None where it can."""
    load_task(cell.experiment.dataset, data)  # whose absence is no fault of the method
    try:
        check([cell.experiment], data)
    except UsageError as error:
        if cell.method in (*BASELINES, *DENSE):
            raise
        return error
    return None


def note(refused: Iterable[Refusal], runs: Place) -> None:
    """Keep a failed record of each cell that cannot be run, which counts as the worst."""
    store = Store(runs)
    for cell, reason in refused:
        store.save(failed_record(cell.experiment, reason))


def scored_tasks(suite: Suite, choice: Choice = USUAL) -> list[ScoredTask]:
    """What records of a suite are held against.

    Args:
        suite: the suite.
        choice: by which the tasks of a method are others.
    """
    return [_scored(name, task, suite.seeds, choice) for name, task in suite.tasks.items()]


def _scored(name: str, task: Task, seeds: tuple[int, ...], choice: Choice) -> ScoredTask:
    own = choice.task(name, task).cells(BASELINES[1], seeds)[0]
    narrower = task.narrower_cells(seeds[:1])
    return ScoredTask(
        name=name,
        key=point_of(described(own)).key,
        narrower={
            point_of(described(each)).key: point
            for each, point in zip(narrower, task.compression, strict=True)
        },
        int8=point_of(described(task.int8_cells(seeds[:1])[0])).key,
        points=task.compression,
        seeds=seeds,
        floor=task.floor,
        loss_at_most=task.loss_at_most,
    )
