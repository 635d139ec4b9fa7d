"""Two strategies, or two runs of the same ones, compared target by target on the same seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd

from ..errors import UsageError, suggestion
from ..quality import Quality
from .comparison import Comparison
from .naming import named
from .statistics.bootstrap import LEAST_VALUES
from .statistics.paired import LEVEL, MOST_EXACT, Paired, Test, compare, holm, least_p
from .text_table import text_table
from .trials import Trials, key_of

FIRST, SECOND = "A", "B"

COMPARE_COLUMNS: dict[str, str] = {
    "comparison": "Network, data set, and what tells the comparison from others.",
    "quality": "Name of the quality metric.",
    "better": "Whether a `higher` or a `lower` value is better.",
    "a": "What is compared: the strategy.",
    "b": "What it is compared to.",
    "target": "How far to prune, as it was asked for.",
    "a_mean": "Mean of the quality metric over the seeds that both have.",
    "b_mean": "The same of b.",
    "pairs": "Seeds that both have finished.",
    "difference": "Mean over these of b minus a.",
    "difference_ci95_low": "Lower end of its 95 % interval: Student's for the test `t`, that of "
    "the studentised bootstrap for `sign-flip`, which needs 5 pairs. Empty where all differences "
    "are equal, which say nothing of their spread.",
    "difference_ci95_high": "Upper end of the same.",
    "p": "Probability of so large a difference by chance, two-sided.",
    "p_adjusted": "The same with Holm's correction over all rows of the table.",
    "effect_size": "Mean difference in standard deviations of differences (d_z, without the bias "
    "of small samples): how clear it is from seed to seed, not how large. Empty below three pairs.",
    "b_better": "Seeds in which b is better.",
    "a_better": "Seeds in which a is better.",
    "verdict": "What can be concluded, in words.",
}
"""Column → definition, in the order of the table."""


class Contrast(NamedTuple):
    """What is compared: a strategy's or two strategies' results at a target.

    ``title`` says of what network and data, of both where they are two, and ``by_order`` that seeds
    of two runs were paired by their order.
    """

    comparison: Comparison
    a: str
    b: str
    target: str
    a_mean: float
    b_mean: float
    found: Paired
    title: str
    by_order: bool


def strategies_compared(found: Sequence[Trials], a: str, b: str, test: Test) -> list[Contrast]:
    """Two strategies in each comparison that has both.

    Args:
        found: the comparisons.
        a: what the first is called, or its name with arguments.
        b: the second.
        test: how pairs are judged.

    Raises:
        UsageError: no comparison has both.
    """
    contrasts = []
    for trials in found:
        names = _named(trials, a), _named(trials, b)
        if names[0] and names[1]:
            contrasts += _contrasts(trials, names[0], trials, names[1], test)
    if not contrasts:
        known = {name for trials in found for name in trials.strategies}
        missing = [text for text in (a, b) if not any(_named(each, text) for each in found)]
        if missing:
            raise UsageError(
                f"{missing[0]!r} is none of the strategies here: {suggestion(missing[0], known)}"
            )
        raise UsageError(f"{a!r} and {b!r} are in no comparison together")
    return contrasts


def runs_compared(first: Sequence[Trials], second: Sequence[Trials], test: Test) -> list[Contrast]:
    """The strategies that two runs share, at the targets that both have.

    Comparisons of equal settings belong together; of the others those that are the only ones of
    their network and data set in both, or else the only ones by their metric and kind of target.
    Where one of them is a CSV, which has no numbers of seeds, both are paired by their order.

    Raises:
        UsageError: the runs have nothing in common.
    """
    contrasts = []
    for one, other in _matched(first, second):
        if one.by_order or other.by_order:
            one, other = one.in_order(), other.in_order()
        for name in one.strategies:
            if name in other.strategies:
                contrasts += _contrasts(one, name, other, name, test)
    if not contrasts:
        raise UsageError(
            "the two runs have nothing in common: no strategy, target and metric that is in both"
        )
    return contrasts


def compare_table(found: Sequence[Contrast]) -> pd.DataFrame:
    """Contrasts as a table with the columns of :data:`COMPARE_COLUMNS`."""
    adjusted = holm([each.found.p for each in found])
    return pd.DataFrame(
        [_row(each, p) for each, p in zip(found, adjusted, strict=True)],
        columns=list(COMPARE_COLUMNS),
    )


def compare_as_text(found: Sequence[Contrast], names: tuple[str, str], test: Test) -> str:
    """Contrasts as text: a table for each comparison, and what can be concluded at all.

    Args:
        found: the contrasts.
        names: what is compared, in words.
        test: how pairs were judged.
    """
    adjusted = holm([each.found.p for each in found])
    sections: dict[tuple[str, str], list[tuple[Contrast, float]]] = {}
    for each, p in zip(found, adjusted, strict=True):
        key = each.title, each.comparison.metric.heading
        sections.setdefault(key, []).append((each, p))
    parts = [f"{FIRST} = {names[0]}\n{SECOND} = {names[1]}"]
    parts += [_section(title, metric, rows) for (title, metric), rows in sections.items()]
    return "\n\n".join([*parts, "\n".join(_notes(found, test))])


def verdict(found: Paired, p: float, metric: Quality) -> str:
    """What can be concluded from the differences of pairs, B minus A, in words.

    Args:
        found: the differences.
        p: theirs, with a correction for all that was looked at beside them.
        metric: what the values are.
    """
    if found.pairs == 0:
        return "no seed with a number in both"
    if found.is_equal:
        return "the same numbers"
    if found.pairs == 1:
        return "one pair says nothing about chance"
    if p <= LEVEL:
        winner = SECOND if (found.difference > 0) == metric.higher_is_better else FIRST
        size = metric.written(abs(found.difference))
        if not math.isnan(found.low):
            size = " ± ".join(metric.written_with(abs(found.difference), found.half_width))
        return f"{winner} better by {size}{_unit(metric)}"
    if math.isnan(found.low):
        return f"{_counted(found.pairs)} cannot show p < {least_p(found.pairs):.3g}"
    sure = "not sure among so many rows" if found.low * found.high > 0 else "cannot be told apart"
    return f"{sure}: {_range(found, metric)}"


def _range(found: Paired, metric: Quality) -> str:
    """What the difference may be, said of B."""
    low, high = (found.low, found.high) if metric.higher_is_better else (-found.high, -found.low)
    sizes = _alike(metric, (abs(low), abs(high)))
    if low > 0:
        return f"{SECOND} {sizes[0]} to {sizes[1]} better"
    if high < 0:
        return f"{SECOND} {sizes[1]} to {sizes[0]} worse"
    return f"{SECOND} {sizes[0]} worse to {sizes[1]} better"


def _alike(metric: Quality, values: Sequence[float]) -> list[str]:
    """Numbers to as many places after the point, those of the largest."""
    largest = max(values, key=abs)
    return [metric.written_with(largest, value)[1] for value in values]


def _unit(metric: Quality) -> str:
    return " points" if metric.is_fraction else f" {metric.unit}".rstrip()


def _counted(pairs: int) -> str:
    words = {2: "two", 3: "three", 4: "four", 5: "five"}
    return f"{words.get(pairs, pairs)} pairs"


def _contrasts(one: Trials, first: str, other: Trials, second: str, test: Test) -> list[Contrast]:
    """A contrast for each target that both have, over the seeds that both have."""
    a, b = one.table("quality", first), other.table("quality", second)
    seeds = a.index.intersection(b.index)
    title, by_order = one.comparison.title, one is not other and one.by_order
    if other.comparison.subject != one.comparison.subject:
        title = f"{FIRST}: {title}, {SECOND}: {other.comparison.title}"
    found = []
    for target in [each for each in a.columns if each in b.columns]:
        values = pd.DataFrame({"a": a[target].loc[seeds], "b": b[target].loc[seeds]}).dropna()
        paired = compare(values["a"].tolist(), values["b"].tolist(), test)
        means = float(values["a"].mean()), float(values["b"].mean())
        contrast = Contrast(
            one.comparison, first, second, str(target), *means, paired, title, by_order
        )
        found.append(contrast)
    return found


def _matched(first: Sequence[Trials], second: Sequence[Trials]) -> list[tuple[Trials, Trials]]:
    """The comparisons of two runs that belong together, the most alike first."""
    pairs: list[tuple[Trials, Trials]] = []
    left, right = list(first), list(second)
    for likeness in (_settings, _network, _metric):
        for key in [likeness(each) for each in left]:
            mine = [each for each in left if likeness(each) == key]
            theirs = [each for each in right if likeness(each) == key]
            if len(mine) == len(theirs) == 1:
                pairs.append((mine[0], theirs[0]))
                left.remove(mine[0])
                right.remove(theirs[0])
    return pairs


def _settings(trials: Trials) -> tuple[object, ...]:
    return (*key_of(trials.comparison), trials.comparison.quality)


def _network(trials: Trials) -> tuple[object, ...]:
    return (trials.comparison.subject, *_metric(trials))


def _metric(trials: Trials) -> tuple[object, ...]:
    """The kind of target and the metric."""
    return trials.comparison.kind, trials.comparison.quality


def _named(trials: Trials, text: str) -> str:
    """What tables call the strategy that a text means; empty where there is none."""
    names = {str(rows["strategy"].iloc[0]): name for name, rows in trials.comparison.methods()}
    return text if text in trials.strategies else names.get(named(text), "")


def _row(contrast: Contrast, p: float) -> dict[str, Any]:
    found, metric = contrast.found, contrast.comparison.metric
    wins = (found.above, found.below) if metric.higher_is_better else (found.below, found.above)
    return {
        "comparison": contrast.title,
        "quality": contrast.comparison.quality,
        "better": metric.better,
        "a": contrast.a,
        "b": contrast.b,
        "target": contrast.target,
        "a_mean": contrast.a_mean,
        "b_mean": contrast.b_mean,
        "pairs": found.pairs,
        "difference": found.difference,
        "difference_ci95_low": found.low,
        "difference_ci95_high": found.high,
        "p": found.p,
        "p_adjusted": p,
        "effect_size": found.effect_size,
        "b_better": wins[0],
        "a_better": wins[1],
        "verdict": verdict(found, p, metric),
    }


def _section(title: str, metric: str, rows: Sequence[tuple[Contrast, float]]) -> str:
    """The table of a comparison, with a column of strategies where there are several."""
    several = len({contrast.a for contrast, _ in rows}) > 1
    lines = [_line(contrast, p, several) for contrast, p in rows]
    headers = ["target", FIRST, SECOND, f"{SECOND} − {FIRST}", "p", "d_z", "verdict"]
    if several:
        headers = ["strategy", *headers]
    table = text_table(lines, headers, "l" * several + "r" * 6 + "l")
    return f"{title}: {metric}\n\n{table}"


def _line(contrast: Contrast, p: float, several: bool) -> list[str]:
    found, metric = contrast.found, contrast.comparison.metric
    values = (contrast.a_mean, contrast.b_mean)
    written = zip(values, _alike(metric, values), strict=True)
    means = ["—" if math.isnan(value) else text for value, text in written]
    effect = _signed(found.effect_size, f"{abs(found.effect_size):.1f}")
    difference = _signed(found.difference, metric.written(abs(found.difference)))
    line = [contrast.target, *means, difference, _probability(p), effect]
    return [*([contrast.a] if several else []), *line, verdict(found, p, metric)]


def _signed(value: float, size: str) -> str:
    """A value with its sign, given its size as it is written; what is written as zero has none."""
    if math.isnan(value):
        return "—"
    return size if float(size) == 0 else f"{'+' if value > 0 else '−'}{size}"


def _probability(p: float) -> str:
    if math.isnan(p):
        return "—"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _notes(found: Sequence[Contrast], test: Test) -> list[str]:
    """What the numbers are, and what so few seeds cannot show."""
    tests = "1 row" if len(found) == 1 else f"{len(found)} rows"
    fewest = min((each.found.pairs for each in found if each.found.pairs > 1), default=0)
    notes = []
    if any(each.by_order for each in found):
        notes.append(
            "Seeds are paired by their order: the CSV of a leaderboard does not say which they are."
        )
    if test == "t":
        notes.append(f"p: paired t-test, Holm's correction over {tests}; ±: 95 % of Student's t")
        if fewest and least_p(fewest) > LEVEL:
            notes.append(
                f"Both take differences for normally distributed: without that, {_counted(fewest)} "
                f"cannot show p < {least_p(fewest):.3g}."
            )
    else:
        exact = "exact " if all(each.found.pairs <= MOST_EXACT for each in found) else ""
        notes.append(
            f"p: {exact}sign-flip test, Holm's correction over {tests}; ±: 95 % of the bootstrap-t"
        )
        if fewest < LEAST_VALUES:
            notes.append(f"There is no such interval of fewer than {LEAST_VALUES} pairs.")
    notes.append(
        "d_z: mean difference in standard deviations of differences; its clarity, not size"
    )
    return notes
