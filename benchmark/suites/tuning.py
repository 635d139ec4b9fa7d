"""The tuned division: each method gets the same number of trials to choose its settings by.

A trial is a choice of a method's hyperparameters, from the search space that it declares, and of
one factor by which the learning rate after pruning is multiplied in all tasks. It is judged on the
validation splits of all tasks, with a seed that is none of the suite's: what was measured on test
splits is not looked at. The first trial has the defaults. Trials are ordinary records, and a study
that is begun again asks for the same ones, so that nothing but them has to be kept. Several studies
of a method have seeds of their own, of what they try and of the cells they try it on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ...errors import UsageError, lacking
from ...results import Record
from ...results.suites.levels import REACHED, level
from ...results.suites.score import area
from ...strategies import STRATEGIES, Strategy
from ..conformance.checks import unfit_search_space
from .cells import Cell, Choice, cells_of_choice
from .suite import Suite, Task

_RATE = "learning rate after pruning"

Run = Callable[[Sequence[Cell]], Mapping[str, Record]]
"""Gives the records of cells by their ids, failed ones too."""


def tuned(suite: Suite, strategy: str, run: Run, study: int = 0) -> Choice:
    """Choose the settings of a strategy.

    Args:
        suite: says how many trials there are.
        strategy: as somebody writes it; what it sets itself is not tuned.
        run: gives the records of trials.
        study: which of several studies, from 0.

    Raises:
        UsageError: Optuna is not installed, or the study would have a seed of the suite.
    """
    seed = suite.tuning.seed + study
    if seed in suite.seeds:
        raise UsageError(f"--studies: study {study + 1} would have seed {seed}, one of the suite's")
    if reason := lacking("tuning", "optuna"):
        raise UsageError(f"the tuned division: {reason}")
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    usual, space = searched(strategy)
    sampler = optuna.samplers.TPESampler(seed=seed)
    search = optuna.create_study(direction="maximize", sampler=sampler)
    search.enqueue_trial({_RATE: 1.0, **{name: getattr(usual, name) for name in space}})
    areas: dict[Choice, float] = {}
    for _ in range(suite.tuning.trials):
        trial = search.ask()
        rate = trial.suggest_categorical(_RATE, suite.tuning.learning_rates)
        values = {name: trial.suggest_categorical(name, each) for name, each in space.items()}
        choice = Choice(str(STRATEGIES.component(replace(usual, **values))), rate)
        areas[choice] = _area(suite, choice, run, seed)
        search.tell(trial, areas[choice])
    return max(areas, key=areas.__getitem__)


def searched(strategy: str) -> tuple[Strategy, dict[str, tuple[float, ...]]]:
    """A strategy and the values of its hyperparameters that are tried, but of those given.

    Raises:
        UsageError: it declares values that are not allowed, or none that is the default.
    """
    component = STRATEGIES.component(strategy)
    usual, given = component.create(), dict(component.arguments)
    space = {name: each for name, each in usual.search_space.items() if name not in given}
    for sentence in unfit_search_space(usual, space):
        raise UsageError(f"the tuned division: {strategy}: {sentence}")
    return usual, space


def _area(suite: Suite, choice: Choice, run: Run, seed: int) -> float:
    """The mean area of a choice over tasks, by the validation splits."""
    cells = cells_of_choice(suite, choice, (seed,))
    records = run(cells)
    areas = []
    for name, task in suite.tasks.items():
        own = [cell.experiment for cell in cells if cell.task == name]
        levels = [_validated(task, records[each.id]) for each in own]
        areas.append(area(task.compression, levels))
    return sum(areas) / len(areas)


def _validated(task: Task, record: Record) -> float:
    """The level of a run on the validation split, where the mark of the dense network is 1."""
    achieved = record.final.get("compression")
    if record.status != "ok" or not achieved:
        return 0.0
    if achieved < REACHED * record.experiment["compression"]:
        return 0.0
    name = next(iter(record.quality))
    quality = record.rounds[-1].validation.get(name)
    if quality is None:
        return 0.0
    return level(name, quality, task.experiment["least_dense_quality"], task.floor)
