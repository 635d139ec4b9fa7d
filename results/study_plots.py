"""The figures of a study: quality against sparsity, medians, and what classes of weights lose."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from textwrap import fill
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ..errors import UsageError
from ..quality import Quality
from .charts import Line, Panel, Quantity, chart
from .comparison import is_random_baseline
from .drawing import (
    COLOURS,
    DENSE_LINE,
    DOTS_PER_INCH,
    head,
    head_inches,
    in_our_style,
    literal,
    looks,
    save_figure,
    wrapped,
)
from .layout import FIELDS, Layout, Result, arrange, values_of_seeds
from .qualities import TITLE_COLUMNS, compared_beside, described_in, expanded, quality_in
from .scales import LEFT_PERCENT, PERCENT
from .study import qualities_of
from .targets import SPARSITY

LAYOUT = Layout(
    panel=("dataset", "model", "initialisation", "pretraining"),
    colour=("strategy",),
    line=("training", "conditions"),
)
"""A panel for each dense network, a colour for each strategy, a kind of line for all else."""

_EXTREME = 0.95
_BAR_FIGURE_INCHES = 8.0
_BAR_INCHES = 0.3
_AROUND_BARS_INCHES = 1.3
_LABEL_LINE_INCHES = 0.14
_LEGEND_LINE_INCHES = 0.2
_LABEL_CHARACTERS = 56
_BESIDE_LABELS = 0.7
_CLASS_FIGURE_INCHES = 11.6
_CLASS_PANEL_INCHES = 4.2
_CLASS_NAME_CHARACTERS = 14
_HATCHES = ("", "////", "....", "xxxx", "||||", "oo")
_NEAR = 0.005
_USUAL_SPARSITIES = (0.5, 0.8)
_MOST_SCHEMES = 12
_GROUP_WIDTH = 0.84


def schemes_figure(table: pd.DataFrame, layout: Layout = LAYOUT) -> Figure:
    """Quality against sparsity, of the table of :func:`.study.schemes`.

    Quality is the task's primary metric, and those that were chosen beside it. Each dense network
    has a line of its own.

    Raises:
        UsageError: no run has a finite result, so there is nothing to draw.
    """
    results = [
        _result(line, name)
        for name in _compared(table, qualities_of(table))
        for _, line in table.groupby([*FIELDS, "settings"], sort=False, dropna=False)
    ]
    panels = arrange(results, layout, _sparsity(table))
    if all(panel.is_empty for panel in panels):
        raise UsageError("there is nothing to plot: no run has a finite result")
    return chart(panels)


def medians_figure(table: pd.DataFrame) -> Figure:
    """A bar for each scheme and way of training, of the table of :func:`.study.medians`."""
    described, columns = described_in(table.columns), list(table.columns)
    words = expanded(TITLE_COLUMNS, described, described)
    names = [name for name in columns[columns.index("targets") + 1 :] if name not in words]
    name = _compared(table, names)[-1]
    quality = _quality(table, name)
    panels = list(table.groupby(["dataset", "model"], sort=False))
    fields = _telling(table)
    colours = dict(zip(dict.fromkeys(table["training"].map(_text)), cycle(COLOURS), strict=False))
    with in_our_style():
        labels = [
            [wrapped(_joined(row, fields), _LABEL_CHARACTERS) for _, row in rows.iterrows()]
            for _, rows in panels
        ]
        heads = [
            (f"{model} on {dataset}", _over(rows.iloc[0]), _BESIDE_LABELS)
            for (dataset, model), rows in panels
        ]
        heights = [
            _AROUND_BARS_INCHES
            + head_inches(*above)
            + sum(max(_BAR_INCHES, _LABEL_LINE_INCHES * (1 + each.count("\n"))) for each in names)
            for above, names in zip(heads, labels, strict=True)
        ]
        figure = Figure(
            figsize=(_BAR_FIGURE_INCHES, sum(heights)), dpi=DOTS_PER_INCH, layout="constrained"
        )
        places = figure.subplots(len(panels), squeeze=False, height_ratios=heights)[:, 0]
        for axes, (_, rows), names, above in zip(places, panels, labels, heads, strict=True):
            bars = axes.barh(
                range(len(rows)),
                quality.factor * rows[name].fillna(0),
                color=[colours[_text(each)] for each in rows["training"]],
                height=0.72,
            )
            form = "{:.2f}" if quality.is_fraction else "{:#.4g}"
            values = ["none" if pd.isna(v) else form.format(quality.factor * v) for v in rows[name]]
            axes.bar_label(bars, values, padding=3, fontsize=8)
            axes.set_yticks(range(len(rows)), [literal(label) for label in names], fontsize=7.5)
            axes.set_ylim(len(rows) - 0.4, -0.6)
            axes.margins(x=0.1)
            axes.grid(visible=False, axis="y")
            axes.set_axisbelow(True)
            axes.set_xlabel(literal(f"Median {quality.heading}"))
            head(axes, *above)
    return figure


def _over(row: pd.Series) -> str:
    """What medians are over."""
    if not row["sparsities"]:
        return "no sparsity is there of all of them"
    return f"over the {row['sparsities']} sparsities that all have: {row['targets']}"


def classes_figure(table: pd.DataFrame) -> Figure:
    """What each class of weights loses, of the table of :func:`.study.classes`.

    There is a panel for each scheme, and a line for each class of weights.
    """
    fields = _telling(table)
    panels = [
        Panel(
            title=f"{rows['model'].iloc[0]} on {rows['dataset'].iloc[0]}",
            conditions=_joined(rows.iloc[0], fields),
            lines=tuple(
                Line(
                    colour=str(name),
                    dash="",
                    unpruned="",
                    points=pd.DataFrame(
                        {
                            "target": line["target"],
                            "x": line["sparsity"],
                            "mean": line["pruned"],
                            "std": line["pruned_std"],
                            "by_seed": [[] for _ in range(len(line))],
                        }
                    ),
                )
                for name, line in rows.groupby("weight_class", sort=False)
            ),
            dense={},
            x=_sparsity(table),
            quality=Quantity("Pruned weights of the class (%)", PERCENT),
        )
        for _, rows in table.groupby([*FIELDS, "settings"], sort=False, dropna=False)
    ]
    # The panels are to be compared, so that they have the same limits.
    everything = replace(panels[0], lines=tuple(line for panel in panels for line in panel.lines))
    return chart([replace(panel, whole=everything) for panel in panels])


def classes_at_figure(table: pd.DataFrame, sparsities: Sequence[float]) -> Figure:
    """How much of each class of weights the schemes remove, side by side, at some sparsities.

    ``table`` is that of :func:`.study.classes`. Above each class is a bar for each scheme.

    Raises:
        UsageError: no scheme was run at one of the sparsities.
    """
    fields = [field for field in _telling(table) if field not in LAYOUT.panel]
    bars = _bar_styles(table, fields)
    panels = [panel for sparsity in sparsities for panel in _panels_at(table, sparsity, fields)]
    telling = [field for field in _telling(table) if field in LAYOUT.panel]
    heights = [_CLASS_PANEL_INCHES + head_inches(*_class_head(panel, telling)) for panel in panels]
    names = [wrapped(name, _LABEL_CHARACTERS) for name in (*bars, "all weights")]
    columns = 1 + (max(map(len, bars)) < _LABEL_CHARACTERS)
    below = _LEGEND_LINE_INCHES * (2 + sum(1 + name.count("\n") for name in names) / columns)
    with in_our_style():
        figure = Figure(
            figsize=(_CLASS_FIGURE_INCHES, sum(heights) + below),
            dpi=DOTS_PER_INCH,
            layout="constrained",
        )
        handles: dict[str, Patch | Line2D] = {}
        places = figure.subplots(len(panels), squeeze=False, height_ratios=heights)[:, 0]
        for axes, rows in zip(places, panels, strict=True):
            schemes = list(rows.groupby(fields, sort=False, dropna=False))
            for place, (_, own) in enumerate(schemes):
                name = _joined(own.iloc[0], fields)
                _draw_bars(axes, own, place, len(schemes), bars[name])
                handles[name] = Patch(**bars[name])
            axes.axhline(100 * rows["sparsity"].mean(), **DENSE_LINE)
            _label_classes(axes, rows, telling)
        handles["all weights"] = Line2D([], [], **DENSE_LINE)
        figure.legend(
            list(handles.values()),
            [literal(wrapped(name, _LABEL_CHARACTERS)) for name in handles],
            loc="outside lower left",
            ncols=columns,
            frameon=False,
            fontsize=8.5,
        )
    return figure


def usual_sparsities(table: pd.DataFrame) -> list[float]:
    """Those of 50 and 80 % that a table of classes has; else the sparsity of most schemes."""
    usual = [sparsity for sparsity in _USUAL_SPARSITIES if _is_at(table, sparsity).any()]
    if usual:
        return usual
    most = table["target"].value_counts(sort=True).index[0]
    return [float(table.loc[table["target"] == most, "sparsity"].mean())]


def plot_schemes(table: pd.DataFrame, path: str | Path, layout: Layout = LAYOUT) -> None:
    """Write :func:`schemes_figure` as PNG.

    Raises:
        OSError: the file could not be written.
        UsageError: no run has a finite result, so there is nothing to draw.
    """
    save_figure(schemes_figure(table, layout), Path(path))


def plot_medians(table: pd.DataFrame, path: str | Path) -> None:
    """Write :func:`medians_figure` as PNG.

    Raises:
        OSError: the file could not be written.
    """
    save_figure(medians_figure(table), Path(path))


def plot_classes(table: pd.DataFrame, path: str | Path) -> None:
    """Write :func:`classes_figure` as PNG.

    Raises:
        OSError: the file could not be written.
    """
    save_figure(classes_figure(table), Path(path))


def plot_classes_at(
    table: pd.DataFrame, path: str | Path, sparsities: Sequence[float] | None = None
) -> None:
    """Write :func:`classes_at_figure` as PNG, by default of the usual sparsities.

    Raises:
        OSError: the file could not be written.
        UsageError: no scheme was run at one of the sparsities.
    """
    save_figure(classes_at_figure(table, sparsities or usual_sparsities(table)), Path(path))


def _result(line: pd.DataFrame, name: str) -> Result:
    """One line of the table of schemes, by one metric of quality."""
    first = line.iloc[0]
    return Result(
        differences={field: _text(first[field]) for field in FIELDS},
        kind=name,
        quality=quality_in(first, name),
        points=pd.DataFrame(
            {
                "target": line["target"],
                "x": line["sparsity"],
                "mean": line[name],
                "std": line[f"{name}_std"],
                "by_seed": [values_of_seeds(text) for text in line[f"{name}_by_seed"]],
            }
        ).sort_values("x"),
        dense=float(line[f"{name}_dense"].iloc[int(line["seeds"].to_numpy().argmax())]),
        seeds=int(line["seeds"].max()),
        is_baseline=is_random_baseline(str(first["strategy"])),
    )


def _sparsity(table: pd.DataFrame) -> Quantity:
    """The axis of sparsities; where little is left, what is left counts."""
    if table["sparsity"].max() < _EXTREME:
        return Quantity("Pruned weights (%)", PERCENT)
    return Quantity("Pruned weights (%), each halving of the rest evenly apart", LEFT_PERCENT)


def _text(cell: object) -> str:
    """A cell as text; pandas reads an empty one from CSV as NaN."""
    return cell if isinstance(cell, str) else ""


def _telling(table: pd.DataFrame) -> list[str]:
    """The strategy, and the fields beside network and data set in which schemes differ."""
    rest = [field for field in FIELDS if field not in ("dataset", "model", "strategy")]
    return ["strategy", *(field for field in rest if table[field].map(_text).nunique() > 1)]


def _joined(row: pd.Series[Any], fields: Sequence[str]) -> str:
    """The texts of some fields as the name of a scheme."""
    return ", ".join(filter(None, (_text(row[field]) for field in fields)))


def _compared(table: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """The primary one of some quality metrics, and those that were chosen beside the task's own."""
    chosen = {name for _, row in table.iterrows() for name in compared_beside(names[0], row)}
    return [names[0], *(name for name in names[1:] if name in chosen)]


def _quality(table: pd.DataFrame, name: str) -> Quality:
    """What a quality metric of a table is, from a row that has it."""
    return quality_in(table.iloc[int(table[name].notna().to_numpy().argmax())], name)


def _bar_styles(table: pd.DataFrame, fields: list[str]) -> dict[str, dict[str, Any]]:
    """A colour and a hatch for each scheme, no two alike."""
    rows = [row for _, row in table.drop_duplicates(fields).iterrows()]
    names = sorted(_joined(row, fields) for row in rows)
    baselines = {_joined(row, fields) for row in rows if is_random_baseline(str(row["strategy"]))}
    seen: dict[str, int] = {}
    styles = {}
    for name, look in looks(names, baselines).items():
        number = seen[look.colour] = seen.get(look.colour, -1) + 1
        hatch = _HATCHES[number % len(_HATCHES)] * (1 + number // len(_HATCHES))
        styles[name] = {"facecolor": look.colour, "hatch": hatch, "edgecolor": "white", "lw": 0.6}
    return styles


def _is_at(table: pd.DataFrame, sparsity: float) -> pd.Series[bool]:
    """Which rows are at a sparsity, asked for or reached."""
    asked = table["target"] == SPARSITY.written(sparsity)
    return asked | ((table["sparsity"] - sparsity).abs() <= _NEAR)


def _panels_at(table: pd.DataFrame, sparsity: float, fields: list[str]) -> list[pd.DataFrame]:
    """The rows of each panel: a network, and as many schemes as can stand side by side."""
    here = table[_is_at(table, sparsity)]
    if here.empty:
        there = ", ".join(f"{value:.3g}" for value in sorted(set(table["sparsity"].round(3))))
        raise UsageError(f"--at: {sparsity:g} is not allowed: the runs have {there}")
    panels = []
    for _, network in here.groupby(list(LAYOUT.panel), sort=False, dropna=False):
        schemes = [rows for _, rows in network.groupby(fields, sort=False, dropna=False)]
        count = math.ceil(len(schemes) / _MOST_SCHEMES)
        size = math.ceil(len(schemes) / count)
        panels += [
            pd.concat(schemes[start : start + size]) for start in range(0, len(schemes), size)
        ]
    return panels


def _draw_bars(
    axes: Axes, rows: pd.DataFrame, place: int, count: int, style: dict[str, Any]
) -> None:
    """One scheme's bars, one at each class."""
    order = {name: number for number, name in enumerate(dict.fromkeys(rows["weight_class"]))}
    own = rows.groupby("weight_class", sort=False)["pruned"].mean()
    width = _GROUP_WIDTH / count
    shift = (place - (count - 1) / 2) * width
    axes.bar([order[name] + shift for name in own.index], 100 * own, width=width, **style)


def _label_classes(axes: Axes, rows: pd.DataFrame, telling: Sequence[str]) -> None:
    """The title, and at each class its name and its share of all weights."""
    sizes = rows.drop_duplicates("weight_class").set_index("weight_class")["weights"]
    shares = 100 * sizes / sizes.sum()
    names = [
        f"{fill(str(name), _CLASS_NAME_CHARACTERS)}\n{share:.3g} %"
        for name, share in shares.items()
    ]
    axes.set_xticks(range(len(names)), [literal(name) for name in names], fontsize=8)
    axes.set_ylim(0, 104)
    axes.grid(visible=False, axis="x")
    axes.set_axisbelow(True)
    axes.set_xlabel("Class of weights, and its share of all weights")
    axes.set_ylabel("Pruned weights of the class (%)")
    head(axes, *_class_head(rows, telling))


def _class_head(rows: pd.DataFrame, telling: Sequence[str]) -> tuple[str, str]:
    """What stands above a panel of classes."""
    first = rows.iloc[0]
    conditions = [f"{100 * rows['sparsity'].mean():.3g} % of all weights pruned"]
    conditions += [text for field in telling if (text := _text(first[field]))]
    return f"{first['model']} on {first['dataset']}", " · ".join(conditions)
