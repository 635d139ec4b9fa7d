"""The tables and figures of a study of pruning schemes (See, Luong & Manning 2016), of any network.

Quality against sparsity for each scheme and way of training, the median of each over all
sparsities, and how much of each class of weights a scheme removes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import cycle
from pathlib import Path
from textwrap import fill
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.style import context as style_context

from ..errors import UsageError
from .comparison import QUALITY_TITLES
from .leaderboard import comparable
from .naming import named, shown, told_apart
from .plots import COLOURS, DOTS_PER_INCH, FAINT_INK, INK, LINE, MARKERS, literal, save_png, style
from .record import TARGETS, Record

SCHEME_COLUMNS: dict[str, str] = {
    "dataset": "Data set, as in the experiment.",
    "model": "Network, as in the experiment.",
    "strategy": "Pruning strategy, as in the leaderboard.",
    "training": "`no retraining`, `retraining`, `sparse from the beginning` (new weights, then "
    "trained), `at initialisation` (pruned before training), or the experiment's recovery.",
    "initialisation": "Random weights from which the network began.",
    "settings": "Hash of all settings but strategy, target and seed, as in the leaderboard: what "
    "differs in it is not averaged.",
    "sparsity": "Fraction of zeros among the prunable weights.",
    "seeds": "Seeds whose run finished: those that the means are over.",
    "<quality>": "Mean over seeds of the quality metric on the test set.",
    "<quality>_std": "Sample standard deviation over seeds; empty for one seed.",
    "<quality>_dense": "The same of the unpruned network.",
}
"""Column → definition of the table of schemes, in its order."""

MEDIAN_COLUMNS: dict[str, str] = {
    "dataset": "As in the table of schemes.",
    "model": "As in the table of schemes.",
    "strategy": "As in the table of schemes.",
    "training": "As in the table of schemes.",
    "initialisation": "As in the table of schemes.",
    "settings": "As in the table of schemes.",
    "sparsities": "Number of sparsities that the median is over.",
    "<quality>": "Median of the quality metric over sparsities.",
}
"""Column → definition of the table of medians, in its order."""

CLASS_COLUMNS: dict[str, str] = {
    "dataset": "As in the table of schemes.",
    "model": "As in the table of schemes.",
    "strategy": "As in the table of schemes.",
    "initialisation": "As in the table of schemes.",
    "sparsity": "Fraction of zeros among all prunable weights.",
    "weight_class": "Class of weights (See et al. 2016); in a plain network each layer is one.",
    "weights": "Number of weights in the class.",
    "pruned": "Fraction of them that is zero, mean over seeds.",
}
"""Column → definition of the table of classes, in its order."""

_SCHEME = ["dataset", "model", "strategy", "training", "initialisation", "settings"]
_TRAINING = {
    "NoRecovery": "no retraining",
    "FineTune": "retraining",
    "Reinitialise": "sparse from the beginning",
}
_LINES = ("-", "--", ":", "-.")
_PANEL_INCHES = (5.8, 4.4)
_TITLE_CHARACTERS = 60
_LABEL_CHARACTERS = 56
_BAR_WIDTH = 8.0
_BAR_INCHES = 0.42


def schemes(records: Iterable[Record]) -> pd.DataFrame:
    """A row for each strategy, way of training and sparsity, over seeds; failed runs are left out.

    Raises:
        UsageError: no run has finished.
    """
    rows = []
    qualities: dict[str, None] = {}
    records = list(records)
    called = _called(records)
    for record in records:
        if not record.finished:
            continue
        qualities |= dict.fromkeys(record.quality)
        rows.append(
            _identity(record.experiment, called)
            | {"training": _training(record.experiment)}
            | {"settings": comparable(record.experiment).settings}
            | {"target": _target(record.experiment)}
            | {"sparsity": record.final["prunable_sparsity"]}
            | {name: record.final.get(name) for name in record.quality}
            | {f"{name}_dense": record.dense.get(name) for name in record.quality}
        )
    if not rows:
        raise UsageError("there is nothing to compare: no run has finished")
    keys = [*_SCHEME, "target"]
    groups = pd.DataFrame(rows).groupby(keys)
    table = groups.mean()
    table["seeds"] = groups.size()
    for name in qualities:
        table[f"{name}_std"] = groups[name].std()
    return table.reset_index()[_expanded(SCHEME_COLUMNS, qualities)]


def medians(table: pd.DataFrame) -> pd.DataFrame:
    """The median over sparsities of each scheme's quality, of the table of :func:`schemes`."""
    qualities = qualities_of(table)
    groups = table.groupby(_SCHEME, sort=False)
    middle = groups[qualities].median()
    middle["sparsities"] = groups.size()
    return middle.reset_index()[_expanded(MEDIAN_COLUMNS, qualities)]


def classes(records: Iterable[Record]) -> pd.DataFrame:
    """A row for each strategy, sparsity and class of weights: how much of the class is pruned.

    How a network was trained after pruning leaves that as it is, but for methods that prune while
    it trains, so that all ways of training count as one.
    """
    rows = []
    records = list(records)
    called = _called(records)
    for record in records:
        counts: dict[str, list[int]] = {}
        for layer in record.layers:
            if layer.weight_class:
                count = counts.setdefault(layer.weight_class, [0, 0])
                count[0] += layer.parameters
                count[1] += layer.parameters - layer.nonzero
        rows += [
            _identity(record.experiment, called)
            | {"target": _target(record.experiment)}
            | {"sparsity": record.final["prunable_sparsity"]}
            | {"weight_class": name, "weights": weights, "pruned": zeros / weights}
            for name, (weights, zeros) in counts.items()
        ]
    if not rows:
        raise UsageError("no record says of which class its weights are: run the experiment again")
    keys = ["dataset", "model", "strategy", "initialisation", "target", "weight_class"]
    order = list(dict.fromkeys(row["weight_class"] for row in rows))
    table = pd.DataFrame(rows).groupby(keys).mean().reset_index()
    table["weights"] = table["weights"].astype(int)
    place = table["weight_class"].map(order.index)
    table = table.assign(place=place).sort_values([*keys[:-1], "place"], kind="stable")
    return table[list(CLASS_COLUMNS)].reset_index(drop=True)


def qualities_of(table: pd.DataFrame) -> list[str]:
    """The quality metrics of a table of schemes, the primary one first."""
    return [name.removesuffix("_dense") for name in table.columns if name.endswith("_dense")]


def plot_schemes(table: pd.DataFrame, path: str | Path) -> None:
    """Write a PNG of quality against sparsity, a panel for each network and quality metric.

    That is the task's primary one, and one that was chosen beside it. Colours are strategies, lines
    ways of training.

    Raises:
        OSError: the file could not be written.
    """
    panels = [
        (title, rows, name)
        for title, rows in _networks(table)
        for name in dict.fromkeys((qualities_of(table)[0], _chosen_quality(qualities_of(table))))
    ]
    looks = looks_of(table["strategy"])
    kinds = list(dict.fromkeys(zip(table["training"], table["initialisation"], strict=True)))
    lines = dict(zip(kinds, cycle(_LINES), strict=False))
    with style_context(["default", style()]):
        figure, places = _figure(len(panels), len(looks) + len(lines))
        for axes, (title, rows, name) in zip(places, panels, strict=True):
            for (strategy, *kind, _), line in rows.groupby(_SCHEME[2:], sort=False):
                colour, marker, _ = looks[str(strategy)]
                axes.plot(
                    100 * line["sparsity"],
                    line[name],
                    color=colour,
                    marker=marker,
                    ls=lines[str(kind[0]), str(kind[1])],
                    **LINE,
                )
            axes.axhline(rows[f"{name}_dense"].mean(), lw=1.1, ls=(0, (5, 3)), color=INK)
            grows = rows[name].median() > rows[f"{name}_dense"].median() > 0
            if grows and rows[name].max() > 5 * rows[name].min():
                axes.set_yscale("log")
                axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            _label(axes, title, "Pruned weights, %", quality_title(name))
        several = len({initialisation for _, initialisation in kinds}) > 1
        handles = [Line2D([], [], color=c, marker=m, **LINE) for c, m, _ in looks.values()]
        handles += [Line2D([], [], color=FAINT_INK, ls=line, lw=1.9) for line in lines.values()]
        handles.append(Line2D([], [], lw=1.1, ls=(0, (5, 3)), color=INK))
        names = [*looks, *(", ".join(kind) if several else kind[0] for kind in lines)]
        _legend(figure, handles, [*names, "unpruned network"])
        save_png(figure, Path(path))


def plot_medians(table: pd.DataFrame, path: str | Path) -> None:
    """Write a PNG of the table of :func:`medians`: a bar for each scheme and way of training.

    Raises:
        OSError: the file could not be written.
    """
    name = _chosen_quality([each for each in table.columns if each not in MEDIAN_COLUMNS])
    panels = _networks(table)
    with style_context(["default", style()]):
        heights = [_BAR_INCHES * len(rows) + 1.2 for _, rows in panels]
        figure = Figure(figsize=(_BAR_WIDTH, sum(heights)), dpi=DOTS_PER_INCH, layout="constrained")
        places = figure.subplots(len(panels), squeeze=False, height_ratios=heights)[:, 0]
        for axes, (title, rows) in zip(places, panels, strict=True):
            several = rows["initialisation"].nunique() > 1
            labels = [
                f"{fill(str(row.strategy), _LABEL_CHARACTERS)}\n{row.training}"
                + (f", {row.initialisation}" if several else "")
                for row in rows.itertuples()
            ]
            colours = dict(zip(dict.fromkeys(rows["training"]), cycle(COLOURS), strict=False))
            bars = axes.barh(
                [literal(label) for label in labels],
                rows[name],
                color=[colours[each] for each in rows["training"]],
            )
            axes.bar_label(bars, fmt="%#.3g", padding=3, fontsize=8)
            axes.invert_yaxis()
            axes.tick_params(axis="y", labelsize=7.5)
            _label(axes, title, f"Median {quality_title(name)} over sparsities", "")
            axes.grid(visible=False, axis="y")
            axes.set_axisbelow(True)
        save_png(figure, Path(path))


def plot_classes(table: pd.DataFrame, path: str | Path) -> None:
    """Write a PNG of what each class of weights loses, a panel for each strategy and network.

    Raises:
        OSError: the file could not be written.
    """
    looks = looks_of(table["weight_class"])
    keys = ["dataset", "model", "strategy", "initialisation"]
    several = table["initialisation"].nunique() > 1
    panels = list(table.groupby(keys, sort=False))
    with style_context(["default", style()]):
        figure, places = _figure(len(panels), len(looks))
        for axes, ((_, _, strategy, initialisation), rows) in zip(places, panels, strict=True):
            for name, line in rows.groupby("weight_class", sort=False):
                colour, marker, dashes = looks[str(name)]
                axes.plot(
                    100 * line["sparsity"],
                    100 * line["pruned"],
                    color=colour,
                    marker=marker,
                    ls=dashes,
                    **LINE,
                )
            title = f"{strategy}, {initialisation}" if several else str(strategy)
            _label(axes, title, "Pruned weights, %", "Pruned weights of the class, %")
        handles = [Line2D([], [], color=c, marker=m, ls=d, **LINE) for c, m, d in looks.values()]
        _legend(figure, handles, list(looks))
        save_png(figure, Path(path))


_Names = dict[str, dict[tuple[str, str], str]]


def _called(records: Iterable[Record]) -> _Names:
    """What each version of each data set, network and strategy is called."""
    return {
        place: told_apart(_version(record.experiment, place) for record in records)
        for place in ("dataset", "model", "strategy")
    }


def _version(experiment: Any, place: str) -> tuple[str, str]:
    return named(experiment[place]), experiment.get("sources", {}).get(place, "")


def _identity(experiment: Any, called: _Names) -> dict[str, Any]:
    names = {place: called[place][_version(experiment, place)] for place in called}
    return {**names, "initialisation": shown(experiment.get("initialisation", "Default"))}


def _training(experiment: Any) -> str:
    if experiment.get("start_epoch") == 0:
        return "at initialisation"
    recovery = shown(experiment["recovery"])
    return _TRAINING.get(recovery, recovery)


def _target(experiment: Any) -> str:
    """How far it was pruned, so that it sorts."""
    return next(
        f"{name} {experiment[name]:012.6f}" for name in TARGETS if experiment.get(name) is not None
    )


def _expanded(columns: Iterable[str], qualities: Iterable[str]) -> list[str]:
    names: list[str] = []
    for column in columns:
        if "<quality>" not in column:
            names.append(column)
    return names + [
        column.replace("<quality>", quality)
        for quality in qualities
        for column in columns
        if "<quality>" in column
    ]


def quality_title(name: str) -> str:
    """A quality metric in words."""
    return QUALITY_TITLES.get(name, name.replace("_", " "))


def _chosen_quality(names: Sequence[str]) -> str:
    """The quality metric that was chosen beside the task's own, if one was, else the primary."""
    return names[-1] if names[-1] != "loss" else names[0]


def _networks(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    groups = table.groupby(["dataset", "model"], sort=False)
    return [(f"{model} on {dataset}", rows) for (dataset, model), rows in groups]


def looks_of(names: Iterable[str]) -> dict[str, tuple[str, str, str]]:
    """A colour, a marker and a kind of line for each name, all different."""
    different = list(dict.fromkeys(names))
    return {
        name: (
            COLOURS[place % len(COLOURS)],
            MARKERS[place % len(MARKERS)],
            _LINES[place // len(COLOURS) % len(_LINES)],
        )
        for place, name in enumerate(different)
    }


def _figure(panels: int, legend: int) -> tuple[Figure, Sequence[Axes]]:
    across = min(panels, 2)
    down = math.ceil(panels / across)
    width, height = _PANEL_INCHES
    figure = Figure(
        figsize=(across * width, down * height + 0.24 * math.ceil(legend / 2) + 0.2),
        dpi=DOTS_PER_INCH,
        layout="constrained",
    )
    return figure, [figure.add_subplot(down, across, place + 1) for place in range(panels)]


def _label(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(literal(fill(title, _TITLE_CHARACTERS)), fontsize=10, fontweight="bold")
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def _legend(figure: Figure, handles: list[Line2D], names: list[str]) -> None:
    figure.legend(
        handles,
        [literal(fill(name, _LABEL_CHARACTERS)) for name in names],
        loc="outside lower left",
        ncols=2,
        frameon=False,
        fontsize=8.5,
    )
