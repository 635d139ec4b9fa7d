"""The standing of strategies: their ranks, as far as seeds can say them, and what they achieve.

Strategies of a comparison are ranked by the mean of quality along log compression (or along log
theoretical speedup, where that was asked for), between the ends that all of them reach, or by
quality itself where there is one target.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median_low
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from . import cells
from .comparison import Comparison
from .statistics.curves import Limit, compression_at_loss, mean_quality
from .statistics.fronts import pareto_front
from .statistics.paired import Test
from .statistics.ranks import Rank, rank_intervals
from .statistics.sample import Statistics, describe
from .statistics.tasks import LEAST_STRATEGIES, LEAST_TASKS, MeanRanks, mean_ranks
from .text_table import text_table
from .trials import Trials, along, key_of

LOSS_AT_MOST = 1.0
"""The loss whose compression is told, in the unit of the metric: points of accuracies."""

_SPAN = 1.01  # what grows by less than that over all targets is no curve


class Cost(NamedTuple):
    """What a network costs: the column of leaderboards, what people call it, and its direction."""

    column: str
    title: str
    higher_is_better: bool = False


COSTS: dict[str, Cost] = {
    "nonzero": Cost("nonzero_mean", "parameters"),
    "flops": Cost("effective_flops_mean", "FLOPs"),
    "bytes": Cost("file_bytes_sparse_mean", "bytes"),
    "speed": Cost("measured_speedup_batch1", "speed", higher_is_better=True),
}
"""What quality may be held against, by name. A measured speedup in doubt has no number."""

STANDING_COLUMNS: dict[str, str] = {
    "comparison": "Network, data set, and what tells the comparison from others.",
    "quality": "Name of the quality metric.",
    "better": "Whether a `higher` or a `lower` value is better.",
    "strategy": "What tables call the strategy.",
    "seeds": "Seeds that have finished at every target.",
    "rank_best": "The best rank that it may have; empty where it could not be ranked.",
    "rank_worst": "The worst rank that it may have: with 95 % all ranks of a comparison are "
    "within these at once.",
    "score": "What it is ranked by: the mean of quality along log compression (area under the "
    "curve, by its width), along log theoretical speedup where the target is that, or quality "
    "where there is one target; mean over seeds.",
    "score_ci95_low": "Lower end of the 95 % Student-t interval of that.",
    "score_ci95_high": "Upper end of the same.",
    "curve_from": "Compression (or speedup) from which on the curve counts; empty for one target.",
    "curve_to": "That up to which it counts.",
    "loss_at_most": "Loss against the unpruned network of the same seed (of the CSV of a "
    "leaderboard against their mean), in the unit of the metric (points of accuracies).",
    "compression_at_loss": "Up to which compression no more is lost: the median over seeds (the "
    "lower one of two). `>` and `<` where the targets end before or begin after that.",
    "compression_at_loss_lowest": "The lowest of all seeds.",
    "compression_at_loss_highest": "The highest of all seeds.",
    "<cost>_front": "Points on the Pareto front of mean quality and this cost among all of the "
    "comparison, of those where both are known.",
}
"""Column → definition, in the order of the table."""


@dataclass(frozen=True)
class RankedStrategy:
    """Where a strategy stands; ``score`` is NaN and ``rank`` None where it could not be ranked.

    ``unranked`` says why it was not, and is empty if it was. ``limits`` are the compressions at the
    allowed loss, seed by seed in ascending order, and ``fronts`` has for each cost how many points
    are on the front, of how many.
    """

    strategy: str
    seeds: int
    score: Statistics
    rank: Rank | None
    limits: tuple[Limit, ...]
    fronts: Mapping[str, tuple[int, int]]
    unranked: str = ""


@dataclass(frozen=True)
class Standing:
    """The strategies of a comparison from the best on, those that could not be ranked last.

    ``ends`` are the compressions, or speedups, between which curves count; None where there is one
    target, or nothing between them. ``of_means`` says that losses are against the mean of unpruned
    networks, at mean compressions, which is all that the CSV of a leaderboard has.
    """

    comparison: Comparison
    places: tuple[RankedStrategy, ...]
    ends: tuple[float, float] | None
    loss_at_most: float
    of_means: bool = False


def standing(
    trials: Trials,
    loss_at_most: float = LOSS_AT_MOST,
    costs: Sequence[str] = tuple(COSTS),
    test: Test = "t",
) -> Standing:
    """Rank the strategies of a comparison.

    Args:
        trials: its runs.
        loss_at_most: in the unit of the metric (points of accuracies), against the unpruned
            network of the same seed.
        costs: those of :data:`COSTS` whose fronts are wanted.
        test: how pairs of strategies are judged.
    """
    ends = _common_ends(trials)
    scores = {name: _scores(trials, name, ends) for name in trials.strategies}
    ranked = [name for name, values in scores.items() if values.notna().any()]
    shared = pd.DataFrame({name: scores[name] for name in ranked})
    higher = trials.comparison.metric.higher_is_better
    samples = [shared[name].tolist() for name in ranked]
    ranks = dict(zip(ranked, rank_intervals(samples, higher, test), strict=True))
    fronts = {cost: _front(trials.comparison, COSTS[cost]) for cost in costs}
    most = loss_at_most / trials.comparison.metric.factor
    places = [
        RankedStrategy(
            strategy=name,
            seeds=int(scores[name].notna().sum()),
            score=describe(scores[name].dropna().tolist()),
            rank=ranks.get(name),
            limits=_limits(trials, name, most),
            fronts={cost: found[name] for cost, found in fronts.items() if found},
            unranked="" if name in ranks else _why_unranked(trials, name),
        )
        for name in trials.strategies
    ]
    sign = -1 if higher else 1
    places.sort(key=lambda place: sign * place.score.mean if place.rank else math.inf)
    counts = len(trials.targets) > 1 and ends[0] < ends[1]
    return Standing(
        trials.comparison, tuple(places), ends if counts else None, loss_at_most, trials.by_order
    )


def standing_table(standings: Sequence[Standing]) -> pd.DataFrame:
    """Standings as a table with the columns of :data:`STANDING_COLUMNS`."""
    rows = [_row(each, place) for each in standings for place in each.places]
    costs = [cost for cost in COSTS if any(f"{cost}_front" in row for row in rows)]
    columns = [name for name in STANDING_COLUMNS if "<cost>" not in name]
    return pd.DataFrame(rows, columns=[*columns, *(f"{cost}_front" for cost in costs)])


def standing_as_text(found: Standing) -> str:
    """A standing as text, with what it leaves open."""
    comparison, metric = found.comparison, found.comparison.metric
    costs = list(found.places[0].fronts)
    score = metric.heading
    if found.ends is not None:
        score = f"mean {metric.title}" + (f" ({metric.unit})" if metric.unit else "")
    headers = ["rank", "strategy", score, f"≤ {_loss(found)} lost"]
    table = text_table(
        [_line(comparison, place) for place in found.places],
        [*headers, *(COSTS[cost].title for cost in costs)],
        "cl" + "r" * (2 + len(costs)),
    )
    heading = cells.wrapped(f"{comparison.title} · {comparison.conditions}")
    return "\n".join([*heading, "", table, "", *_notes(found)])


class Across(NamedTuple):
    """Strategies over several comparisons.

    ``open`` has for each strategy the lowest and the highest mean rank that the seeds leave open:
    the means of the best and the worst ranks that it may have.
    """

    strategies: list[str]
    ranks: MeanRanks
    open: list[tuple[float, float]]


def across(standings: Sequence[Standing]) -> Across | None:
    """The strategies that are ranked in all comparisons, and their mean ranks over these.

    A comparison counts once, by its primary metric, and one in which nothing was ranked does not.
    None where there are fewer than 3 such strategies or 2 comparisons.
    """
    standings = list({key_of(each.comparison): each for each in reversed(standings)}.values())[::-1]
    standings = [each for each in standings if any(place.rank for place in each.places)]
    ranked = [
        {place.strategy: (place.score.mean, place.rank) for place in each.places if place.rank}
        for each in standings
    ]
    if len(ranked) < LEAST_TASKS:
        return None
    names = [name for name in ranked[0] if all(name in each for each in ranked)]
    if len(names) < LEAST_STRATEGIES:
        return None
    scores = np.array([[each[name][0] for name in names] for each in ranked])
    higher = [each.comparison.metric.higher_is_better for each in standings]
    ends = [[each[name][1] for each in ranked] for name in names]
    return Across(
        names,
        mean_ranks(scores, higher),
        [(fmean(r.best for r in each), fmean(r.worst for r in each)) for each in ends],
    )


def across_as_text(found: Across) -> str:
    """Mean ranks as text, from the best on, and what can be told apart."""
    names, ranks = found.strategies, found.ranks
    table = text_table(
        [
            [f"{ranks.means[i]:.2f}", f"{found.open[i][0]:.2f}–{found.open[i][1]:.2f}", names[i]]
            for i in sorted(range(len(names)), key=lambda i: ranks.means[i])
        ],
        ["mean rank", "seeds leave open", "strategy"],
        "rcl",
    )
    notes = _across_notes(names, ranks)
    return "\n".join([f"Over {ranks.tasks} comparisons", "", table, "", *notes])


def _across_notes(names: Sequence[str], ranks: MeanRanks) -> list[str]:
    notes = [
        f"Friedman's test that all are alike: p = {ranks.p:.3g}. Two mean ranks differ for sure if "
        f"by {ranks.critical_difference:.2f} (Nemenyi, 5 %)."
    ]
    if not ranks.can_tell:
        notes.append(
            f"So few comparisons tell nothing apart: {len(names)} strategies are at most "
            f"{len(names) - 1} ranks apart."
        )
    else:
        groups = [", ".join(names[i] for i in group) for group in ranks.groups()]
        notes += [f"Cannot be told apart: {group}" for group in groups]
    return notes


def _common_ends(trials: Trials) -> tuple[float, float]:
    """Between which ends all strategies have a curve, of those that prune more and more."""
    lows, highs = [], []
    for name in trials.strategies:
        complete = _complete(trials, name)
        if _is_curve(complete):
            lows.append(complete.min(axis=1).max())
            highs.append(complete.max(axis=1).min())
    return (float(max(lows)), float(min(highs))) if lows else (math.nan, math.nan)


def _complete(trials: Trials, name: str) -> pd.DataFrame:
    """What those seeds of a strategy reach that have finished at every target."""
    return trials.table("reached", name).dropna()


def _is_curve(reached: pd.DataFrame) -> bool:
    return len(reached) > 0 and bool((reached.max(axis=1) > _SPAN * reached.min(axis=1)).all())


def _why_unranked(trials: Trials, name: str) -> str:
    """What keeps a strategy without a score from having one."""
    complete = _complete(trials, name)
    if complete.empty:
        one = len(trials.targets) == 1
        return "no seed has finished" if one else "no seed has a whole curve"
    if trials.table("quality", name).loc[complete.index].isna().any(axis=1).all():
        return "no seed has a number at every target"
    if not _is_curve(complete):
        return "the targets change nothing that it is compared by"
    return f"there is no {along(trials.comparison).name} that all strategies reach"


def _scores(trials: Trials, name: str, ends: tuple[float, float]) -> pd.Series[Any]:
    """What each seed of a strategy is ranked by; NaN where it cannot be."""
    quality = trials.table("quality", name)
    if len(trials.targets) == 1:
        return quality[trials.targets[0]]
    complete = _complete(trials, name)
    if not _is_curve(complete):
        return pd.Series(math.nan, index=quality.index)
    curves = zip(
        complete.to_numpy().tolist(), quality.loc[complete.index].to_numpy().tolist(), strict=True
    )
    found = [mean_quality(reached, values, *ends) for reached, values in curves]
    return pd.Series(found, index=complete.index, dtype=float).reindex(quality.index)


def _limits(trials: Trials, name: str, most: float) -> tuple[Limit, ...]:
    """Up to which compression each seed of a strategy loses no more than so much."""
    sign = 1 if trials.comparison.metric.higher_is_better else -1
    quality, dense, compression = (
        trials.table(column, name) for column in ("quality", "dense", "compression")
    )
    found = []
    for seed in quality.index:
        there = compression.loc[seed].notna()
        loss = sign * (dense.loc[seed] - quality.loc[seed])
        limit = compression_at_loss(
            compression.loc[seed][there].tolist(), loss[there].tolist(), most + 1e-9
        )
        found += [limit] if limit else []
    return tuple(sorted(found, key=lambda each: (each.order, each.compression)))


def _front(comparison: Comparison, cost: Cost) -> dict[str, tuple[int, int]]:
    """How many points of each strategy are on the front, of how many; nothing if not measured."""
    rows = comparison.rows
    if cost.column not in rows or rows[cost.column].isna().all():
        return {}
    points = rows[[f"{comparison.quality}_mean", cost.column]]
    known = points.notna().all(axis=1)
    on_front = pd.Series(
        pareto_front(
            points.to_numpy(float), [comparison.metric.higher_is_better, cost.higher_is_better]
        ),
        index=rows.index,
    )
    return {
        name: (int(on_front[own.index].sum()), int(known[own.index].sum()))
        for name, own in comparison.methods()
    }


def _row(found: Standing, place: RankedStrategy) -> dict[str, Any]:
    low, high = found.ends or (math.nan, math.nan)
    score, rank = place.score, place.rank
    return {
        "comparison": found.comparison.title,
        "quality": found.comparison.quality,
        "better": found.comparison.metric.better,
        "strategy": place.strategy,
        "seeds": place.seeds,
        "rank_best": rank.best if rank else None,
        "rank_worst": rank.worst if rank else None,
        "score": score.mean,
        "score_ci95_low": score.ci95_low,
        "score_ci95_high": score.ci95_high,
        "curve_from": low,
        "curve_to": high,
        "loss_at_most": found.loss_at_most,
        "compression_at_loss": _median(place.limits),
        "compression_at_loss_lowest": str(place.limits[0]) if place.limits else "",
        "compression_at_loss_highest": str(place.limits[-1]) if place.limits else "",
        **{f"{cost}_front": f"{on} of {of}" for cost, (on, of) in place.fronts.items()},
    }


def _line(comparison: Comparison, place: RankedStrategy) -> list[str]:
    score = "—"
    if place.rank:
        mean, margin = place.score.mean, place.score.ci95_high - place.score.mean
        score = cells.number(comparison, mean)
        if not math.isnan(margin):
            score = " ± ".join(comparison.metric.written_with(mean, margin))
    fronts = [f"{on}/{of}" for on, of in place.fronts.values()]
    rank = str(place.rank) if place.rank else "—"
    return [rank, place.strategy, score, _limit_of_seeds(place.limits), *fronts]


def _limit_of_seeds(limits: Sequence[Limit]) -> str:
    """The median, and the lowest and the highest where they differ."""
    shown = list(dict.fromkeys(map(str, limits)))
    if len(shown) < 2:
        return shown[0] if shown else "—"
    return f"{_median(limits)} ({shown[0]} to {shown[-1]})"


def _median(limits: Sequence[Limit]) -> str:
    """The median of limits in ascending order, of an even number the lower one."""
    return str(limits[median_low(range(len(limits)))]) if limits else ""


def _loss(found: Standing) -> str:
    """The allowed loss with its unit."""
    metric = found.comparison.metric
    points = "point" if found.loss_at_most == 1 else "points"
    return f"{found.loss_at_most:g} {points if metric.is_fraction else metric.unit}".rstrip()


def _notes(found: Standing) -> list[str]:
    notes = []
    if found.ends is not None:
        notes.append(
            f"mean: along log {along(found.comparison).name} from {found.ends[0]:.3g}× to "
            f"{found.ends[1]:.3g}× (area under the curve), ± half of its 95 % interval"
        )
    notes.append("rank: with 95 % all are within these at once")
    if found.of_means:
        notes.append(
            f"≤ {_loss(found)} lost: against the mean unpruned network, at the mean compression: "
            "the CSV of a leaderboard has no others"
        )
    first = found.places[0]
    if len(found.places) > 1 and first.rank and first.rank.worst == len(found.places):
        notes.append("With so few seeds even the first may be the last.")
    for reason in dict.fromkeys(place.unranked for place in found.places if place.unranked):
        names = [place.strategy for place in found.places if place.unranked == reason]
        notes.append(f"not ranked, since {reason}: {', '.join(names)}")
    if first.fronts:
        titles = ", ".join(COSTS[cost].title for cost in first.fronts)
        notes.append(f"{titles}: points on the Pareto front of mean quality and that cost")
    rows = found.comparison.rows
    for cost in first.fronts:
        known = sum(place.fronts[cost][1] for place in found.places)
        if known < len(rows):
            absent = f"{len(rows) - known} of {len(rows)} points are left out"
            notes.append(f"{COSTS[cost].title}: {absent}, where it is not known or in doubt")
    return notes
