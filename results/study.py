"""The tables of a study of pruning schemes (See, Luong & Manning 2016), of any network.

Quality against sparsity for each scheme and way of training, the median of each over the sparsities
that all have, and how much of each class of weights a scheme removes.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from ..errors import UsageError
from .layout import AT_INITIALISATION, settings_in_words, way_of_training
from .naming import digest, named, shown, source_of, told_apart
from .points import point_of
from .qualities import TITLE_COLUMNS, described_in, expanded, titles
from .record import Record
from .settings import as_text, columns_of, further_settings
from .statistics import describe
from .targets import TARGETS, given

_LINE_COLUMNS = {
    "dataset": "Data set, as in the experiment.",
    "model": "Network, as in the experiment.",
    "initialisation": "Random weights from which the network began.",
    "pretraining": "How the dense network was trained, in words: only what differs from others of "
    "the table, such as `pretraining epochs 5`.",
    "strategy": "Pruning strategy, as in the leaderboard.",
    "training": "`no retraining`, `retraining`, `sparse from the beginning` (new weights, then "
    "trained), `at initialisation` (pruned before training), or the experiment's recovery.",
    "conditions": "All other settings in words, only what differs: schedule, rounds, recipe, ….",
    "settings": "Hash of all settings but strategy, target and seed, as in the leaderboard: what "
    "differs in it is not averaged.",
}

SCHEME_COLUMNS: dict[str, str] = {
    **_LINE_COLUMNS,
    "target": "How far to prune, as it was asked for: `80 %` or `4×`.",
    "sparsity": "Fraction of zeros among the prunable weights, mean over seeds.",
    "seeds": "Seeds whose run finished: those that the means are over.",
    "<quality>": "Mean over seeds of the quality metric on the test set; empty if it is not finite "
    "for some seed.",
    "<quality>_std": "Sample standard deviation over seeds; empty for one seed.",
    "<quality>_by_seed": "Its value of each seed by ascending seed, with spaces between.",
    "<quality>_dense": "Mean over the same seeds of the unpruned network's value.",
    "<quality>_better": "Whether a `higher` or a `lower` value is better.",
    **TITLE_COLUMNS,
}
"""Column → definition of the table of schemes, in its order."""

MEDIAN_COLUMNS: dict[str, str] = {
    **dict.fromkeys(_LINE_COLUMNS, "As in the table of schemes."),
    "sparsities": "Number of sparsities that the median is over.",
    "targets": "Which these are: those that all schemes of the data set and model have.",
    "<quality>": "Median of the quality metric over these sparsities; empty where there are none.",
    **TITLE_COLUMNS,
}
"""Column → definition of the table of medians, in its order."""

CLASS_COLUMNS: dict[str, str] = {
    **dict.fromkeys(_LINE_COLUMNS, "As in the table of schemes."),
    "training": "As in the table of schemes, but empty where the masks were made at once from the "
    "trained network: how it was trained after that leaves them as they are, and counts as one.",
    "settings": "Hash of those settings on which the masks depend.",
    "target": "As in the table of schemes.",
    "sparsity": "Fraction of zeros among all prunable weights.",
    "weight_class": "Class of weights (See et al. 2016); in a plain network each layer is one.",
    "weights": "Number of weights in the class.",
    "pruned": "Fraction of them that is zero, mean over seeds.",
    "pruned_std": "Sample standard deviation over seeds; empty for one seed.",
}
"""Column → definition of the table of classes, in its order."""

# What comes after the masks, where they are made at once.
_AFTER_MASKS = ("recovery", "finetuning", "finetuned_network")
_NAMED = ("dataset", "model", "strategy")


class _Line(NamedTuple):
    """What tells a line of a figure from others, in the order of the columns."""

    dataset: str
    model: str
    initialisation: str
    pretraining: str
    strategy: str
    training: str
    conditions: str
    settings: str


class _Settings(NamedTuple):
    """The way of training, those settings that count, and a digest that differs where they do."""

    training: str
    settings: Mapping[str, str]
    digest: str


def schemes(records: Iterable[Record]) -> pd.DataFrame:
    """A row for each scheme, way of training, settings and target, over seeds.

    Failed runs are left out, and a record that is there twice counts once.

    Raises:
        UsageError: no run has finished.
    """
    finished = _finished(records)
    if not finished:
        raise UsageError("there is nothing to compare: no run has finished")
    qualities = {name: way for record in finished for name, way in record.quality.items()}
    rows = []
    for line, target, group in _grouped(finished, _lines(finished, _all_settings)):
        row: dict[str, Any] = line._asdict() | {"target": target}
        row["sparsity"] = describe(_values(group, "final", "prunable_sparsity")).mean
        row["seeds"] = len(group)
        for name, better in qualities.items():
            values = _values(group, "final", name)
            found = describe(values)
            row |= {
                name: found.mean,
                f"{name}_std": found.std,
                f"{name}_by_seed": " ".join(f"{value:.6g}" for value in values),
                f"{name}_dense": describe(_values(group, "dense", name)).mean,
                f"{name}_better": better,
            }
        for name, quality in group[0].descriptions().items():
            row |= titles(name, quality)
        rows.append(row)
    described = {name for record in finished for name in record.described}
    return pd.DataFrame(rows)[_expanded(SCHEME_COLUMNS, qualities, described)]


def medians(table: pd.DataFrame) -> pd.DataFrame:
    """The median of each scheme's quality over the targets that all schemes of a network have.

    ``table`` is that of :func:`schemes`.
    """
    qualities, described = qualities_of(table), described_in(table.columns)
    words = expanded(TITLE_COLUMNS, described, described)
    rows = []
    for _, network in table.groupby(["dataset", "model"], sort=False):
        lines = list(network.groupby(list(_LINE_COLUMNS), sort=False, dropna=False))
        common = [
            target
            for target in dict.fromkeys(network["target"])
            if all((line["target"] == target).any() for _, line in lines)
        ]
        for key, line in lines:
            shared = line[line["target"].isin(common)]
            row = dict(zip(_LINE_COLUMNS, key, strict=True))
            row |= {"sparsities": len(common), "targets": ", ".join(common)}
            row |= {name: line[name].iloc[0] for name in words}
            rows.append(row | {name: shared[name].median(skipna=False) for name in qualities})
    return pd.DataFrame(rows)[_expanded(MEDIAN_COLUMNS, qualities, described)]


def classes(records: Iterable[Record]) -> pd.DataFrame:
    """A row for each scheme, target and class of weights: how much of the class is pruned.

    Raises:
        UsageError: no record says of which class its weights are.
    """
    finished = [record for record in _finished(records) if _counts(record)]
    if not finished:
        raise UsageError("no record says of which class its weights are: run the experiment again")
    rows = []
    for line, target, runs in _grouped(finished, _lines(finished, _settings_of_masks)):
        # Runs of one seed that differ in what came after the masks have the same ones.
        group = list({int(run.experiment["seed"]): run for run in runs}.values())
        counts = [_counts(record) for record in group]
        sparsity = describe(_values(group, "final", "prunable_sparsity")).mean
        rows += [
            line._asdict()
            | {"target": target, "sparsity": sparsity, "weight_class": name, "weights": weights}
            | _share(name, counts)
            for name, (weights, _) in counts[0].items()
        ]
    return pd.DataFrame(rows)[list(CLASS_COLUMNS)]


def qualities_of(table: pd.DataFrame) -> list[str]:
    """The quality metrics of a table of schemes, the primary one first."""
    return [name.removesuffix("_dense") for name in table.columns if name.endswith("_dense")]


def _finished(records: Iterable[Record]) -> list[Record]:
    """The finished ones, each once, although folders may share them."""
    return list({record.id: record for record in records if record.finished}.values())


def _lines(records: Sequence[Record], told_by: Callable[[Record], _Settings]) -> dict[str, _Line]:
    """The line to which each record belongs, by the record's id."""
    told = {record.id: told_by(record) for record in records}
    settings: dict[str, dict[str, str]] = {}
    for each in told.values():  # an older record may lack some
        settings[each.digest] = {**each.settings, **settings.get(each.digest, {})}
    training = {each.digest: each.training for each in told.values()}
    words = settings_in_words(settings, training)
    called = {place: told_apart(_version(each, place) for each in records) for place in _NAMED}
    return {
        record.id: _Line(
            **{place: called[place][_version(record, place)] for place in _NAMED},
            initialisation=shown(record.experiment.get("initialisation", "Default")),
            pretraining=words[told[record.id].digest][0],
            training=told[record.id].training,
            conditions=words[told[record.id].digest][1],
            settings=told[record.id].digest,
        )
        for record in records
    }


def _version(record: Record, place: str) -> tuple[str, str]:
    """The name of a component and the digest of its source."""
    return named(record.experiment[place]), source_of(record.experiment, place)


def _all_settings(record: Record) -> _Settings:
    experiment = record.experiment
    settings = columns_of(experiment) | further_settings(experiment)
    for place in _NAMED:  # whose versions their names tell
        settings.pop(f"{place}_source", None)
    texts = {name: "" if value is None else as_text(value) for name, value in settings.items()}
    way = way_of_training(texts["recovery"], texts["start_epoch"])
    return _Settings(way, texts, point_of(experiment).key.settings)


def _settings_of_masks(record: Record) -> _Settings:
    """Without what comes after the masks, where they are made at once."""
    way, everything, _ = _all_settings(record)
    settings = {
        name: value for name, value in everything.items() if name not in ("metrics", "measurements")
    }
    if settings["rounds"] == "1" and settings["timing"] == "BetweenTrainings":
        way = way if way == AT_INITIALISATION else ""
        settings = {
            name: value for name, value in settings.items() if not name.startswith(_AFTER_MASKS)
        }
    canonical = json.dumps([way, settings], sort_keys=True, separators=(",", ":"))
    return _Settings(way, settings, digest(hashlib.sha256(canonical.encode()).hexdigest()[:8]))


def _grouped(
    records: Iterable[Record], lines: Mapping[str, _Line]
) -> list[tuple[_Line, str, list[Record]]]:
    """The records of each line and target by ascending seed, in the order of the table."""
    groups: dict[tuple[_Line, tuple[int, float]], list[Record]] = {}
    for record in records:
        groups.setdefault((lines[record.id], _target(record)), []).append(record)
    return [
        (
            line,
            TARGETS[kind].written(value),
            sorted(group, key=lambda record: int(record.experiment["seed"])),
        )
        for (line, (kind, value)), group in sorted(groups.items())
    ]


def _target(record: Record) -> tuple[int, float]:
    """The kind of a record's target, as its place in ``TARGETS``, and its value."""
    kind, value = given(record.experiment)[0]
    return TARGETS.index(kind), float(value)


def _values(records: Iterable[Record], part: str, name: str) -> list[float]:
    """A measurement of the dense or the final networks of some records; NaN where not finite."""
    found = [getattr(record, part).get(name) for record in records]
    return [math.nan if value is None else float(value) for value in found]


def _share(name: str, counts: Sequence[Mapping[str, tuple[int, int]]]) -> dict[str, float]:
    """How much of a class is pruned, over seeds."""
    found = describe([each[name][1] / each[name][0] for each in counts])
    return {"pruned": found.mean, "pruned_std": found.std}


def _counts(record: Record) -> dict[str, tuple[int, int]]:
    """The number of weights, and of pruned ones, in each class."""
    counts: dict[str, tuple[int, int]] = {}
    for layer in record.layers:
        if layer.weight_class:
            weights, pruned = counts.get(layer.weight_class, (0, 0))
            counts[layer.weight_class] = (
                weights + layer.parameters,
                pruned + layer.parameters - layer.nonzero,
            )
    return counts


def _expanded(
    columns: Iterable[str], qualities: Iterable[str], described: Collection[str]
) -> list[str]:
    """The columns of a table with these quality metrics."""
    plain = [column for column in columns if "<quality>" not in column]
    return plain + expanded([c for c in columns if "<quality>" in c], qualities, described)
