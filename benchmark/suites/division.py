"""Divisions: what methods are run with, and what their records come to.

In the default division methods are as their authors set them, in the tuned one as the same number
of trials sets each of them, and in the open one they have recipes of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from ...errors import UsageError, tell
from ...results import Outcome, Place, Record
from ...results.naming import named
from ...results.record_file import read_records
from ...results.suites.levels import levels
from ...results.suites.moves import Move, moves
from .cells import Cell, Choice, scored_tasks
from .recipe import read_recipe
from .scoring import Studies, runs_of_studies
from .suite import BASELINES, Suite, strategies_of
from .tuning import Run, searched, tuned


class UntriedError(UsageError):
    """There are no records of trials from which a choice follows."""


def asked_for(suite: Suite, division: str, strategies: Sequence[str]) -> dict[str, Choice]:
    """The methods that were asked for, and the baselines, as they are before any tuning.

    Args:
        suite: the suite.
        division: in which they are run.
        strategies: their names; in the open division the YAML files of recipes.

    Raises:
        UsageError: one of them is not to be had.
    """
    if division != "open":
        chosen = strategies_of(list(strategies), suite)
        for each in chosen if division == "tuned" else ():
            searched(each)  # complains now, and not after the trials of others
        return {each: Choice(each) for each in chosen}
    recipes = [read_recipe(Path(each), suite) for each in strategies]
    own = [Choice(each.strategy, recipe=each) for each in recipes]
    return {str(each): each for each in [*map(Choice, BASELINES), *own]}


def studied(
    suite: Suite,
    division: str,
    asked: Mapping[str, Choice],
    count: int,
    run: Run,
) -> Studies:
    """What each method is run with: as it was asked for, or what its studies chose.

    Args:
        suite: the suite.
        division: in which methods are run.
        asked: the methods.
        count: how many studies each has in the tuned division.
        run: gives the records of trials.
    """
    if division != "tuned":
        return {name: [choice] for name, choice in asked.items()}
    chosen: dict[str, list[Choice]] = {}
    for name in asked:
        for study in range(count):
            choice = tuned(suite, name, run, study)
            chosen.setdefault(name, []).append(choice)
            which = f" of study {study + 1}" if count > 1 else ""
            tell(f"tuned in {suite.tuning.trials} trials{which}: {choice}")
    return chosen


def replayed(
    suite: Suite, division: str, strategies: Sequence[str], count: int, places: Sequence[Place]
) -> Studies:
    """The same from records of trials that have been run.

    Args:
        suite: the suite.
        division: in which methods were run.
        strategies: as they were run; none stands for all of the suite.
        count: how many studies each has in the tuned division.
        places: where the records are.

    Raises:
        UntriedError: some of the trials have not been run.
        UsageError: nobody says which recipes were.
    """
    if division == "open" and not strategies:
        raise UsageError("--strategies: give the recipes of the open division, as they were run")
    known: list[Record] = []
    if division == "tuned":
        known = [record for each in places for record in read_records(each)]
    asked = asked_for(suite, division, strategies or ["all"])
    return studied(suite, division, asked, count, looked_up(known))


def looked_up(records: Iterable[Record]) -> Run:
    """Gives the records of trials that have been run.

    What it returns raises an UntriedError where some have not.
    """
    known = {record.id: record for record in records}

    def look_up(cells: Sequence[Cell]) -> Mapping[str, Record]:
        for cell in cells:
            if cell.experiment.id not in known:
                raise UntriedError(
                    f"{cell.method}: trials of the tuned division have not been run: run them, or "
                    "name those that were with --strategies"
                )
        return known

    return look_up


def runs_in(
    suite: Suite, division: str, studies: Studies, outcomes: Sequence[Outcome]
) -> pd.DataFrame:
    """The runs of a division (:func:`.levels`): of the default one all that are there."""
    if division == "default":
        return levels(scored_tasks(suite), outcomes)
    return runs_of_studies(suite, studies, outcomes)


def moves_between(
    suite: Suite, divisions: Mapping[str, Studies], outcomes: Sequence[Outcome]
) -> list[Move]:
    """The ranks of methods in two divisions, in which they are called as they were asked for.

    Raises:
        UsageError: one of them is the open one, or fewer than two methods are complete in both.
    """
    if "open" in divisions:
        raise UsageError("--division: open is not allowed beside others: it is ranked apart")
    frames = []
    for division, studies in divisions.items():
        called = {str(each): named(name) for name, own in studies.items() for each in own}
        runs = runs_in(suite, division, studies, outcomes)
        frames.append(runs.assign(method=[called.get(name, name) for name in runs["method"]]))
    return moves(scored_tasks(suite), *frames)
