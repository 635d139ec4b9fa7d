"""The files that are made of a suite's score."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from .plots import plot_curves, plot_profile, plot_ranks
from .score import Score


def score_tables(found: Score) -> dict[str, pd.DataFrame]:
    """The tables of methods, of tasks and of single runs, by the names of their files."""
    return {
        "methods.csv": found.by_method,
        "tasks.csv": found.by_task,
        "suite-runs.csv": found.runs,
    }


def draw_score(found: Score, folder: Path) -> list[Path]:
    """Write the plots of a score into a folder, and return the files.

    Raises:
        OSError: a file could not be written.
    """
    plots = {
        "ranks.png": plot_ranks,
        "curves.png": plot_curves,
        "performance-profile.png": plot_profile,
    }
    for name, plot in plots.items():
        plot(found, folder / name)
    return [folder / name for name in plots]
