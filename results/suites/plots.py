"""The plots of a suite's score: ranks over all tasks, curves of each, the performance profile."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..drawing import (
    COLOURS,
    DOTS_PER_INCH,
    FAINT_INK,
    GRID,
    INK,
    in_our_style,
    literal,
    save_figure,
)
from .levels import INT8, NARROWER
from .score import Score

_MOST_POINTS = 30
_NAMED = 12
_LINES = ("-", "--", ":", "-.")
_ROW_INCHES = 0.22
_COLUMNS, _BEST = 4, 6
_LETTERS_OF_A_LEGEND = 130
_FAINT: dict[str, Any] = {
    "color": "#C9C9C9",
    "lw": 0.9,
    "zorder": 1.8,
}  # above the grid, which is at 1.5
_NAMED_LINE: dict[str, Any] = {"lw": 1.7, "zorder": 2}
_INT8_MARK: dict[str, Any] = {"color": INK, "marker": "s", "ms": 5, "ls": "", "zorder": 3}
_BASELINES: dict[str, dict[str, Any]] = {
    NARROWER: {"color": INK, "ls": "--"},
    "GlobalMagnitude": {"color": INK, "ls": ":"},
    "Random": {"color": FAINT_INK, "ls": "-."},
}


def plot_ranks(found: Score, path: Path) -> None:
    """Write the mean rank of each method with its interval, and the ranks that it may have.

    Raises:
        OSError: the file could not be written.
    """
    save_figure(ranks_figure(found), path)


def ranks_figure(found: Score) -> Figure:
    """The figure that :func:`plot_ranks` writes."""
    count = len(found.methods)
    rows = np.arange(count)
    best, worst = zip(*found.places(), strict=True)
    with in_our_style():
        figure = Figure(
            figsize=(7.4, 1.1 + _ROW_INCHES * count), dpi=DOTS_PER_INCH, layout="constrained"
        )
        axes = figure.add_subplot()
        axes.hlines(rows, best, worst, color=GRID, lw=7, label="ranks that it may have")
        axes.hlines(
            rows, found.ranks.low, found.ranks.high, color=COLOURS[0], lw=1.6,
            label="95 % of the mean rank",
        )  # fmt: skip
        axes.plot(found.ranks.means, rows, "o", color=COLOURS[0], ms=5, label="mean rank")
        axes.set_yticks(rows, [literal(name) for name in found.methods], fontsize=8.5)
        axes.set_ylim(count - 0.4, -0.6)
        axes.set_xlim(0.5, count + 0.5)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(f"Rank by area over {len(found.tasks)} tasks; 1 is the best")
        axes.legend(loc="upper right", fontsize=8, labelcolor=FAINT_INK)
    return figure


def plot_curves(found: Score, path: Path) -> None:
    """Write the curves of level against compression, a panel for each task.

    The best six and what every table has are named; all others are thin lines.

    Raises:
        OSError: the file could not be written.
    """
    save_figure(curves_figure(found), path)


def curves_figure(found: Score) -> Figure:
    """The figure that :func:`plot_curves` writes."""
    means = found.runs.groupby(["task", "method", "point"])["level"].mean()
    named = {
        name: _NAMED_LINE | {"color": COLOURS[place]}
        for place, name in enumerate(found.methods[:_BEST])
    }
    named |= {name: _NAMED_LINE | _BASELINES[name] for name in found.methods if name in _BASELINES}
    rows = math.ceil(len(found.tasks) / _COLUMNS)
    with in_our_style():
        figure = Figure(figsize=(11, 0.6 + 2.7 * rows), dpi=DOTS_PER_INCH, layout="constrained")
        panels = figure.subplots(rows, _COLUMNS, squeeze=False).flat
        for task, axes in zip(found.tasks, panels, strict=False):
            for name in sorted(found.methods, key=lambda each: each in named):
                curve = 100 * means[task, name]
                axes.plot(curve.index, curve, **_FAINT | named.get(name, {}))
            if (task, INT8) in means:
                rounded = found.runs.query("task == @task and method == @INT8")
                axes.plot(rounded["point"].mean(), 100 * rounded["level"].mean(), **_INT8_MARK)
            axes.set_title(task, fontsize=9.5)
            axes.set_xscale("log", base=2)
            axes.set_xticks(list(curve.index), [f"{point:g}×" for point in curve.index])
            axes.minorticks_off()
            axes.set_ylim(-2, 106)
            if task in found.tasks[-_COLUMNS:]:  # the lowest panel of each column
                axes.set_xlabel("Compression", fontsize=9)
        for axes in panels:
            axes.set_visible(False)
        handles = [Line2D([], [], label=literal(name), **_FAINT | named[name]) for name in named]
        handles.append(Line2D([], [], label="others", **_FAINT))
        if INT8 in set(found.runs["method"]):
            handles.append(Line2D([], [], label=f"{INT8}, at as many bytes", **_INT8_MARK))
        longest = max(len(str(handle.get_label())) for handle in handles)
        columns = max(1, min(5, _LETTERS_OF_A_LEGEND // longest))
        figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=8.5)
        figure.supylabel("Level: 100 is the dense network, 0 one that knows nothing", fontsize=9)
    return figure


def plot_profile(found: Score, path: Path) -> None:
    """Write the performance profile: in how many tasks a method is how near to the best of all.

    The best twelve are drawn.

    Raises:
        OSError: the file could not be written.
    """
    save_figure(profile_figure(found), path)


def profile_figure(found: Score) -> Figure:
    """The figure that :func:`plot_profile` writes."""
    gaps = np.linspace(0, _MOST_POINTS, 301)
    shares = found.profile(gaps / 100)
    with in_our_style():
        figure = Figure(figsize=(7.4, 4.2), dpi=DOTS_PER_INCH, layout="constrained")
        axes = figure.add_subplot()
        for place, name in enumerate(found.methods[:_NAMED]):
            axes.step(
                gaps,
                100 * shares[place],
                where="post",
                color=COLOURS[place % len(COLOURS)],
                linestyle=_LINES[place // len(COLOURS) % len(_LINES)],
                label=literal(name),
            )
        axes.set_xlim(0, _MOST_POINTS)
        axes.set_ylim(0, 104)
        axes.set_xlabel("Points of area behind the best method of the task")
        axes.set_ylabel(f"Tasks, of {len(found.tasks)} (%)")
        axes.legend(
            loc="center left",
            bbox_to_anchor=(1, 0.5),
            fontsize=8,
            title="from the best mean rank on",
            title_fontsize=8,
        )
    return figure
