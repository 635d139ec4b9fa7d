"""What tells the lines of a figure apart: which differences make panels, colours, kinds of lines.

Results differ in the fields of :data:`FIELDS`. A layout puts each field in one place, so that no
two results can share a panel, a colour and a kind of line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields

import pandas as pd

from ..errors import UsageError
from ..quality import Quality
from .charts import UNPRUNED, Line, Panel, Quantity
from .scales import LINEAR, LOGARITHMIC, LOGIT_PERCENT, Scale
from .settings import phrase

FIELDS: dict[str, str] = {
    "dataset": "data set",
    "model": "network",
    "initialisation": "random weights from which the dense network began",
    "pretraining": "how the dense network was trained, where that differs",
    "strategy": "pruning strategy",
    "training": "what follows the pruning",
    "conditions": "all other settings that differ",
}
"""Name → what differs in it."""

_OF_THE_DENSE_NETWORK = ("dataset", "model", "initialisation", "pretraining")
_SHARED_BY_DENSE = ("pretraining", "device", "threads", "model_source", "dataset_source")
_OF_THE_TRAINING = ("recovery", "start_epoch", "finetun")
_MOST_NAMED_MODELS = 3
AT_INITIALISATION = "at initialisation"
_TRAINING = {
    "NoRecovery": "no retraining",
    "FineTune": "retraining",
    "Reinitialise": "sparse from the beginning",
}


@dataclass(frozen=True)
class Layout:
    """The fields that make panels, colours and kinds of lines; each field is in one of them."""

    panel: tuple[str, ...]
    colour: tuple[str, ...]
    line: tuple[str, ...]

    def with_moved(self, **chosen: Sequence[str] | None) -> Layout:
        """The layout with some fields moved to other places, the rest where they are.

        ``chosen`` has ``panel``, ``colour`` and ``line``, each with its fields or None.

        Raises:
            UsageError: a field does not exist, or is to be in two places.
        """
        moved: dict[str, str] = {}
        for place, names in chosen.items():
            for name in names or ():
                if name not in FIELDS:
                    raise UsageError(
                        f"--{place}: {name!r} is not allowed: choose among {', '.join(FIELDS)}"
                    )
                if name in moved:
                    raise UsageError(
                        f"--{place}: {name!r} is not allowed: it is given for --{moved[name]} too"
                    )
                moved[name] = place
        return Layout(
            **{
                field.name: tuple(
                    name
                    for name in (*(chosen.get(field.name) or ()), *getattr(self, field.name))
                    if moved.get(name, field.name) == field.name
                )
                for field in fields(self)
            }
        )


@dataclass(frozen=True)
class Result:
    """The results of one method under one set of conditions, at some targets.

    ``differences`` has a text for each field. What differs in ``kind`` never shares a panel.
    ``points`` are those of :class:`.charts.Line`, ``dense`` the dense network's quality over
    ``seeds`` seeds, and ``heading`` is the title, and the conditions, of a panel that has all of
    its results from one comparison.
    """

    differences: Mapping[str, str]
    kind: str
    quality: Quality
    points: pd.DataFrame
    dense: float
    seeds: int
    is_baseline: bool = False
    heading: tuple[str, str] = ("", "")


def values_of_seeds(text: object) -> list[float]:
    """The values in a column of values by seed; none where there is nothing."""
    return [float(value) for value in text.split()] if isinstance(text, str) else []


def arrange(results: Sequence[Result], layout: Layout, x: Quantity) -> list[Panel]:
    """The panels of a figure of some results."""
    varying = {
        field for field in FIELDS if len({result.differences[field] for result in results}) > 1
    }
    groups: dict[tuple[str, ...], list[Result]] = {}
    for result in results:
        key = (result.kind, *(result.differences[field] for field in layout.panel))
        groups.setdefault(key, []).append(result)
    return [_panel(group, layout, varying, x) for group in groups.values()]


def _panel(group: list[Result], layout: Layout, varying: set[str], x: Quantity) -> Panel:
    telling = [f for f in _OF_THE_DENSE_NETWORK if f in varying and f not in layout.panel]
    lines = tuple(
        Line(
            colour=_words(result, layout.colour, varying)
            or _words(result, layout.colour[:1])
            or "pruned network",
            dash=_words(result, layout.line, varying),
            unpruned=_words(result, telling) or UNPRUNED,
            points=result.points,
            is_baseline=result.is_baseline and "strategy" in layout.colour,
        )
        for result in group
    )
    dense: dict[str, float] = {}
    for line, result in sorted(
        zip(lines, group, strict=True), key=lambda pair: pair[1].seeds, reverse=True
    ):
        dense.setdefault(line.unpruned, result.dense)
    dense = {line.unpruned: dense[line.unpruned] for line in lines}  # in the order of the lines
    quality = group[0].quality
    title, conditions = _heading(group, layout, varying)
    return Panel(
        title=title,
        conditions=conditions,
        lines=lines,
        dense=dense,
        x=x,
        quality=Quantity(quality.heading, _scale(quality, [*_means(lines), *dense.values()])),
        higher_is_better=quality.higher_is_better,
    )


def _means(lines: Iterable[Line]) -> list[float]:
    return [value for line in lines for value in line.points["mean"]]


def _scale(quality: Quality, values: Sequence[float]) -> Scale:
    """A logit scale for fractions, a logarithmic one for what grows as networks get worse."""
    if quality.is_fraction:
        return LOGIT_PERCENT
    if quality.higher_is_better:
        return LINEAR
    return LINEAR if any(value <= 0 for value in values) else LOGARITHMIC


def _words(result: Result, places: Sequence[str], varying: Iterable[str] = FIELDS) -> str:
    """The texts of some fields, those that vary, as one."""
    texts = [result.differences[field] for field in places if field in varying]
    return ", ".join(text for text in texts if text)


def _heading(group: list[Result], layout: Layout, varying: set[str]) -> tuple[str, str]:
    """The networks and data sets of a panel, and what else its results have in common."""
    headings = {result.heading for result in group}
    if len(headings) == 1 and ("", "") not in headings:
        return headings.pop()

    def listed(field: str, kind: str) -> str:
        names = list(dict.fromkeys(result.differences[field] for result in group))
        many = len(names) > _MOST_NAMED_MODELS
        return f"{len(names)} {kind}" if many else " and ".join(names)

    shared = [result.heading[1].split(" · ") for result in group]
    named = [f for f in layout.panel if f in varying and f not in ("dataset", "model")]
    parts = [part for part in shared[0] if all(part in other for other in shared)]
    texts = ((field, group[0].differences[field]) for field in named)
    parts += [f"initialisation {text}" if f == "initialisation" else text for f, text in texts]
    title = f"{listed('model', 'networks')} on {listed('dataset', 'data sets')}"
    return title, " · ".join(filter(None, dict.fromkeys(parts)))


def way_of_training(recovery: str, start_epoch: str) -> str:
    """What follows the pruning, in words, or the recovery as it is written.

    ``start_epoch`` is empty where the whole of pretraining came first.
    """
    return AT_INITIALISATION if start_epoch == "0" else _TRAINING.get(recovery, recovery)


def settings_in_words(
    settings: Mapping[str, Mapping[str, str]], training: Mapping[str, str]
) -> dict[str, tuple[str, str]]:
    """What tells settings apart, in words: of the dense network's training, and of all else.

    ``settings`` has by their digest the settings by column, empty or left out where they are at
    their default, and ``training`` the way of training, of which details are told only where others
    have it in common. What is a field of its own has no words. Settings that have the same words
    are told apart by their digest.
    """
    columns = dict.fromkeys(name for own in settings.values() for name in own)
    words = {}
    for digest, own in settings.items():
        alike = [other for key, other in settings.items() if training[key] == training[digest]]
        dense: list[str] = []
        rest: list[str] = []
        for name in columns:
            others = alike if name.startswith(_OF_THE_TRAINING) else settings.values()
            value = own.get(name, "")
            if name in FIELDS or all(other.get(name, "") == value for other in others):
                continue
            of_dense = name.startswith(_SHARED_BY_DENSE)
            (dense if of_dense else rest).append(phrase(name, value))
        words[digest] = (", ".join(dense), ", ".join(rest))
    keys = {
        digest: (both, training[digest], settings[digest].get("initialisation"))
        for digest, both in words.items()
    }
    alone = {digest for digest, key in keys.items() if list(keys.values()).count(key) == 1}
    return {
        digest: (dense, rest)
        if digest in alone
        else (dense, ", ".join(filter(None, (rest, f"settings {digest}"))))
        for digest, (dense, rest) in words.items()
    }
