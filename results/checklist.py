"""The field's rules of reporting, held against every strategy of a leaderboard.

They are the recommendations and the checklist of Blalock et al. (2020), What is the State of Neural
Network Pruning?, MLSys, as far as a table can keep them, and that speed is measured and not only
counted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from . import cells
from .comparison import Comparison, comparisons, is_magnitude_baseline, is_random_baseline
from .text_table import text_table

LEAST_POINTS = 5
LEAST_SEEDS = 3
"""Seeds that a row needs, for the checklist and as a submission."""

LEAST_TASKS = 3
_DECLINE = 0.01
_NO_DENSE = "the unpruned network was not measured"
_MET, _UNMET = "✓", "✗"


class Check(NamedTuple):
    """Whether the rows of a strategy keep a rule, and a sentence that says why or why not."""

    rule: str
    met: bool
    sentence: str


class _Subject(NamedTuple):
    """A strategy's rows, those of them that have finished seeds, and what is around them.

    ``random`` and ``magnitude`` name the baselines of the comparison, and ``pairs`` the networks on
    data sets on which the strategy was run in the whole leaderboard.
    """

    rows: pd.DataFrame
    finished: pd.DataFrame
    comparison: Comparison
    random: list[str]
    magnitude: list[str]
    pairs: list[str]


def checklists(among: Sequence[Comparison]) -> list[dict[str, list[Check]]]:
    """What each strategy of each comparison keeps of the rules, which are the same for all.

    Args:
        among: the comparisons of a leaderboard, all of them, since one of the rules is that a
            strategy be run on several networks and data sets.
    """
    pairs: dict[str, set[str]] = {}
    for comparison in among:
        for name, rows in comparison.methods():
            if (rows["seeds"] > 0).any():
                pairs.setdefault(name, set()).add(comparison.subject)
    return [_checks(comparison, pairs) for comparison in among]


def _checks(comparison: Comparison, pairs: Mapping[str, set[str]]) -> dict[str, list[Check]]:
    asked = ["seeds", "seeds_failed", "seeds_missing"]  # none of a row that was not chosen
    methods = [(name, rows[rows[asked].any(axis=1)]) for name, rows in comparison.methods()]
    random = _baselines(methods, is_random_baseline)
    magnitude = _baselines(methods, is_magnitude_baseline)
    subjects = {
        name: _Subject(
            rows,
            rows[rows["seeds"] > 0],
            comparison,
            random,
            magnitude,
            sorted(pairs.get(name, ())),
        )
        for name, rows in methods
    }
    return {
        name: [Check(rule, *check(subject)) for rule, check in _RULES.items()]
        for name, subject in subjects.items()
    }


def _baselines(
    methods: Sequence[tuple[str, pd.DataFrame]], is_one: Callable[[str, object], bool]
) -> list[str]:
    """Those strategies of a kind that have finished at every point at which any has."""
    return [
        name
        for name, rows in methods
        if is_one(str(rows["strategy"].iloc[0]), rows["strategy_source"].iloc[0])
        and (rows["seeds"] > 0).all()
    ]


def checklist_as_text(frame: pd.DataFrame) -> str:
    """A leaderboard's checklist: strategies down, rules across, and below what is not met."""
    among = comparisons(frame)
    return "\n\n".join(
        _section(comparison, found)
        for comparison, found in zip(among, checklists(among), strict=True)
    )


def _section(comparison: Comparison, found: dict[str, list[Check]]) -> str:
    numbers = {rule: str(place) for place, rule in enumerate(_RULES, 1)}
    table = text_table(
        [[name, *(_MET if c.met else _UNMET for c in checks)] for name, checks in found.items()],
        ["strategy", *numbers.values()],
        "l" + "c" * len(numbers),
    )
    heading = cells.wrapped(f"Checklist: {comparison.title} · {comparison.conditions}")
    return "\n".join([*heading, "", table, "", *_legend(found, numbers)])


def _legend(found: dict[str, list[Check]], numbers: dict[str, str]) -> list[str]:
    """Every rule by its number, and why strategies do not keep it."""
    lines = []
    for rule, number in numbers.items():
        lines.append(f"{number:>2} {rule}")
        unmet: dict[str, list[str]] = {}
        for name, checks in found.items():
            for check in checks:
                if check.rule == rule and not check.met:
                    unmet.setdefault(check.sentence, []).append(name)
        for sentence, names in unmet.items():
            who = "" if len(names) == len(found) else f"{', '.join(names)}: "
            lines.append(f"   {_UNMET} {who}{sentence}")
    return lines


def _operating_points(subject: _Subject) -> tuple[bool, str]:
    targets = [cells.target(row) for _, row in subject.finished.iterrows()]
    span = f": {targets[0]} to {targets[-1]}" if len(targets) > 1 else ""
    points = "1 point" if len(targets) == 1 else f"{len(targets)} points"
    return len(targets) >= LEAST_POINTS, points + span


def _declines(subject: _Subject) -> tuple[bool, str]:
    """Whether quality is worse somewhere than the dense network's by a hundredth of it."""
    quality = subject.comparison.quality
    if not quality or subject.finished.empty:
        return False, "no run finished"
    metric, dense = subject.comparison.metric, subject.comparison.dense
    values = subject.finished[f"{quality}_mean"]
    worst = float(values.min() if metric.higher_is_better else values.max())
    loss = (dense - worst) * (1 if metric.higher_is_better else -1)
    sentence = f"at worst {cells.number(subject.comparison, worst)}, unpruned "
    sentence += cells.number(subject.comparison, dense)
    return loss >= _DECLINE * abs(dense), sentence


def _seeds(subject: _Subject) -> tuple[bool, str]:
    fewest = int(subject.rows["seeds"].min())
    absent = int(subject.rows[["seeds_failed", "seeds_missing"]].to_numpy().sum())
    sentence = f"{cells.count(fewest)} at every point"
    if absent:
        runs = "1 run is" if absent == 1 else f"{absent} runs are"
        sentence = f"{cells.count(fewest)} at some point, and {runs} missing or failed"
    return fewest >= LEAST_SEEDS and not absent, sentence


def _size_and_cost(subject: _Subject) -> tuple[bool, str]:
    columns = {"compression_mean": "compression", "theoretical_speedup_mean": "theoretical speedup"}
    lacking = [name for column, name in columns.items() if not _is_known(subject, column)]
    return not lacking, f"no {' and no '.join(lacking)}" if lacking else "both at every point"


def _is_known(subject: _Subject, column: str) -> bool:
    rows = subject.finished
    return column in rows and not rows.empty and bool(rows[column].notna().all())


def _measured_speed(subject: _Subject) -> tuple[bool, str]:
    """Whether a speedup was measured, beside a control, that can be believed at every point."""
    speedups = [
        (str(name), f"latency_batch{found[1]}_control")
        for name in subject.rows.columns
        if (found := re.fullmatch(r"measured_speedup_batch(\d+)(_shrunk)?", str(name)))
    ]
    known = [control for name, control in speedups if _is_known(subject, name)]
    if any(_is_known(subject, control) for control in known):
        return True, "measured at every point"
    if known:
        return False, "measured without a control"
    doubts = [f"{name}_doubt" for name, _ in speedups if f"{name}_doubt" in subject.finished]
    in_doubt = subject.finished[doubts].notna().to_numpy().any()
    return False, "measured, but no verdict at some point" if in_doubt else "not measured"


def _random(subject: _Subject) -> tuple[bool, str]:
    return _beside(subject.random, "random")


def _magnitude(subject: _Subject) -> tuple[bool, str]:
    return _beside(subject.magnitude, "magnitude")


def _beside(baselines: list[str], what: str) -> tuple[bool, str]:
    return bool(baselines), ", ".join(baselines) or f"no {what} pruning at all points"


def _dense(subject: _Subject) -> tuple[bool, str]:
    column = f"{subject.comparison.quality}_dense_mean"
    if not _is_known(subject, column):
        return False, _NO_DENSE
    return True, f"unpruned {cells.number(subject.comparison, subject.comparison.dense)}"


def _same_dense(subject: _Subject) -> tuple[bool, str]:
    """Whether its complete rows come from dense networks as good as those of most others.

    Of a row with fewer seeds the mean is another one, which says nothing.
    """
    column = f"{subject.comparison.quality}_dense_mean"
    if not _is_known(subject, column):
        return False, _NO_DENSE
    complete, usual = (
        rows.loc[rows["seeds"] == subject.comparison.seeds, column]
        for rows in (subject.finished, subject.comparison.rows)
    )
    if not complete.isin(usual.mode()[:1]).all():
        return False, "its unpruned networks are not those of the other strategies"
    return True, "the same for all strategies, seed by seed"


def _budget(subject: _Subject) -> tuple[bool, str]:
    """Always so: what differs in rounds or recipes stands in another comparison."""
    recipes = subject.comparison.recipes()
    words = [f"{name} {recipe.partition(',')[0]}" for name, recipe in recipes.items()]
    return True, f"one recipe for all: {', '.join(words)}"


def _hyperparameters(subject: _Subject) -> tuple[bool, str]:
    row = subject.rows.iloc[0]
    _, _, given = str(row["strategy"]).partition("(")
    sentence = f"given: {given.removesuffix(')')}" if given else "all at their defaults, not tuned"
    source = row["strategy_source"]
    return True, sentence if pd.isna(source) or not source else f"{sentence}; own code, {source}"


def _tasks(subject: _Subject) -> tuple[bool, str]:
    return len(subject.pairs) >= LEAST_TASKS, ", ".join(subject.pairs) or "no run finished"


_RULES: dict[str, Callable[[_Subject], tuple[bool, str]]] = {
    f"at least {LEAST_POINTS} operating points": _operating_points,
    "as far as quality declines by at least 1 %": _declines,
    f"at least {LEAST_SEEDS} seeds everywhere, with their spread": _seeds,
    "both compression and theoretical speedup": _size_and_cost,
    "a measured speedup with a verdict": _measured_speed,
    "beside random pruning": _random,
    "beside magnitude pruning": _magnitude,
    "beside the unpruned network": _dense,
    "from the same unpruned network as all others": _same_dense,
    "with the same budget of steps as all others": _budget,
    "with its hyperparameters said": _hyperparameters,
    f"at least {LEAST_TASKS} pairs of network and data set": _tasks,
}
