"""Where strategies stand: their rank at each target of a comparison."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from .. import cells
from ..comparison import Comparison
from ..naming import named


@dataclass(frozen=True)
class Standing:
    """A strategy at one target of a comparison.

    Attributes:
        method: the strategy's class; empty where it is a user's own.
        target: how far it was to prune.
        mean: that of its quality over seeds, in its unit; not finite where there is none.
        quality: the same with the standard deviation, and what must be known beside them.
        rank: its place by the mean, equal ones alike; None where there is no mean, or where no two
            of them differ.
        among: how many strategies have a mean.
    """

    method: str
    target: str
    mean: float
    quality: str
    rank: int | None
    among: int


def standings(comparison: Comparison) -> dict[str, list[Standing]]:
    """The standings of each strategy of a comparison, by what it is called, by ascending target."""
    lines = {
        name: [_unranked(comparison, row) for _, row in rows.iterrows()]
        for name, rows in comparison.methods()
    }
    sign = -1 if comparison.metric.higher_is_better else 1
    columns = [_ranked(column, sign) for column in zip(*lines.values(), strict=True)]
    return dict(zip(lines, map(list, zip(*columns, strict=True)), strict=True))


def leaders(found: Mapping[str, Sequence[Standing]]) -> list[tuple[str, list[str], str]]:
    """Each target with the strategies of the best mean there, and its quality; none if no mean."""
    firsts = []
    for column in zip(*found.values(), strict=True):
        first = {
            name: each.quality
            for name, each in zip(found, column, strict=True)
            if math.isfinite(each.mean) and each.rank in (1, None)
        }
        firsts.append((column[0].target, list(first), next(iter(first.values()), "")))
    return firsts


def summary(found: Iterable[Standing]) -> str:
    """At how many points a method was compared with others, and how often it led, in words."""
    compared = [each for each in found if each.rank]
    if not compared:
        return "No published comparison has it beside others yet."
    first = sum(each.rank == 1 for each in compared)
    half = sum(2 * (each.rank or 0) <= each.among + 1 for each in compared)
    points = "1 point" if len(compared) == 1 else f"{len(compared)} points"
    return (
        f"Beside others at {points} of comparisons: first at {first}, in the better half at {half}."
    )


def _unranked(comparison: Comparison, row: pd.Series[Any]) -> Standing:
    mean = row[f"{comparison.quality}_mean"] if row["seeds"] else math.nan
    return Standing(
        method=_class_of(row["strategy"], row["strategy_source"]),
        target=cells.target(row),
        # Rounded as people see it, so that what looks equal has one rank.
        mean=float(cells.number(comparison, mean)) if math.isfinite(mean) else math.nan,
        quality=cells.mean_and_std(comparison, row, "\u202f±\u202f") + cells.marks(row, "\u00a0"),
        rank=None,
        among=0,
    )


def _ranked(column: Sequence[Standing], sign: int) -> list[Standing]:
    """The standings at one target with their ranks; the lowest mean times ``sign`` is first."""
    means = [sign * each.mean for each in column if math.isfinite(each.mean)]
    differ = len(set(means)) > 1
    return [
        replace(
            each,
            rank=1 + sum(mean < sign * each.mean for mean in means)
            if differ and math.isfinite(each.mean)
            else None,
            among=len(means),
        )
        for each in column
    ]


def _class_of(strategy: str, source: object) -> str:
    own = isinstance(source, str) and bool(source)
    return "" if own else named(strategy).partition("(")[0]
