"""What records of a suite come to: those of one's own, beside those of others, in a division."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from ...results import Outcome, Place, Record
from ...results.gathering import gathered, whole_records
from ...results.manifest import CONFIG_FILE
from ...results.naming import told_apart
from ...results.points import Method, point_of
from ...results.suites.levels import DENSE, ScoredTask, levels
from ...results.suites.score import mean_area
from ..cell.record import described
from .cells import Choice, cells_of_choice, scored_tasks
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
    called = told_apart(version for version, _ in chosen)
    frames = [
        runs.assign(method=runs["method"].where(runs["method"].isin(DENSE), called[version]))
        for version, runs in chosen
    ]
    return pd.concat(frames).drop_duplicates(["task", "method", "seed", "point"])


def _median(
    suite: Suite, choices: Sequence[Choice], outcomes: Sequence[Outcome]
) -> tuple[tuple[str, str], pd.DataFrame]:
    """The choice that counts, as its name and the digest of its source, and its runs."""
    found: list[tuple[float, int, tuple[str, str], pd.DataFrame]] = []
    for choice in choices:
        tasks, method = scored_tasks(suite, choice), _method(suite, choice)
        runs = levels(tasks, _of(method, tasks, outcomes))
        area = mean_area(tasks, runs, method.strategy)
        found.append((area, len(found), (str(choice), method.strategy_source), runs))
    return sorted(found)[(len(found) - 1) // 2][2:]


def _method(suite: Suite, choice: Choice) -> Method:
    """A choice's method as it is now, which records of an earlier file of it are not of."""
    first = cells_of_choice(suite, choice, suite.seeds[:1])[0].experiment
    return point_of(described(first)).method


def _of(
    method: Method, tasks: Iterable[ScoredTask], outcomes: Iterable[Outcome]
) -> Iterator[Outcome]:
    """Those of the outcomes that are of a method, or of dense networks beside it."""
    dense = {key for task in tasks for key in (*task.narrower, task.int8)}
    for each in outcomes:
        point = point_of(each.experiment)
        if point.method == method or point.key in dense:
            yield each
