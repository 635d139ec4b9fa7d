"""Charts of quality: lines over a quantity, or a sorted row of dots where there is one target.

A panel is plain data; :func:`chart` makes a figure of panels. In a figure a colour with its marker
and a kind of line each stand for one thing, and no two lines of a panel look alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from textwrap import fill
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .drawing import (
    COLOURS,
    DASHES,
    DENSE_LINE,
    DOTS_PER_INCH,
    FAINT_INK,
    INK,
    LINE,
    Dashes,
    Look,
    head,
    head_inches,
    in_our_style,
    literal,
    looks,
    wrapped,
)
from .scales import LOGIT_PERCENT, Scale, drawn_ends, scale_axis

UNPRUNED = "unpruned network"
MOST_LINES = 16
"""The most lines of a panel; where there are more, there are more panels."""

_PANEL_INCHES = (6.4, 4.6)
_PANELS_ABREAST = 2
_ROW_INCHES = 0.27
_NAME_LINE_INCHES = 0.14
_AROUND_ROWS_INCHES = 1.35
_LEGEND_LINE_INCHES = 0.24
_ROW_NAME_CHARACTERS = 38
_CAPTION_CHARACTERS_PER_INCH = 15
_LEGEND_CHARACTERS = 75
_MOST_LEGEND_COLUMNS = 3
_SEED_DOT: dict[str, Any] = {"marker": "o", "ms": 3, "ls": "", "mew": 0, "alpha": 0.8}
_BELOW = 0.24  # of a row, so that single seeds are not hidden by their mean
_BAR: dict[str, Any] = {"ls": "", "marker": "", "elinewidth": 1.4, "capsize": 2.5}


class Quantity(NamedTuple):
    """What an axis shows: its title and its scale."""

    title: str
    scale: Scale


@dataclass(frozen=True)
class Line:
    """What is drawn in one look: a method, in one panel.

    ``colour`` and ``dash`` name what its colour and its kind of line stand for, and are empty where
    that is nothing. ``unpruned`` names the dense network from which it comes. ``points`` has a row
    for each target with the columns ``target``, ``x``, ``mean``, ``std`` and ``by_seed``, the
    values of single seeds as a list. ``is_baseline`` makes it grey.
    """

    colour: str
    dash: str
    unpruned: str
    points: pd.DataFrame
    is_baseline: bool = False

    @property
    def name(self) -> str:
        """What the line is called where it stands alone."""
        return ", ".join(part for part in (self.colour, self.dash) if part)


@dataclass(frozen=True)
class Panel:
    """What one pair of axes shows.

    ``dense`` has the quality of each dense network by its name, one of which is that of each line.
    Parts of a ``whole`` have the limits of it.
    """

    title: str
    conditions: str
    lines: tuple[Line, ...]
    dense: dict[str, float]
    x: Quantity
    quality: Quantity
    higher_is_better: bool = True
    whole: Panel | None = None

    @cached_property
    def has_one_target(self) -> bool:
        """Whether there is nothing to draw a line through."""
        return len({target for line in self.lines for target in line.points["target"]}) == 1

    @cached_property
    def outermost(self) -> list[float]:
        """The values of quality between which all lie that have to be in sight, intervals too."""
        if self.whole is not None:
            return self.whole.outermost
        values, ends = self._measured
        return _extremes(filter(math.isfinite, values + self._drawn(ends)))

    def interval(self, points: pd.DataFrame) -> tuple[list[float], list[float]]:
        """Mean minus and plus standard deviation of some points, as far as they can be drawn."""
        std = points["std"].fillna(0)
        ends = [(points["mean"] - std).tolist(), (points["mean"] + std).tolist()]
        low, high = (self._drawn(each) for each in ends)
        return low, high

    def _drawn(self, ends: Sequence[float]) -> list[float]:
        return drawn_ends(self.quality.scale, ends, (self.whole or self)._outermost_possible)

    @cached_property
    def _outermost_possible(self) -> list[float]:
        """The outermost of all values and ends of intervals that quality can have."""
        scale, (values, ends) = self.quality.scale, self._measured
        return _extremes(value for value in values + ends if scale.least < value < scale.most)

    @property
    def _measured(self) -> tuple[list[float], list[float]]:
        """All values, and the ends of all intervals."""
        values, ends = [*self.dense.values()], []
        for line in self.lines:
            values += line.points["mean"].tolist()
            values += [value for seeds in line.points["by_seed"] for value in seeds]
            std = line.points["std"].fillna(0)
            ends += [*(line.points["mean"] - std), *(line.points["mean"] + std)]
        return values, ends

    @property
    def is_empty(self) -> bool:
        """Whether no line has a finite point."""
        return not any(_finite(line.points).any() for line in self.lines)


class _Looks(NamedTuple):
    """What each name of a figure looks like."""

    colours: dict[str, Look]
    dashes: dict[str, Dashes]

    def of(self, line: Line) -> Look:
        look = self.colours[line.colour]
        return look._replace(dashes=self.dashes[line.dash]) if self.dashes else look


def chart(panels: Sequence[Panel], named: Iterable[Line] = ()) -> Figure:
    """The figure of some panels, of which at least one is not empty, with its legend.

    ``named`` are lines of other figures in which the same names are to look the same.
    """
    with in_our_style():
        return _chart(panels, named)


def _chart(panels: Sequence[Panel], named: Iterable[Line]) -> Figure:
    parts = _split([panel for panel in panels if not panel.is_empty])
    known = _looks([*named, *(line for part in parts for line in part.lines)], parts)
    across = min(len(parts), _PANELS_ABREAST)
    rows = [parts[start : start + across] for start in range(0, len(parts), across)]
    heights = [max(map(_height, row)) for row in rows]
    handles = _handles(parts, known)
    columns = _legend_columns([name for name, _ in handles], across)
    below = _LEGEND_LINE_INCHES * (math.ceil(len(handles) / columns) + 1.5)
    figure = Figure(
        figsize=(across * _PANEL_INCHES[0], sum(heights) + below),
        dpi=DOTS_PER_INCH,
        layout="constrained",
    )
    grid = figure.add_gridspec(len(rows), across, height_ratios=heights)
    for place, panel in enumerate(parts):
        axes = figure.add_subplot(grid[place // across, place % across])
        (_draw_dots if panel.has_one_target else _draw_lines)(axes, panel, known)
        head(axes, panel.title, panel.conditions, _width(panel))
    _legend(figure, handles, columns, _caption(parts))
    return figure


def _split(panels: Sequence[Panel]) -> list[Panel]:
    """The panels, each with at most as many lines as can be told apart."""
    dashes = {line.dash for panel in panels for line in panel.lines if not panel.has_one_target}
    parts = []
    for panel in panels:
        if panel.has_one_target or (len(panel.lines) <= MOST_LINES and len(dashes) <= len(DASHES)):
            parts.append(panel)
        else:
            parts += _parts(panel)
    return parts


def _parts(panel: Panel) -> list[Panel]:
    """A panel for each kind of line, or where there is one, for so many of the colours."""
    kinds = list(dict.fromkeys(line.dash for line in panel.lines))
    whole = panel.whole or panel
    if len(kinds) > 1:
        groups = {kind: [line for line in panel.lines if line.dash == kind] for kind in kinds}
        halves = [
            replace(panel, title=f"{panel.title}, {kind}", lines=tuple(lines), whole=whole)
            for kind, lines in groups.items()
        ]
        return [part for half in halves for part in (_parts(half) if _crowded(half) else [half])]
    count = math.ceil(len(panel.lines) / MOST_LINES)
    size = math.ceil(len(panel.lines) / count)
    return [
        replace(
            panel,
            title=f"{panel.title}, part {number + 1} of {count}",
            lines=panel.lines[number * size : (number + 1) * size],
            whole=whole,
        )
        for number in range(count)
    ]


def _crowded(panel: Panel) -> bool:
    return len(panel.lines) > MOST_LINES


def _looks(lines: Sequence[Line], parts: Sequence[Panel]) -> _Looks:
    """Colours for all names, and dashes for the kinds of lines where there are several."""
    names = sorted({line.colour for line in lines})
    baselines = {line.colour for line in lines if line.is_baseline}
    kinds = list(
        dict.fromkeys(line.dash for part in parts if not part.has_one_target for line in part.lines)
    )
    # Where there are more, each has a panel of its own.
    dashes = DASHES[: len(kinds)] if 1 < len(kinds) <= len(DASHES) else ()
    return _Looks(looks(names, baselines), dict(zip(kinds, dashes, strict=False)))


def _dense_styles(panel: Panel, known: _Looks) -> dict[str, dict[str, Any]]:
    """How the lines of dense networks are drawn: as the lines that come from them, but thinner.

    A dense network has the colour, or the kind of line, that all lines that come from it share and
    no other has.
    """
    if len(panel.dense) == 1:
        return {name: dict(DENSE_LINE) for name in panel.dense}
    drawn: dict[str, dict[str, Any]] = {}
    for place, name in enumerate(panel.dense):
        own = [line for line in panel.lines if line.unpruned == name]
        others = [line for line in panel.lines if line.unpruned != name]
        style = dict(DENSE_LINE)
        dashes = {line.dash for line in own}
        colours = {line.colour for line in own}
        if dashes <= set(known.dashes) and _own_one(dashes, (line.dash for line in others)):
            style["ls"] = known.dashes[own[0].dash]
        elif _own_one(colours, (line.colour for line in others)):
            style["color"] = known.colours[own[0].colour].colour
        else:
            style["ls"] = DASHES[place % len(DASHES)]
            style["color"] = (INK, *COLOURS)[place // len(DASHES) % (len(COLOURS) + 1)]
        drawn[name] = style
    return drawn


def _own_one(own: set[str], others: Iterable[str]) -> bool:
    """Whether there is one name that no other has."""
    return len(own) == 1 and own.isdisjoint(others)


def _draw_lines(axes: Axes, panel: Panel, known: _Looks) -> None:
    scale = panel.quality.scale
    for name, style in _dense_styles(panel, known).items():
        if math.isfinite(panel.dense[name]):
            axes.axhline(scale.clipped(panel.dense[name]), **style)
    for line in panel.lines:
        points = line.points.where(_finite(line.points))
        if not _finite(points).any():
            continue
        look = known.of(line)
        low, high = panel.interval(points)
        if _finite(points).sum() > 1:
            axes.fill_between(points["x"], low, high, color=look.colour, alpha=0.14, lw=0)
        else:
            _bars(axes, points, low, high, look, across=False)
        axes.plot(
            points["x"],
            [scale.clipped(value) for value in points["mean"]],
            zorder=2.5 if line.is_baseline else 3,
            **look.line(),
        )
    xs = [value for line in panel.lines for value in line.points["x"][_finite(line.points)]]
    scale_axis(axes, "x", panel.x.scale, xs)
    scale_axis(axes, "y", scale, panel.outermost)
    axes.set_xlabel(panel.x.title)
    axes.set_ylabel(_quality_title(panel))


def _draw_dots(axes: Axes, panel: Panel, known: _Looks) -> None:
    """A row for each method, the best on top, and the dense networks above them."""
    scale = panel.quality.scale
    lines = _sorted(panel)
    for row, line in enumerate(lines):
        look = known.colours[line.colour]
        points = line.points
        at = axes.get_yaxis_transform()
        if not _finite(points).any():
            axes.text(0.01, row, "no finite result", transform=at, fontsize=8, color=FAINT_INK)
            continue
        low, high = panel.interval(points)
        _bars(axes, points.assign(x=row), low, high, look, across=True)
        for seeds in (seeds for seeds in points["by_seed"] if len(seeds) > 1):
            seen = [scale.clipped(value) for value in seeds if math.isfinite(value)]
            axes.plot(seen, [row + _BELOW] * len(seen), color=look.colour, zorder=2.8, **_SEED_DOT)
        axes.plot(
            [scale.clipped(value) for value in points["mean"]],
            [row] * len(points),
            **(look.line() | {"ls": ""}),
        )
        achieved = ", ".join(panel.x.scale.rounded(value) for value in points["x"])
        axes.annotate(
            achieved,
            xy=(1, row),
            xycoords=at,
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=FAINT_INK,
        )
    for name, style in _dense_styles(panel, known).items():
        if math.isfinite(panel.dense[name]):
            axes.axvline(scale.clipped(panel.dense[name]), **style)
    scale_axis(axes, "x", scale, panel.outermost)
    names = _row_names(panel)
    axes.set_yticks(range(len(names)), [literal(name) for name in names], fontsize=8)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(_quality_title(panel))
    axes.annotate(
        fill(panel.x.title, 16),
        xy=(1, 0),
        xycoords="axes fraction",
        xytext=(6, -20),
        textcoords="offset points",
        va="top",
        fontsize=8,
        color=FAINT_INK,
    )


def _row_names(panel: Panel) -> list[str]:
    """The names of the lines, as they stand beside rows of dots."""
    return [wrapped(line.name, _ROW_NAME_CHARACTERS) for line in _sorted(panel)]


def _sorted(panel: Panel) -> list[Line]:
    """The lines from the best to the worst; those without a finite result come last."""

    def place(line: Line) -> tuple[bool, float, str]:
        mean = float(line.points["mean"].iloc[0])
        known = math.isfinite(mean)
        worse = -mean if panel.higher_is_better else mean
        return (not known, worse if known else 0.0, line.name)

    return sorted(panel.lines, key=place)


def _extremes(values: Iterable[float]) -> list[float]:
    """The least and the largest; none of none."""
    known = list(values)
    return [min(known), max(known)] if known else []


def _finite(points: pd.DataFrame) -> Any:
    return points["x"].notna() & points["mean"].notna()


def _bars(
    axes: Axes,
    points: pd.DataFrame,
    low: Sequence[float],
    high: Sequence[float],
    look: Look,
    *,
    across: bool,
) -> None:
    """Error bars where there is a spread; ``across`` says that they lie from left to right."""
    for (_, point), below, above in zip(points.iterrows(), low, high, strict=True):
        if pd.isna(point["std"]) or pd.isna(point["mean"]):
            continue
        # The ends are within the limits of the scale, which a mean of 0 or of 100 % is not.
        ends = [[max(point["mean"] - below, 0.0)], [max(above - point["mean"], 0.0)]]
        if across:
            axes.errorbar([point["mean"]], [point["x"]], xerr=ends, color=look.colour, **_BAR)
        else:
            axes.errorbar([point["x"]], [point["mean"]], yerr=ends, color=look.colour, **_BAR)


def _quality_title(panel: Panel) -> str:
    return literal(panel.quality.title) + ("" if panel.higher_is_better else ", lower is better")


def _width(panel: Panel) -> float:
    """The part of a panel's width that is left beside the names of methods."""
    if not panel.has_one_target:
        return 1.0
    return 1 - max(len(line) for name in _row_names(panel) for line in name.splitlines()) / 110


def _height(panel: Panel) -> float:
    """The inches that a panel needs."""
    above = head_inches(panel.title, panel.conditions, _width(panel))
    if not panel.has_one_target:
        return _PANEL_INCHES[1] + above
    rows = sum(_ROW_INCHES + _NAME_LINE_INCHES * name.count("\n") for name in _row_names(panel))
    return max(_AROUND_ROWS_INCHES + rows, 2.2) + above


def _handles(parts: Sequence[Panel], known: _Looks) -> list[tuple[str, Line2D]]:
    """The entries of the legend: colours, kinds of lines, dense networks."""
    with_lines = [part for part in parts if not part.has_one_target]
    named = dict.fromkeys(line.colour for part in with_lines for line in part.lines)
    shown = {"ls": "-"} if known.dashes else {}
    entries = [
        (name, Line2D([], [], **(known.colours[name].line() | shown))) for name in sorted(named)
    ]
    entries += [
        (name, Line2D([], [], color=FAINT_INK, ls=dashes, lw=LINE["lw"]))
        for name, dashes in known.dashes.items()
    ]
    unpruned: dict[str, dict[str, Any]] = {}
    for part in parts:
        for name, style in _dense_styles(part, known).items():
            unpruned[f"unpruned {name}" if len(part.dense) > 1 else UNPRUNED] = style
    return entries + [(name, Line2D([], [], **style)) for name, style in unpruned.items()]


def _caption(parts: Sequence[Panel]) -> str:
    """What lines, dots, bands and bars mean, as far as the figure has them."""
    has_lines = any(not part.has_one_target for part in parts)
    has_dots = any(part.has_one_target for part in parts)
    lines = [line for part in parts for line in part.lines]
    has_spread = any(line.points["std"].notna().any() for line in lines)
    has_seeds = any(
        len(seeds) > 1
        for part in parts
        if part.has_one_target
        for line in part.lines
        for seeds in line.points["by_seed"]
    )
    what = [name for name, there in (("Lines", has_lines), ("Dots", has_dots)) if there]
    bands = [name for name, there in (("Bands", has_lines), ("Bars", has_dots)) if there]
    means = " and ".join(what).capitalize()
    sentences = [f"{means}: mean over seeds." if has_spread else f"{means}: one seed, no spread."]
    if has_spread:
        sentences.append(f"{' and '.join(bands).capitalize()}: ± 1 standard deviation.")
    if has_seeds:
        sentences.append("Small dots: single seeds.")
    if any(part.quality.scale is LOGIT_PERCENT for part in parts):
        sentences.append("Percentages on a logit scale.")
    return "  ".join(sentences)


def _legend(figure: Figure, handles: list[tuple[str, Line2D]], columns: int, caption: str) -> None:
    figure.legend(
        [handle for _, handle in handles],
        [literal(wrapped(name, _LEGEND_CHARACTERS)) for name, _ in handles],
        loc="outside lower left",
        ncols=columns,
        frameon=False,
        fontsize=9,
        title=fill(caption, round(_CAPTION_CHARACTERS_PER_INCH * figure.get_figwidth())),
        title_fontproperties={"size": 8.5},
        alignment="left",
    ).get_title().set_color(FAINT_INK)


def _legend_columns(names: Sequence[str], across: int) -> int:
    """As many as the longest name lets stand side by side below so many panels."""
    longest = max(map(len, names), default=0)
    return max(1, min(across * _LEGEND_CHARACTERS // (longest + 5), across * _MOST_LEGEND_COLUMNS))
