"""Plots of the leaderboard: quality against compression and against theoretical speedup.

One panel per comparison. Accuracies are drawn on a logit scale, which spreads out the percents near
100 where good methods differ and still shows the methods that have dropped to chance.
"""

from __future__ import annotations

import html
import io
import math
import re
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from textwrap import fill
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.style import context as style_context
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from ..errors import UsageError
from .comparison import Comparison, comparisons
from .store import write_atomically

DOTS_PER_INCH = 160
_PANEL_INCHES = (6.4, 4.6)
_LEGEND_LINE_INCHES = 0.24
_PANELS_ABREAST = 2
_TITLE_CHARACTERS = 56
_CONDITIONS_CHARACTERS = 95
_LEGEND_CHARACTERS = 75
_MOST_LEGEND_COLUMNS = 3

# Okabe and Ito's palette, which people of any colour vision can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "p", "h")
_BASELINE_COLOUR = "#8C8C8C"
_BASELINE_MARKERS = ("X", "P")
INK = "#262626"
FAINT_INK = "#6B6B6B"
_GRID = "#E6E6E6"
_PAPER = "#FFFFFF"
_ROLES = {INK: "ink", FAINT_INK: "faint", _GRID: "grid", _PAPER: "paper"}
LINE: dict[str, Any] = {"lw": 1.9, "ms": 6, "mec": "white", "mew": 0.8}
_DENSE_LINE: dict[str, Any] = {"lw": 1.1, "ls": (0, (5, 3)), "color": INK}

_PERCENT_TICKS = (0.1, 1, 5, 10, 20, 30, 50, 70, 80, 90, 95, 98, 99, 99.5, 99.8, 99.9, 99.95, 99.99)
_LEAST_TICK_DISTANCE = 0.055
_MOST_X_TICKS = 8
_FRACTION_LIMITS = (0.0005, 0.9999)


def accuracy_vs_compression(frame: pd.DataFrame, path: str | Path) -> None:
    """Write a PNG of the primary quality metric against the achieved compression.

    ``frame`` is a leaderboard. Lines are means over seeds, bands ± one sample standard deviation.

    Raises:
        UsageError: no run of the leaderboard has a finite result, so there is nothing to draw.
        OSError: the file could not be written.
    """
    _write(frame, Path(path), _COMPRESSION)


def accuracy_vs_speedup(frame: pd.DataFrame, path: str | Path) -> None:
    """Write a PNG of the primary quality metric against the theoretical speedup.

    ``frame`` is a leaderboard. Lines are means over seeds, bands ± one sample standard deviation.

    Raises:
        UsageError: no run of the leaderboard has a finite result, so there is nothing to draw.
        OSError: the file could not be written.
    """
    _write(frame, Path(path), _SPEEDUP)


def as_svg(frame: pd.DataFrame) -> list[tuple[str, str]]:
    """Both plots of each comparison of a leaderboard, each an ``<svg>`` to stand in a page.

    A plot is empty text where no run has a finite result. A strategy looks the same in all of them.
    Ink, faint ink, grid and paper are the page's custom properties ``--ink``, ``--faint``,
    ``--grid`` and ``--paper`` if it has them.
    """
    everything = comparisons(frame)
    looks = _looks(sorted({name for each in everything for name, _ in each.methods()}))
    return [
        (
            _svg(comparison, looks, _COMPRESSION, f"compression{number}"),
            _svg(comparison, looks, _SPEEDUP, f"speedup{number}"),
        )
        for number, comparison in enumerate(everything, start=1)
    ]


class _Axis(NamedTuple):
    """What a plot shows from left to right."""

    column: str
    title: str


_COMPRESSION = _Axis("compression_mean", "Compression of the whole network")
_SPEEDUP = _Axis("theoretical_speedup_mean", "Theoretical speedup (FLOPs)")


class _Look(NamedTuple):
    """How one strategy is drawn, the same in all panels."""

    colour: str
    marker: str
    line: str


def _write(frame: pd.DataFrame, path: Path, x: _Axis) -> None:
    drawn = [each for each in comparisons(frame) if not _points(each, x.column).empty]
    if not drawn:
        raise UsageError("there is nothing to plot: no run of the leaderboard has a finite result")
    looks = _looks(sorted({name for comparison in drawn for name, _ in comparison.methods()}))
    write_atomically(path, _render(drawn, looks, x, format="png", metadata={"Software": None}))


def _svg(comparison: Comparison, looks: dict[str, _Look], x: _Axis, identity: str) -> str:
    """The plot without what only a file needs, its ids made unique in a page by ``identity``."""
    if _points(comparison, x.column).empty:
        return ""
    own = {name: looks[name] for name, _ in comparison.methods()}
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    content = _render([comparison], own, x, format="svg", metadata=nothing, transparent=True)
    text = content.decode()
    text = re.sub(r"<!--.*?-->\s*", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{identity}-", text)
    for colour, role in _ROLES.items():
        text = re.sub(rf"(?<=: ){colour}", f"var(--{role}, {colour})", text, flags=re.IGNORECASE)
    name = html.escape(f"{comparison.quality_title} against {x.title.lower()}: {comparison.title}")
    box = re.findall(r'viewBox="[^"]*"', text)[0]
    return f'<svg {box} role="img" aria-label="{name}">' + text[text.index(">") + 1 :].strip()


def _render(drawn: list[Comparison], looks: dict[str, _Look], x: _Axis, **options: Any) -> bytes:
    """The figure with a panel for each comparison, as ``Figure.savefig`` writes it."""
    with style_context(["default", style()]):
        figure = _figure(len(drawn), looks)
        for axes, comparison in zip(_panels(figure, len(drawn)), drawn, strict=True):
            _draw(axes, comparison, looks, x.column, x.title)
        _legend(figure, looks, drawn)
        content = io.BytesIO()
        figure.savefig(content, **options)
    return content.getvalue()


def style() -> dict[str, object]:
    """What all plots look like, as matplotlib's settings."""
    return {
        "axes.edgecolor": FAINT_INK,
        "axes.grid": True,
        "axes.labelcolor": INK,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlelocation": "left",
        "font.family": "DejaVu Sans",
        "font.size": 10,
        "grid.color": _GRID,
        "grid.linewidth": 0.8,
        "svg.hashsalt": "prunebench",
        "text.color": INK,
        "xtick.color": INK,
        "ytick.color": INK,
    }


def _looks(names: list[str]) -> dict[str, _Look]:
    """Colours for the methods and grey for the random baselines."""
    markers, baseline_markers = cycle(MARKERS), cycle(_BASELINE_MARKERS)
    colours = cycle(COLOURS)
    looks = {}
    for name in names:
        if "Random" in name:
            looks[name] = _Look(_BASELINE_COLOUR, next(baseline_markers), "-")
        else:
            repeated = sum(look.colour != _BASELINE_COLOUR for look in looks.values())
            line = ("-", "-.", ":")[repeated // len(COLOURS) % 3]
            looks[name] = _Look(next(colours), next(markers), line)
    return looks


def _figure(panels: int, looks: dict[str, _Look]) -> Figure:
    across = min(panels, _PANELS_ABREAST)
    down = math.ceil(panels / _PANELS_ABREAST)
    legend_lines = math.ceil((len(looks) + 1) / _legend_columns(looks)) + 2
    width, height = _PANEL_INCHES
    return Figure(
        figsize=(across * width, down * height + legend_lines * _LEGEND_LINE_INCHES),
        dpi=DOTS_PER_INCH,
        layout="constrained",
    )


def _panels(figure: Figure, count: int) -> Iterator[Axes]:
    across = min(count, _PANELS_ABREAST)
    down = math.ceil(count / _PANELS_ABREAST)
    return (figure.add_subplot(down, across, position + 1) for position in range(count))


def _draw(
    axes: Axes, comparison: Comparison, looks: dict[str, _Look], x: str, x_title: str
) -> None:
    mean, std = f"{comparison.quality}_mean", f"{comparison.quality}_std"
    axes.set_xscale("log", base=2)
    axes.axhline(_drawable(comparison, comparison.dense), **_DENSE_LINE)
    for name, rows in comparison.methods():
        look = looks[name]
        spread = rows[std].fillna(0)
        below, middle, above = (
            [_drawable(comparison, value) for value in values]
            for values in (rows[mean] - spread, rows[mean], rows[mean] + spread)
        )
        axes.fill_between(rows[x], below, above, color=look.colour, alpha=0.16, lw=0)
        axes.plot(
            rows[x],
            middle,
            color=look.colour,
            marker=look.marker,
            ls=look.line,
            zorder=2.5 if look.colour == _BASELINE_COLOUR else 3,
            **LINE,
        )
    points = _points(comparison, x)
    _scale_x(axes, points[x].tolist())
    _scale_y(
        axes,
        comparison,
        [_drawable(comparison, value) for value in (comparison.dense, *points[mean])],
    )
    axes.set_xlabel(x_title)
    direction = "" if comparison.higher_is_better else ", lower is better"
    axes.set_ylabel(comparison.quality_title + direction)
    title = fill(comparison.title, _TITLE_CHARACTERS)
    conditions = fill(comparison.conditions, _CONDITIONS_CHARACTERS)
    pad = 10 + 12 * len(conditions.splitlines())
    axes.set_title(literal(title), fontsize=12, fontweight="bold", pad=pad)
    axes.annotate(
        literal(conditions),
        xy=(0, 1),
        xytext=(0, 8),
        xycoords="axes fraction",
        textcoords="offset points",
        color=FAINT_INK,
        fontsize=8.5,
    )


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, the same bytes for the same figure.

    Raises:
        OSError: the file could not be written; an earlier one is as it was.
    """
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None})
    write_atomically(path, content.getvalue())


def literal(text: str) -> str:
    """Text that matplotlib is not to read as mathematics."""
    return text.replace("$", r"\$")


def _points(comparison: Comparison, x: str) -> pd.DataFrame:
    """The rows that have a place in the panel; a line breaks where one has none."""
    if not comparison.quality:
        return comparison.rows.iloc[:0]
    return comparison.rows.dropna(subset=[x, f"{comparison.quality}_mean"])


def _drawable(comparison: Comparison, value: float) -> float:
    """A fraction moved off 0 and 1, which a logit scale cannot show."""
    low, high = _FRACTION_LIMITS
    return min(max(value, low), high) if comparison.is_fraction else value


def _scale_x(axes: Axes, values: list[float]) -> None:
    """Powers of two as ticks, written 1×, 2×, 4×, …"""
    first = math.floor(math.log2(min(values)) + 0.01)
    last = max(math.ceil(math.log2(max(values)) - 0.01), first + 1)
    step = math.ceil((last - first + 1) / _MOST_X_TICKS)
    axes.xaxis.set_major_locator(FixedLocator([2.0**n for n in range(first, last + 1, step)]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
    axes.set_xlim(min(*values, 2.0**first) * 0.93, max(*values, 2.0 ** (last - 1)) * 1.08)


def _scale_y(axes: Axes, comparison: Comparison, values: list[float]) -> None:
    """A logit scale for fractions, a logarithmic one for what grows as networks get worse."""
    finite = [value for value in values if math.isfinite(value)]
    if comparison.is_fraction:
        axes.set_yscale("logit")
    elif min(finite) > 0 and not comparison.higher_is_better:
        axes.set_yscale("log")
    transform = axes.yaxis.get_transform()
    low, high = (float(transform.transform([value])[0]) for value in (min(finite), max(finite)))
    margin = 0.07 * (high - low) or 0.1
    low, high = low - margin, high + margin
    axes.set_ylim(*(float(transform.inverted().transform([value])[0]) for value in (low, high)))
    if comparison.is_fraction:
        ticks: list[float] = []
        heights: list[float] = []
        for tick in _PERCENT_TICKS:
            height = (float(transform.transform([tick / 100])[0]) - low) / (high - low)
            if 0 <= height <= 1 and (not heights or height - heights[-1] >= _LEAST_TICK_DISTANCE):
                ticks.append(tick / 100)
                heights.append(height)
        axes.yaxis.set_major_locator(FixedLocator(ticks))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}"))


def _legend(figure: Figure, looks: dict[str, _Look], drawn: list[Comparison]) -> None:
    handles = [
        Line2D([], [], **LINE, color=look.colour, marker=look.marker, ls=look.line)
        for look in looks.values()
    ]
    caption = "Lines: mean over seeds.  Bands: ± 1 standard deviation."
    if any(comparison.is_fraction for comparison in drawn):
        caption += "  Accuracy on a logit scale."
    figure.legend(
        [*handles, Line2D([], [], **_DENSE_LINE)],
        [*map(_legend_name, looks), "unpruned network"],
        loc="outside lower left",
        ncols=_legend_columns(looks),
        frameon=False,
        fontsize=9,
        title=caption,
        title_fontproperties={"size": 8.5},
        alignment="left",
    ).get_title().set_color(FAINT_INK)


def _legend_columns(looks: dict[str, _Look]) -> int:
    """As many as the longest name lets stand side by side."""
    longest = max(map(len, looks))
    return max(1, min(_LEGEND_CHARACTERS // (longest + 1), _MOST_LEGEND_COLUMNS))


def _legend_name(name: str) -> str:
    """A strategy's name, cut off where it is wider than the figure."""
    if len(name) > _LEGEND_CHARACTERS:
        name = name[: _LEGEND_CHARACTERS - 1] + "…"
    return literal(name)
