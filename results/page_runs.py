"""What a page shows of single runs: layers, weights, training, machines, and how to run them.

A leaderboard does not hold these; they are read from the records that it was made of. Densities of
layers are means over seeds. Histograms and curves are of the first seed.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import fsum
from typing import Any, NamedTuple

from ruamel.yaml import YAML

from ..errors import printable
from .comparison import Comparison
from .points import Key, Point, point_of, point_of_row
from .record import Distribution, Epoch, Record
from .settings import DEFAULTS, RECIPES
from .targets import TARGET_NAMES, given

MOST_ROWS = 1000
"""Pages of more rows show no single runs: they would take longer to read than to run."""

_MOST_HISTOGRAMS = 600
_BINS = 32
_NO_SETTINGS = ("strategy", *TARGET_NAMES, "seed", "comparison", "sources")
_FOLDER = re.compile(r"(?:[A-Za-z]:)?[~/\\][^'\":,()=]*[/\\](?=[^/\\'\":,()=]+\.\w+)")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


@dataclass
class _Shown:
    """The runs of a strategy at a target."""

    densities: dict[str, list[float]] = field(default_factory=dict)
    weights: dict[str, int] = field(default_factory=dict)
    seed: int | None = None
    distributions: tuple[Distribution, ...] = ()
    history: tuple[Epoch, ...] = ()


class Machine(NamedTuple):
    """Where runs took place: what of the environment, and how many of them."""

    environment: dict[str, str]
    runs: int


class Runs:
    """The records of a leaderboard, as far as its page shows them."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._points: dict[Point, _Shown] = {}
        self._finished: dict[Key, list[_Finished]] = {}
        for record in records:
            if record.finished:
                point = point_of(record.experiment).as_shown()
                _add(self._points.setdefault(point, _Shown()), record)
                self._finished.setdefault(point.key, []).append(_Finished.of(point, record))

    def details(self, comparison: Comparison) -> dict[str, Any]:
        """Layers, histograms and curves of each row of a comparison; empty where there are none.

        Rows are in the order of :func:`.page_chart.chart_data`.
        """
        if not self._points:
            return {}
        rows = [row for _, rows in comparison.methods() for _, row in rows.iterrows()]
        points = [self._points.get(point_of_row(row)) for row in rows]
        known = [point for point in points if point is not None]
        sizes = {name: size for point in known for name, size in point.weights.items()}
        found = {
            **_layers(points, sizes),
            **_histograms(points, sizes),
            **_curves(points, comparison.quality),
        }
        return found and {"quality": comparison.quality, **found}

    def machines(self, comparison: Comparison) -> list[Machine]:
        """The machines and versions on which the runs of a comparison took place."""
        counts = Counter(each.environment for each in self._of(comparison))
        names = dict.fromkeys(name for found in counts for name, _ in found)
        return [
            Machine({**dict.fromkeys(names, ""), **dict(found)}, runs)
            for found, runs in sorted(counts.items())
        ]

    def doubts(self, comparison: Comparison) -> list[str]:
        """Why measured times of a comparison cannot be believed, each with how often."""
        reasons: dict[str, list[float]] = {}
        for each in self._of(comparison):
            for reason in each.doubts:
                numbers = [float(number) for number in _NUMBER.findall(reason)]
                reasons.setdefault(_NUMBER.sub("…", reason), []).append(*numbers[:1] or [0.0])
        return [_doubt(reason, numbers) for reason, numbers in sorted(reasons.items())]

    def yaml(self, comparison: Comparison) -> str:
        """The configuration that runs a comparison again; empty where there are no records."""
        finished = self._of(comparison)
        return _yaml([each.experiment for each in finished]) if finished else ""

    def _of(self, comparison: Comparison) -> list[_Finished]:
        if not self._finished:
            return []
        points = {point_of_row(row) for _, row in comparison.rows.iterrows()}
        key = next(iter(points)).key
        return [each for each in self._finished.get(key, []) if each.point in points]


class _Finished(NamedTuple):
    """What is kept of every finished run."""

    point: Point
    experiment: Mapping[str, Any]
    environment: tuple[tuple[str, str], ...]
    doubts: tuple[str, ...]

    @classmethod
    def of(cls, point: Point, record: Record) -> _Finished:
        shown = {name: value for name, value in record.environment.items() if value is not None}
        reasons = {part for text in record.doubts.values() for part in text.split("; ")}
        return cls(
            point,
            record.experiment,
            tuple((printable(name), printable(str(value))) for name, value in shown.items()),
            tuple(sorted(map(printable, reasons))),
        )


def _add(point: _Shown, record: Record) -> None:
    for layer in record.layers:
        if layer.weight_class or len(layer.shape) > 1:
            point.densities.setdefault(layer.name, []).append(layer.density)
            point.weights[layer.name] = layer.parameters
    seed = int(record.experiment["seed"])
    if point.seed is None or seed < point.seed:
        point.seed, point.distributions = seed, record.distributions
        point.history = record.history


def _layers(points: Sequence[_Shown | None], sizes: Mapping[str, int]) -> dict[str, Any]:
    """The density of each layer of each row."""
    if not sizes:
        return {}
    return {
        "layers": [{"name": printable(name), "weights": size} for name, size in sizes.items()],
        "densities": [
            point and [_mean(point.densities.get(name)) for name in sizes] for point in points
        ],
    }


def _mean(values: list[float] | None) -> float | None:
    # A sum that does not depend on the order of records.
    return float(f"{fsum(values) / len(values):.3g}") if values else None


def _histograms(points: Sequence[_Shown | None], sizes: Mapping[str, int]) -> dict[str, Any]:
    """The histograms of the largest layers of each row, as many as a page can carry."""
    count = sum(point is not None and bool(point.distributions) for point in points)
    most = _MOST_HISTOGRAMS // count if count else 0
    chosen = sorted(sizes, key=lambda name: -sizes[name])[:most]
    pool: dict[tuple[int, ...], int] = {}
    histograms = [
        point
        and {
            printable(each.name): [
                float(f"{each.limit:.4g}"),
                *(
                    pool.setdefault(_merged(counts), len(pool)) if counts else None
                    for counts in (each.dense, each.pruned, each.recovered)
                ),
            ]
            for each in point.distributions
            if each.name in chosen
        }
        for point in points
    ]
    return {"histograms": histograms, "counts": [*pool]} if pool else {}


def _merged(counts: Sequence[int]) -> tuple[int, ...]:
    """Counts in fewer bins."""
    together = max(1, len(counts) // _BINS)
    return tuple(sum(counts[start : start + together]) for start in range(0, len(counts), together))


def _curves(points: Sequence[_Shown | None], quality: str) -> dict[str, Any]:
    """The loss and the quality of each row's epochs; trainings that rows share are there once."""
    pool: dict[tuple[Any, ...], int] = {}
    curves = [
        point and [pool.setdefault(each, len(pool)) for each in _trainings(point.history, quality)]
        for point in points
    ]
    if not pool:
        return {}
    names = ("training", "loss", "quality")
    return {"curves": curves, "trainings": [dict(zip(names, each, strict=True)) for each in pool]}


def _trainings(history: Sequence[Epoch], quality: str) -> Iterable[tuple[Any, ...]]:
    for name in dict.fromkeys(epoch.training for epoch in history):
        epochs = [epoch for epoch in history if epoch.training == name]
        losses = tuple(_short(epoch.loss) for epoch in epochs)
        yield name, losses, tuple(_short(epoch.validation.get(quality)) for epoch in epochs)


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def _doubt(reason: str, numbers: Sequence[float]) -> str:
    """A reason with the smallest and the largest number that stood in it, and how often."""
    low, high = min(numbers), max(numbers)
    between = f"{low:g}" if low == high else f"{low:g}–{high:g}"
    runs = "1 run" if len(numbers) == 1 else f"{len(numbers)} runs"
    return f"{reason.replace('…', between, 1)} ({runs})"


def _yaml(experiments: Sequence[Mapping[str, Any]]) -> str:
    """The settings of experiments that differ in strategy, target and seed alone."""
    first = experiments[0]
    kind = given(first)[0][0]
    strategies = sorted({_portable(each["strategy"]) for each in experiments})
    settings: dict[str, Any] = {
        "dataset": _portable(first["dataset"]),
        "model": _portable(first["model"]),
        "strategy": _single(strategies),
        kind.name: _single(sorted({_round(given(each)[0][1]) for each in experiments})),
        "seed": _single(sorted({each["seed"] for each in experiments})),
    }
    for name, value in first.items():
        if name not in settings and name not in _NO_SETTINGS:
            settings |= _unusual(name, value)
    text = io.StringIO()
    writer = YAML()
    writer.default_flow_style = None
    writer.width = 88
    writer.dump(settings, text)
    return text.getvalue()


def _unusual(name: str, value: Any) -> dict[str, Any]:
    """A setting, as far as it is not at its default."""
    if name in RECIPES:
        return {name: {n: v for n, v in value.items() if v != DEFAULTS.get(f"{name}_{n}")}}
    is_default = value in (None, [], {}) or value == DEFAULTS.get(name)
    return {} if is_default else {name: _portable(value) if isinstance(value, str) else value}


def _portable(component: str) -> str:
    """A component without the folders in which its files are on one machine."""
    return _FOLDER.sub("", component)


def _round(value: float) -> float:
    return int(value) if value == int(value) else value


def _single(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else values
