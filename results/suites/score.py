"""The score of a suite: curves of each task summed up, and ranks over all tasks.

What a method is ranked by in a task is its area: the mean level along log compression, from the
first operating point to the last, of each seed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...errors import UsageError
from ..statistics.curves import Limit, compression_at_loss, mean_quality
from ..statistics.fronts import hypervolume
from ..statistics.rank_bootstrap import BootstrapRanks, bootstrap_ranks, power
from ..statistics.ranks import Rank
from ..statistics.tasks import performance_profile
from .levels import BITS, INT8, NARROWER, ScoredTask

POINT = 0.01
"""A point: a hundredth of what a dense network knows."""

_AVERAGED = ("area", "hypervolume", "hypervolume_speedup", "against_int8")
_SURELY = 0.8
_DRAWS = 20
_DIFFERENCES = tuple(POINT * each for each in (0.25, 0.5, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32))

METHOD_COLUMNS: dict[str, str] = {
    "rank_best": "The best rank that the method may have over all tasks.",
    "rank_worst": "The worst; methods that cannot be told apart have ranks in common.",
    "method": "What tables call the method.",
    "mean_rank": "Mean over tasks of the rank by area.",
    "mean_rank_low": "Lower end of its 95 % interval, a bootstrap over seeds × tasks.",
    "mean_rank_high": "Upper end of the same.",
    "area": "Mean over tasks and seeds of the mean level along log compression.",
    "hypervolume": "Area that the points dominate in level and log compression, by its width.",
    "hypervolume_speedup": "The same in level and log theoretical speedup.",
    "against_int8": "Mean over tasks of the column of the table of tasks of that name.",
    "within_a_point": "Share of tasks whose best area is at most one point better.",
    "epochs": "Epochs that a seed trained after pruning, over all tasks and operating points.",
    "scoring_epochs": "Time that its scoring took, in epochs of that training.",
    "failed": "Cells that failed or that the method cannot prune so; they count as the worst.",
    "collapsed": "Cells that collapsed; they count as the worst.",
    "short": "Cells that fell short of their operating point; they count as the worst.",
}
"""Column → definition of the table of methods."""

TASK_COLUMNS: dict[str, str] = {
    "task": "Name of the task.",
    "method": "What tables call the method.",
    "area": "Mean over seeds of the mean level along log compression.",
    "area_std": "Its sample standard deviation.",
    "compression_at_loss": "Up to which compression no more is lost than the task allows: the "
    "median over seeds (the lower one of two), with `<` and `>` beyond the operating points.",
    "hypervolume": "Area that the points dominate in level and log compression, by its width.",
    "hypervolume_speedup": "The same in level and log theoretical speedup.",
    "against_int8": "Mean over seeds of the level at as many bytes as the dense network takes, "
    "trained as long, whose weights are rounded to 8 bits, minus the level of that. Zeros take "
    "a bit each. Between operating points it is read off along log compression, and beyond the "
    "last one it is empty.",
}
"""Column → definition of the table of tasks and methods."""


@dataclass(frozen=True)
class Score:
    """What a suite comes to.

    Attributes:
        tasks: their names.
        seeds: of each task.
        methods: those that are complete, from the best on.
        areas: tasks × methods × seeds.
        ranks: of the methods.
        by_task: a table with the columns of :data:`TASK_COLUMNS`.
        by_method: a table with the columns of :data:`METHOD_COLUMNS`.
        incomplete: methods of which cells have not been run, and how many.
        runs: the single runs, with the columns of :data:`.levels.RUN_COLUMNS`.
    """

    tasks: tuple[str, ...]
    seeds: int
    methods: tuple[str, ...]
    areas: NDArray[Any]
    ranks: BootstrapRanks
    by_task: pd.DataFrame
    by_method: pd.DataFrame
    incomplete: dict[str, int]
    runs: pd.DataFrame

    def places(self) -> list[Rank]:
        """The ranks that the methods may have."""
        return self.ranks.places()

    def profile(self, gaps: NDArray[Any]) -> NDArray[Any]:
        """In which share of tasks each method is so near to the best: methods × gaps."""
        return performance_profile(self.areas.mean(axis=2), gaps)

    @cached_property
    def smallest_detectable(self) -> float:
        """The smallest difference in area that this suite would have told in 80 % of cases.

        Infinite where it is larger than 32 points. It is one of :data:`_DIFFERENCES`.
        """
        found = (each for each in _DIFFERENCES if self.power(each, _DRAWS) >= _SURELY)
        return next(found, math.inf)

    def power(self, difference: float, draws: int) -> float:
        """How often methods that differ by so much are told apart; see :func:`.power`."""
        return power(self.areas, difference, draws)


def score(tasks: Sequence[ScoredTask], runs: pd.DataFrame) -> Score:
    """Score the runs of a suite (:func:`.levels`).

    Raises:
        UsageError: fewer than two methods are complete.
    """
    wanted = sum(len(task.points) * len(task.seeds) for task in tasks)
    counts = runs[runs["method"] != INT8].groupby("method", sort=False).size()
    incomplete = {str(name): wanted - int(n) for name, n in counts.items() if n < wanted}
    names = [str(name) for name in counts.index if name not in incomplete]
    if len(names) < 2:
        missing = ", ".join(f"{name} ({n})" for name, n in incomplete.items())
        raise UsageError(
            f"fewer than two methods are complete, so that none can be ranked; cells that are "
            f"missing: {missing or 'all'}"
        )
    areas = np.stack([_areas(task, runs, names) for task in tasks])
    order = np.argsort(bootstrap_ranks(areas).means, kind="stable")
    names, areas = [names[place] for place in order], areas[:, order]
    ranks = bootstrap_ranks(areas)
    by_task = pd.DataFrame(
        [_task_row(task, runs, name) for task in tasks for name in names],
        columns=list(TASK_COLUMNS),
    )
    by_task = by_task.assign(area=areas.mean(axis=2).ravel(), area_std=areas.std(2, ddof=1).ravel())
    near = performance_profile(areas.mean(axis=2), np.array([POINT]))[:, 0]
    rows = [
        _method_row(name, place, ranks, float(near[place]), by_task, runs)
        for place, name in enumerate(names)
    ]
    by_method = pd.DataFrame(rows, columns=list(METHOD_COLUMNS))
    return Score(
        tasks=tuple(task.name for task in tasks),
        seeds=areas.shape[2],
        methods=tuple(names),
        areas=areas,
        ranks=ranks,
        by_task=by_task,
        by_method=by_method,
        incomplete=incomplete,
        runs=runs,
    )


def mean_area(tasks: Sequence[ScoredTask], runs: pd.DataFrame, name: str) -> float:
    """The mean area of a method over tasks and seeds; −1 where runs are missing."""
    wanted = sum(len(task.points) * len(task.seeds) for task in tasks)
    if (runs["method"] == name).sum() < wanted:
        return -1.0
    return float(np.mean([_areas(task, runs, [name]) for task in tasks]))


def _areas(task: ScoredTask, runs: pd.DataFrame, names: Sequence[str]) -> NDArray[Any]:
    """The areas of methods in a task: methods × seeds."""
    return np.array(
        [
            [area(task.points, curve["level"].tolist()) for curve in _curves(task, runs, name)]
            for name in names
        ]
    )


def _curves(task: ScoredTask, runs: pd.DataFrame, name: str) -> list[pd.DataFrame]:
    """The points of a method in a task, by seed, in ascending order."""
    own = runs[(runs["task"] == task.name) & (runs["method"] == name)]
    return [own[own["seed"] == seed].sort_values("point") for seed in task.seeds]


def area(points: Sequence[float], levels: Sequence[float]) -> float:
    """The mean level along log compression, or the level where there is one point."""
    return levels[0] if len(points) == 1 else mean_quality(points, levels, points[0], points[-1])


def _task_row(task: ScoredTask, runs: pd.DataFrame, name: str) -> dict[str, Any]:
    curves = _curves(task, runs, name)
    limits = sorted((_limit(task, each) for each in curves), key=lambda limit: limit.order)
    return {
        "task": task.name,
        "method": name,
        "compression_at_loss": str(limits[(len(limits) - 1) // 2]),
        "hypervolume": np.mean([_volume(each["point"], each, task) for each in curves]),
        "hypervolume_speedup": np.mean([_volume(each["speedup"], each, task) for each in curves]),
        "against_int8": np.mean([_against_int8(task, runs, each) for each in curves]),
    }


def _against_int8(task: ScoredTask, runs: pd.DataFrame, curve: pd.DataFrame) -> float:
    """How much higher a seed's level is than that of 8 bits, at as many bytes."""
    rivals = runs[(runs["task"] == task.name) & (runs["method"] == INT8)]
    rival = rivals[rivals["seed"] == curve["seed"].iloc[0]]
    point = float(rival["point"].iloc[0]) if len(rival) else math.inf
    if curve["method"].iloc[0] == NARROWER:
        point = 1 / (1 / point + 1 / BITS)  # a network without zeros needs no bits for them
    if point > task.points[-1] or rival.empty:
        return math.nan
    places, levels = np.log([1.0, *curve["point"]]), [1.0, *curve["level"]]
    own = np.interp(math.log(point), places, levels)
    return float(own - rival["level"].iloc[0])


def _limit(task: ScoredTask, curve: pd.DataFrame) -> Limit:
    """Up to which compression a seed loses no more than the task allows."""
    losses = curve["loss"].where(curve["state"] == "ok", math.inf).tolist()
    limit = compression_at_loss(curve["point"].tolist(), losses, task.loss_at_most + 1e-9)
    assert limit is not None  # a curve has a point
    return limit


def _volume(places: pd.Series[Any], curve: pd.DataFrame, task: ScoredTask) -> float:
    """The hypervolume of a seed over the logarithms of places, up to the last operating point."""
    logarithms = np.log(places.fillna(1).clip(lower=1))
    heights = curve["level"].clip(upper=1)
    return hypervolume(
        [(0.0, 1.0), *zip(logarithms, heights, strict=True)], math.log(task.points[-1])
    )


def _method_row(
    name: str,
    place: int,
    ranks: BootstrapRanks,
    near: float,
    by_task: pd.DataFrame,
    runs: pd.DataFrame,
) -> dict[str, Any]:
    own, states = by_task[by_task["method"] == name], runs[runs["method"] == name]
    seeds = states["seed"].nunique()
    counts = states["state"].value_counts()
    return {
        "rank_best": ranks.places()[place].best,
        "rank_worst": ranks.places()[place].worst,
        "method": name,
        "mean_rank": ranks.means[place],
        "mean_rank_low": ranks.low[place],
        "mean_rank_high": ranks.high[place],
        **{each: own[each].mean() for each in _AVERAGED},
        "within_a_point": near,
        "epochs": states["epochs"].sum() / seeds,
        "scoring_epochs": states["scoring_epochs"].sum() / seeds,
        **{state: int(counts.get(state, 0)) for state in ("failed", "collapsed", "short")},
    }
