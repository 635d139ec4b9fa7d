"""A comparison as people look at it: what one table or one panel of a plot shows of the frame."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pandas as pd

from ..quality import Quality
from .columns import FLOAT_FORMAT, further_columns
from .naming import named, printable_texts, told_apart
from .points import Key
from .qualities import compared_beside, quality_in
from .settings import RECIPE_COLUMNS, RECIPES, as_text, in_words, phrase
from .targets import TARGETS, TargetKind

_RANDOM_BASELINES = frozenset({"Random", "LayerRandom", "StructuredRandom"})
_MAGNITUDE_BASELINES = frozenset({"GlobalMagnitude", "LayerMagnitude", "StructuredL1"})

# Settings with columns in every table that headings pass over in silence where they are as always.
_USUAL = {
    "finetuned_network": "masked",
    "timing": "BetweenTrainings",
    "initialisation": "Default",
    "start_epoch": "",
}

# Further settings that headings pass over in silence unless they tell comparisons apart.
_SILENT = ("metrics", "measurements")

# Recoveries after which the fine-tuning recipe is not used.
_WITHOUT_FINE_TUNING = ("NoRecovery", "RewindLearningRate")


@dataclass(frozen=True)
class Comparison:
    """The rows of a leaderboard with one data set, model and settings, never empty.

    They are judged by the quality metric in their column ``quality``. ``different`` names the
    columns that tell them from the leaderboard's other comparisons of the network and data set.
    """

    rows: pd.DataFrame
    different: tuple[str, ...] = ()

    @cached_property
    def title(self) -> str:
        """The network and the data set, and what tells this comparison from others of them."""
        return " · ".join(filter(None, [self.subject, self.differences]))

    @property
    def differences(self) -> str:
        """What tells this comparison from others of the network and data set, in words."""
        return " · ".join(map(self._phrase, self.different))

    def without_target(self) -> Comparison:
        """The same, not told from a comparison that has another kind of target."""
        return self._without(_TARGET)

    def judged_by(self, quality: str, better: str) -> Comparison:
        """The same, judged by another quality metric, which asked nothing of the dense network."""
        rows = self.rows.assign(**{"quality": quality, "better": better, _LEAST: None})
        return replace(self._without(_LEAST), rows=rows)

    def _without(self, column: str) -> Comparison:
        return replace(self, different=tuple(n for n in self.different if n != column))

    @property
    def subject(self) -> str:
        """The network and the data set."""
        return f"{self._common('model')} on {self._common('dataset')}"

    @property
    def conditions(self) -> str:
        """Rounds, schedule, recovery, recipes, what is unusual, and the digest of all settings.

        What the title says is left out.
        """
        once = self._common("rounds") == "1"
        columns = ["rounds", *([] if once else ["schedule"]), "recovery", *self._unusual()]
        parts = [self._phrase(name) for name in columns if name not in self.different]
        parts += [f"{name} {words}" for name, words in self.recipes().items()]
        if self._common(_LEAST) and _LEAST not in self.different:
            parts.append(self._phrase(_LEAST))
        return " · ".join([*parts, *([] if "settings" in self.different else [self._digest])])

    def recipes(self) -> dict[str, str]:
        """How the networks were pretrained and fine-tuned, in words, as far as they were.

        What the title says is left out.
        """
        recipes = {name: self._recipe(name) for name in RECIPES if self._uses(name)}
        before, after = recipes.get("pretraining", {}), recipes.get("finetuning", {})
        if "optimizer" in after and before.keys() == after.keys():
            other = {n: part for n, part in after.items() if n == "epochs" or part != before[n]}
            if len(other) < len(after):
                recipes["finetuning"] = {**other, "rest": "else the same"}
        words = {
            in_words(name): ", ".join(filter(None, parts.values()))
            for name, parts in recipes.items()
        }
        return {name: each for name, each in words.items() if each}

    def unusual(self) -> dict[str, str]:
        """Those of the less usual settings that are not as always, in words."""
        return {in_words(name): self._common(name) for name in self._unusual()}

    @cached_property
    def kind(self) -> TargetKind:
        """The kind of its targets."""
        column = _kinds(self.rows).iloc[0]
        return next(kind for kind in TARGETS if kind.column == column)

    @cached_property
    def quality(self) -> str:
        """The name of the primary quality metric; empty if no run finished."""
        return self._common("quality")

    @cached_property
    def metric(self) -> Quality:
        """What the primary quality metric is."""
        return quality_in(self.rows.iloc[0], self.quality, self._common("better"))

    @cached_property
    def dense(self) -> float:
        """The unpruned network's quality, from the row with the most finished seeds."""
        row = int(self.rows["seeds"].to_numpy().argmax())
        return float(self.rows[f"{self.quality}_dense_mean"].iloc[row])

    @property
    def least_dense(self) -> str:
        """What the unpruned network had to reach on the validation split; empty if nothing."""
        if not self._common(_LEAST):
            return ""
        least = self.metric.factor * float(self._common(_LEAST))
        value = f"{least:.4g} {self.metric.unit}".rstrip()
        return f"{'≥' if self.metric.higher_is_better else '≤'} {value} in validation"

    @cached_property
    def seeds(self) -> int:
        """How many seeds a complete row has."""
        counts = self.rows[["seeds", "seeds_failed", "seeds_missing"]].sum(axis="columns")
        return int(counts.max())

    def methods(self) -> list[tuple[str, pd.DataFrame]]:
        """What each strategy is called, and its rows by ascending target.

        Where versions of one strategy differ in their source file, the names say which.
        """
        names = self.rows["label"] if "label" in self.rows else self.rows["strategy"].map(named)
        versions = self.rows.groupby([names, "strategy_source"], sort=False, dropna=False)
        groups = {(str(name), _text(source)): rows for (name, source), rows in versions}
        called = told_apart(groups)
        return [(called[version], rows) for version, rows in groups.items()]

    @property
    def _digest(self) -> str:
        return self._phrase("settings")

    def _unusual(self) -> list[str]:
        """The less usual settings that are not as always, but for those of recipes and sources."""
        further = [
            name
            for name in further_columns(self.rows.columns)
            if not name.startswith(RECIPES) and not name.endswith("_source")
        ]
        return [
            name
            for name in (*_USUAL, *further)
            if name not in _SILENT and self._common(name) not in ("", _USUAL.get(name))
        ]

    def _uses(self, recipe: str) -> bool:
        """Whether the networks are trained by a recipe, as far as the table can say it."""
        recovery = self._common("recovery").partition("(")[0]
        return recipe == "pretraining" or recovery not in _WITHOUT_FINE_TUNING

    def _recipe(self, recipe: str) -> dict[str, str]:
        """The settings of a recipe that the title does not say, each in words."""
        if self._common(f"{recipe}_epochs") == "0":
            return {"epochs": "none"}
        columns = [name for name, (of, _) in RECIPE_COLUMNS.items() if of == recipe]
        columns += [c for c in further_columns(self.rows.columns) if c.startswith(f"{recipe}_")]
        values = {name: self._common(name) for name in columns if name not in self.different}
        names = {name: name.removeprefix(f"{recipe}_") for name in values}
        return {
            names[column]: _in_recipe(names[column], value)
            for column, value in values.items()
            if value
        }

    def _phrase(self, column: str) -> str:
        """A setting and its value, in words."""
        value = self._common(column)
        if column == _TARGET:
            return f"targets of {in_words(self.kind.name)}"
        if column == _LEAST:
            return f"dense networks {self.least_dense or 'of any quality'}"
        return phrase(column, value)

    def _common(self, column: str) -> str:
        """A cell that all rows share, empty where an older file has no such column."""
        if column == _TARGET:
            return self.kind.name
        return _text(self.rows[column].iloc[0]) if column in self.rows else ""

    def settings(self) -> dict[str, str]:
        """The settings of which headings speak, by column: what may tell comparisons apart."""
        columns = ("rounds", "schedule", "recovery", *_USUAL, *RECIPE_COLUMNS)
        unused = tuple(name for name in RECIPES if not self._uses(name))
        return {
            name: self._common(name)
            for name in (*columns, *further_columns(self.rows.columns), _LEAST, _TARGET)
            if not (unused and name.startswith(unused))
            and not (name == "schedule" and self._common("rounds") == "1")
        }


_LEAST = "least_dense_quality"
_TARGET = "target"
"""Stands for the kind of target, which is no column: each kind has one."""


def is_random_baseline(strategy: str, source: object = "") -> bool:
    """Whether a strategy is one of ours that prune at random, whatever its structure.

    ``source`` is the digest of the file of a user's own strategy, which is none of them.
    """
    return strategy.partition("(")[0] in _RANDOM_BASELINES and not _text(source)


def is_magnitude_baseline(strategy: str, source: object = "") -> bool:
    """Whether a strategy is one of ours that prune by magnitude alone, whatever its structure.

    ``source`` is as for :func:`is_random_baseline`.
    """
    return strategy.partition("(")[0] in _MAGNITUDE_BASELINES and not _text(source)


def comparisons(frame: pd.DataFrame) -> list[Comparison]:
    """The comparisons of a leaderboard, in its order; the frame may come from a CSV file.

    Targets of different kinds have no points in common, and make different comparisons. Rows that
    have a metric of quality that was chosen beside the task's own, such as BLEU, are a comparison
    once more by that.
    """
    frame = _as_read_back(printable_texts(frame))
    keys = [name for name in Key._fields if name in frame]
    groups = frame.groupby([*keys, _kinds(frame)], sort=False, dropna=False)
    found = []
    for comparison in _told_apart([Comparison(_completed(rows)) for _, rows in groups]):
        rows = comparison.rows
        found.append(comparison)
        for name in compared_beside(comparison.quality, rows.iloc[0]):
            # Without the dense network's value it is some other number of that name.
            if f"{name}_dense_mean" in rows and rows[f"{name}_mean"].notna().any():
                found.append(comparison.judged_by(name, quality_in(rows.iloc[0], name).better))
    return found


def _completed(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of a comparison by strategy, in the order in which these come, and then by target.

    Those that are not there, since a part of the table was chosen, are there without numbers.
    """
    target = _kinds(rows).iloc[0]
    names = [name for name in ("strategy", "strategy_source", "label") if name in rows]
    place = rows.groupby(names, sort=False, dropna=False).ngroup()
    keyed = rows.assign(_place=place).sort_values(["_place", target], kind="stable")
    methods = keyed[[*names, "_place"]].drop_duplicates()
    grid = methods.merge(keyed[[target]].drop_duplicates(), how="cross")
    if len(grid) == len(rows):
        return keyed.drop(columns="_place")
    known = set(zip(keyed["_place"], keyed[target], strict=True))
    absent = grid[[key not in known for key in zip(grid["_place"], grid[target], strict=True)]]
    shared = [name for name in rows if name not in absent and not _is_measured(rows, str(name))]
    absent = absent.assign(
        **{str(name): rows[name].iloc[0] for name in shared},
        **{str(name): 0 for name in rows if str(name).startswith("seeds")},
    )
    full = pd.concat([keyed, absent], ignore_index=True)
    return full.sort_values(["_place", target], kind="stable").drop(columns="_place")


def _is_measured(rows: pd.DataFrame, column: str) -> bool:
    """Whether a column has what came out of a row's runs, and not what all rows share."""
    described = ("quality", "better", _LEAST)
    is_setting = column in rows.columns[: list(rows.columns).index("settings") + 1]
    return not (
        is_setting or column in described or column.endswith(("_title", "_unit", "_better"))
    )


def _as_read_back(frame: pd.DataFrame) -> pd.DataFrame:
    """The numbers that a CSV file of the table gives back, so that both are rounded alike.

    Values of single seeds are texts, also where a file has one seed and pandas reads a number.
    """
    of_seeds = [name for name in frame if str(name).endswith("_by_seed")]
    numbers = frame.drop(columns=of_seeds).select_dtypes("float")
    read = {name: numbers[name].map(lambda v: float(FLOAT_FORMAT % v)) for name in numbers}
    read |= {name: frame[name].map(str, na_action="ignore") for name in of_seeds}
    return frame.assign(**{str(name): column for name, column in read.items()}).copy()


def _told_apart(found: Sequence[Comparison]) -> list[Comparison]:
    """Each comparison with what tells it from others of the same network and data set."""
    settings = [each.settings() for each in found]
    values: dict[tuple[str, str], set[str]] = {}
    for each, own in zip(found, settings, strict=True):
        for name, value in own.items():
            values.setdefault((each.subject, name), set()).add(value)
    told = [
        replace(each, different=tuple(n for n in own if len(values[each.subject, n]) > 1))
        for each, own in zip(found, settings, strict=True)
    ]
    titles = Counter(comparison.title for comparison in told)
    return [
        replace(each, different=(*each.different, "settings")) if titles[each.title] > 1 else each
        for each in told
    ]


def _in_recipe(setting: str, value: str) -> str:
    """A setting of a recipe and its value, in words."""
    if setting == "epochs":
        return "1 epoch" if value == "1" else f"{value} epochs"
    return value if setting == "optimizer" else f"{in_words(setting)} {value}"


def _kinds(frame: pd.DataFrame) -> pd.Series[Any]:
    """The column of each row's target."""
    targets = [name for name in frame.columns if name.startswith("target_")]
    return frame[targets].notna().idxmax(axis="columns") if len(frame) else pd.Series(dtype=str)


def _text(value: object) -> str:
    """A cell as text; pandas reads an empty one from CSV as NaN."""
    return "" if pd.isna(value) else as_text(value)  # type: ignore[call-overload]
