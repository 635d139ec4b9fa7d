"""The plot of a suite's performance profile."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ..drawing import COLOURS, DOTS_PER_INCH, in_our_style, literal, save_figure
from .score import Score

_MOST_POINTS = 30
_NAMED = 12
_LINES = ("-", "--", ":", "-.")


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
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)
    return figure
