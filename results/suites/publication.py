"""The files that are written of a suite's score."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ..critical_difference import plot_critical_difference
from ..statistics.tasks import LEAST_STRATEGIES, mean_ranks
from ..tables import write_csv
from .plots import plot_profile
from .score import Score


def write_score(found: Score, runs: pd.DataFrame, folder: Path) -> list[Path]:
    """Write the tables of methods, tasks and runs and the plots, and return the files.

    Raises:
        OSError: a file could not be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tables = {"methods": found.by_method, "tasks": found.by_task, "suite-runs": runs}
    paths = [folder / f"{name}.csv" for name in tables]
    for path, table in zip(paths, tables.values(), strict=True):
        write_csv(table, path)
    paths.append(folder / "performance-profile.png")
    plot_profile(found, paths[-1])
    if len(found.methods) >= LEAST_STRATEGIES:
        areas = found.areas.mean(axis=2)
        paths.append(folder / "critical-difference.png")
        plot_critical_difference(found.methods, mean_ranks(areas, [True] * len(areas)), paths[-1])
    return paths
