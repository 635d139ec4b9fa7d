"""The critical-difference diagram (Demšar 2006): mean ranks over tasks, and what they cannot tell.

Strategies stand at their mean rank, the best on the left. A bar joins those that Nemenyi's test
cannot tell apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .drawing import (
    COLOURS,
    DOTS_PER_INCH,
    FAINT_INK,
    INK,
    in_our_style,
    literal,
    save_figure,
    wrapped,
)
from .statistics.tasks import MeanRanks

_WIDTH_INCHES = 7.4
_LINE_INCHES = 0.3
_AROUND_INCHES = 1.0
_NAME_CHARACTERS = 30
_BAR_STEP = 0.32
_BESIDE = 0.03


def plot_critical_difference(names: Sequence[str], ranks: MeanRanks, path: Path) -> None:
    """Write the diagram, in the format that the ending of ``path`` says.

    Args:
        names: what the strategies are called.
        ranks: their mean ranks, in the same order.
        path: the file.

    Raises:
        OSError: the file could not be written.
    """
    save_figure(critical_difference_figure(names, ranks), path)


def critical_difference_figure(names: Sequence[str], ranks: MeanRanks) -> Figure:
    """The figure that :func:`plot_critical_difference` writes."""
    rows = (len(names) + 1) // 2
    bars = len(ranks.groups())
    below = bars * _BAR_STEP + 0.5
    with in_our_style():
        inches = _AROUND_INCHES + _LINE_INCHES * (rows + below)
        figure = Figure(figsize=(_WIDTH_INCHES, inches), dpi=DOTS_PER_INCH, layout="constrained")
        axes = figure.add_subplot()
        _scale(axes, len(names), ranks)
        axes.set_ylim(0.5 - rows - below, 1)
        for place, group in enumerate(ranks.groups(), 1):
            ends = [ranks.means[i] for i in group]
            height = -place * _BAR_STEP
            axes.plot(
                [min(ends), max(ends)], [height, height], color=INK, lw=4, solid_capstyle="round"
            )
        _name(axes, names, ranks, below)
    return figure


def _scale(axes: Axes, count: int, ranks: MeanRanks) -> None:
    """The axis of ranks along the top, and the critical difference above it."""
    axes.set_xlim(1 - _BESIDE * count, count + _BESIDE * count)
    axes.grid(visible=False)
    axes.set_yticks([])
    axes.xaxis.set_ticks_position("top")
    axes.xaxis.set_label_position("top")
    axes.set_xticks(range(1, count + 1))
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.spines["top"].set_visible(True)
    axes.spines["top"].set_bounds(1, count)
    axes.set_xlabel(
        f"Mean rank over {ranks.tasks} comparisons; a bar joins those that cannot be told apart\n"
        f"(critical difference {ranks.critical_difference:.2f})",
        fontsize=9,
    )
    width = min(ranks.critical_difference, count - 1)
    axes.plot([1, 1 + width], [0.6, 0.6], color=FAINT_INK, lw=1.5, marker="|", ms=8)


def _name(axes: Axes, names: Sequence[str], ranks: MeanRanks, below: float) -> None:
    """A name for each strategy at the nearer side, and a line from it to its rank."""
    order = sorted(range(len(names)), key=lambda i: ranks.means[i])
    half = (len(names) + 1) // 2
    left, right = axes.get_xlim()
    for place, i in enumerate(order):
        is_left = place < half
        row = place if is_left else len(order) - 1 - place
        height, edge = -(below + row), left if is_left else right
        colour = COLOURS[place % len(COLOURS)]
        axes.plot([ranks.means[i], ranks.means[i], edge], [0, height, height], color=colour, lw=1.1)
        axes.plot([ranks.means[i]], [0], color=colour, marker="o", ms=5, clip_on=False)
        axes.annotate(
            f"{literal(wrapped(names[i], _NAME_CHARACTERS))}  {ranks.means[i]:.2f}",
            (edge, height),
            xytext=(-4 if is_left else 4, 0),
            textcoords="offset points",
            ha="right" if is_left else "left",
            va="center",
            fontsize=9,
        )
