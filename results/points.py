"""Which row of the leaderboard a run belongs to, told by its experiment or by the row itself.

Tables show texts and numbers in another form than records have them. :meth:`Point.as_shown` gives
that form, in which a run and its row are told to belong together.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd

from ..errors import printable
from .columns import FLOAT_FORMAT
from .naming import digest, named, source_of
from .targets import TARGET_NAMES, TARGETS, TargetKind, given

_PLACES = {kind.name: place for place, kind in enumerate(TARGETS)}
_NOT_SETTINGS = frozenset({"dataset", "model", "strategy", *TARGET_NAMES, "seed"})


class Key(NamedTuple):
    """What makes runs comparable, in columns of the leaderboard; digests as tables have them."""

    dataset: str
    model: str
    settings: str
    dataset_source: str
    model_source: str


class Method(NamedTuple):
    """A strategy as it was when it ran, in columns of the leaderboard."""

    strategy: str
    strategy_source: str


class Target(NamedTuple):
    """How far to prune: the place of the kind in :data:`.targets.TARGETS`, and the value."""

    place: int
    value: float

    @property
    def kind(self) -> TargetKind:
        """What is counted."""
        return TARGETS[self.place]

    @property
    def written(self) -> str:
        """The target as it stands in tables."""
        return self.kind.written(self.value)


class Point(NamedTuple):
    """What the runs of a row have in common over its seeds; points sort as rows do."""

    key: Key
    method: Method
    target: Target

    def as_shown(self) -> Point:
        """The point as the rows of :func:`.comparison.comparisons` have it."""
        return Point(
            Key(*map(printable, self.key)),
            Method(*map(printable, self.method)),
            self.target._replace(value=float(FLOAT_FORMAT % self.target.value)),
        )


def point_of(experiment: Mapping[str, Any]) -> Point:
    """The point to which an experiment, that of a record, belongs."""
    kind, value = given(experiment)[0]
    return Point(
        Key(
            named(experiment["dataset"]),
            named(experiment["model"]),
            digest(_settings(experiment)),
            digest(source_of(experiment, "dataset")),
            digest(source_of(experiment, "model")),
        ),
        Method(named(experiment["strategy"]), digest(source_of(experiment, "strategy"))),
        Target(_PLACES[kind.name], value),
    )


def point_of_row(row: pd.Series[Any]) -> Point:
    """The point, as it is shown, of a row; columns that its table lacks count as empty."""
    given_here = (pd.notna(row.get(kind.column)) for kind in TARGETS)
    place = list(given_here).index(True)
    return Point(
        Key(*(_text(row.get(name)) for name in Key._fields)),
        Method(*(_text(row.get(name)) for name in Method._fields)),
        Target(place, float(row[TARGETS[place].column])),
    ).as_shown()


def _text(value: object) -> str:
    """A cell as text; pandas reads an empty one from CSV as NaN."""
    return value if isinstance(value, str) else ""


def _settings(experiment: Mapping[str, Any]) -> str:
    """Eight hexadecimal digits that differ as soon as anything but the row's own key differs.

    A record says them itself, so that they stay the same when a later version adds a setting. They
    are computed for the first records, which do not.
    """
    if "comparison" in experiment:
        return str(experiment["comparison"])
    settings = {name: value for name, value in experiment.items() if name not in _NOT_SETTINGS}
    sources = settings.get("sources", {})
    settings["sources"] = {name: sources[name] for name in sources if name != "strategy"}
    canonical = json.dumps(settings, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:8]
