"""The single runs of a comparison: what statistics over pairs of seeds are made of.

They come from records, or from the CSV of a leaderboard, which has them without the numbers of
their seeds: there they are paired by their order, in rows that lack none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from ..errors import UsageError
from . import cells
from .aggregation import leaderboard
from .comparison import Comparison, comparisons
from .gathering import gathered
from .naming import with_labels
from .points import Key, Point, point_of, point_of_row
from .record import Outcome
from .record_file import file_in
from .remote import Place
from .store import Store
from .tables import LEADERBOARD_FILE, read_csv
from .targets import COMPRESSION, TargetKind

_BY_SEED = "_by_seed"
_COLUMNS = ("strategy", "target", "seed", "quality", "dense", "compression", "reached")


@dataclass(frozen=True)
class Trials:
    """The runs of a comparison that finished, by strategy, target and seed.

    ``runs`` has a row for each with the columns ``strategy`` (what tables call it), ``target`` (as
    tables write it), ``seed``, ``quality`` and ``dense`` (the metric by which they are compared, of
    the pruned and of the unpruned network), ``compression`` (achieved, of the whole network) and
    ``reached`` (what :func:`along` says). Where they are ``by_order`` seeds are places in the order
    of seeds, and all but ``quality`` are means over seeds: the CSV of a leaderboard has no more.
    """

    comparison: Comparison
    runs: pd.DataFrame
    by_order: bool = False

    @cached_property
    def strategies(self) -> list[str]:
        """What the strategies are called, in the order of tables."""
        return [name for name, _ in self.comparison.methods()]

    @cached_property
    def targets(self) -> list[str]:
        """The targets as tables write them, ascending."""
        _, rows = self.comparison.methods()[0]
        return [cells.target(row) for _, row in rows.iterrows()]

    def in_order(self) -> Trials:
        """The runs as far as the CSV of their leaderboard would have them."""
        return Trials(self.comparison, _runs_of_rows(self.comparison), by_order=True)

    def table(self, column: str, strategy: str) -> pd.DataFrame:
        """A column of a strategy's runs: seeds down, targets across, NaN where there is no run."""
        own = self.runs[self.runs["strategy"] == strategy]
        wide = own.pivot(index="seed", columns="target", values=column)
        return wide.reindex(columns=self.targets).sort_index()


def along(comparison: Comparison) -> TargetKind:
    """What curves of quality run along: what was asked for if plots show it, else compression.

    Networks of one theoretical speedup may be compressed very differently.
    """
    return comparison.kind if comparison.kind.axis else COMPRESSION


def trials(place: Place, labels: Mapping[str, str]) -> list[Trials]:
    """The runs of each comparison in a place, by its primary metric and those chosen beside it.

    Args:
        place: a folder of runs, a published folder, a file of records, or the CSV of a leaderboard.
        labels: what strategies are to be called, by their name.

    Raises:
        UsageError: there is no such place, it holds no runs, or something in it cannot be read.
    """
    table = _table_in(place)
    outcomes = [] if table else list(gathered([place]))
    frame = _read_table(table) if table else leaderboard(outcomes)
    if frame.empty:
        raise UsageError(f"there are no records in {place}")
    if labels:
        frame = with_labels(frame, labels)
    everything = [each for each in comparisons(frame) if each.quality]
    if not everything:
        raise UsageError(f"no run in {place} has finished")
    if table:
        return [Trials(each, _runs_of_rows(each), by_order=True) for each in everything]
    groups: dict[tuple[Key, TargetKind], list[tuple[Point, Outcome]]] = {}
    for outcome in outcomes:
        point = point_of(outcome.experiment).as_shown()
        groups.setdefault((point.key, point.target.kind), []).append((point, outcome))
    return [Trials(each, _runs_of_records(each, groups[key_of(each)])) for each in everything]


def _table_in(place: Place) -> Place | None:
    """The CSV of a leaderboard in a place that has no records; None where it has."""
    if place.suffix == ".csv":
        return place
    beside = place / LEADERBOARD_FILE
    if not beside.is_file() or file_in(place) or any(Store(place).ids()):
        return None
    return beside


def _read_table(path: Place) -> pd.DataFrame:
    try:
        frame = read_csv(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as the CSV of a leaderboard: {error}") from None
    if not {"strategy", "strategy_source", "quality", "seeds"} <= {*frame.columns}:
        raise UsageError(f"{path} is not the CSV of a leaderboard")
    if not any(str(name).endswith(_BY_SEED) for name in frame.columns):
        raise UsageError(
            f"{path} is of an earlier version and has no values of single seeds: make it again by "
            "'prunebench leaderboard RUNS -o FILE'"
        )
    return frame


def _runs_of_rows(comparison: Comparison) -> pd.DataFrame:
    """The runs as far as rows have them: those that lack a seed do not say which."""
    quality, others = comparison.quality, _measured_beside(comparison)
    return _frame(
        (
            *(name, cells.target(row), seed, value, row[f"{quality}_dense_mean"]),
            *(row[f"{each}_mean"] for each in others),
        )
        for name, rows in comparison.methods()
        for _, row in rows.iterrows()
        if row["seeds"] == comparison.seeds
        for seed, value in enumerate(map(float, str(row[quality + _BY_SEED]).split()))
    )


def _runs_of_records(
    comparison: Comparison, records: Iterable[tuple[Point, Outcome]]
) -> pd.DataFrame:
    called = {point_of_row(rows.iloc[0]).method: name for name, rows in comparison.methods()}
    finished: dict[tuple[str, str, int], Outcome] = {}
    for point, outcome in records:
        if outcome.finished:
            seed = int(outcome.experiment["seed"])
            finished[called[point.method], point.target.written, seed] = outcome
    quality, others = comparison.quality, _measured_beside(comparison)
    return _frame(
        (*place, each.final.get(quality), each.dense.get(quality), *map(each.final.get, others))
        for place, each in finished.items()
    )


def _measured_beside(comparison: Comparison) -> tuple[str, str]:
    """The measurements that the last two columns have."""
    return COMPRESSION.achieved, along(comparison).achieved


def _frame(rows: Iterable[tuple[Any, ...]]) -> pd.DataFrame:
    numbers = dict.fromkeys(("quality", "dense", "compression", "reached"), "float64")
    return pd.DataFrame(rows, columns=_COLUMNS).astype(numbers)


def key_of(comparison: Comparison) -> tuple[Key, TargetKind]:
    """What tells a comparison from all others but those by another metric."""
    return point_of_row(comparison.rows.iloc[0]).key, comparison.kind
