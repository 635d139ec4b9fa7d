"""What records of a suite come to: those of one's own, beside those of others, in a division."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from ...results import Outcome, Place, Record
from ...results.gathering import gathered, whole_records
from ...results.manifest import CONFIG_FILE
from ...results.naming import named
from ...results.points import point_of
from ...results.suites.levels import DENSE, ScoredTask, levels
from ...results.suites.score import mean_area
from ...strategies import STRATEGIES
from .cells import Choice, scored_tasks
from .suite import Suite, suite

Studies = Mapping[str, Sequence[Choice]]
"""By what a method was asked for as, the choice that each of its studies made."""


def published(found: Suite, folder: Path = Path("results/published")) -> list[Path]:
    """The folder in which a run of just this suite is published; none where there is none."""
    config = folder / found.name / CONFIG_FILE
    return [config.parent] if config.is_file() and suite(str(config)) == found else []


def outcomes_of(places: Sequence[Place], beside: Sequence[Place]) -> list[Outcome]:
    """The records of some places and of others' beside, whose finished ones go before."""
    others = list(gathered(beside)) if beside else []
    taken = {each.id for each in others if each.finished}
    own = [each for each in gathered(places) if each.id not in taken]
    known = {each.id for each in own}
    return [*(each for each in others if each.finished or each.id not in known), *own]


def other_dense_networks(places: Sequence[Place], beside: Sequence[Place]) -> tuple[int, int]:
    """How many dense networks of one's own are not bit for bit those of others, and of how many."""
    own, others = _dense_networks(whole_records(places)), _dense_networks(whole_records(beside))
    common = own.keys() & others.keys()
    return sum(own[each] != others[each] for each in common), len(common)


def _dense_networks(records: Iterable[Record]) -> dict[tuple[str, str, int], str]:
    """The digests of dense networks by data set, network and seed."""
    return {
        (each.experiment["dataset"], each.experiment["model"], each.experiment["seed"]): digest
        for each in records
        if (digest := each.digests.get("dense"))
    }


def runs_of_studies(suite: Suite, studies: Studies, outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """The runs of methods with the settings that were chosen for each.

    Of several studies of a method, that counts whose mean area is the median, of two the lower.
    """
    chosen = [_median(suite, choices, outcomes) for choices in studies.values()]
    return pd.concat(chosen).drop_duplicates(["task", "method", "seed", "point"])


def _median(suite: Suite, choices: Sequence[Choice], outcomes: Sequence[Outcome]) -> pd.DataFrame:
    found: list[tuple[float, int, pd.DataFrame]] = []
    for choice in choices:
        tasks = scored_tasks(suite, choice)
        runs = levels(tasks, _of(choice, tasks, outcomes))
        runs["method"] = runs["method"].where(runs["method"].isin(DENSE), str(choice))
        found.append((mean_area(tasks, runs, str(choice)), len(found), runs))
    return sorted(found)[(len(found) - 1) // 2][2]


def _of(
    choice: Choice, tasks: Iterable[ScoredTask], outcomes: Iterable[Outcome]
) -> Iterator[Outcome]:
    """Those of the outcomes that are of a choice's method, or of dense networks beside it."""
    dense = {key for task in tasks for key in (*task.narrower, task.int8)}
    name = named(str(STRATEGIES.component(choice.strategy)))
    for each in outcomes:
        point = point_of(each.experiment)
        if point.method.strategy == name or point.key in dense:
            yield each
