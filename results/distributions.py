"""How the weights of a run are distributed: dense, straight after pruning, and at the end."""

from __future__ import annotations

import math
from pathlib import Path
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ..errors import UsageError
from .drawing import COLOURS, DOTS_PER_INCH, in_our_style, literal, save_figure
from .record import Record

DISTRIBUTION_COLUMNS: dict[str, str] = {
    "weight": "Name of the weight, as in the network.",
    "low": "Lower end of the bin.",
    "high": "Upper end of the bin.",
    "dense": "Weights of the unpruned network in the bin that are not zero.",
    "pruned": "The same straight after the last pruning; empty where that took place during a "
    "training.",
    "recovered": "The same at the end.",
}
"""Column → definition, in the order of the table."""

_PANELS_ABREAST = 3
_PANEL_INCHES = (4.4, 3.1)
_DENSE_COLOUR = "#C9C9C9"
_LEAST_IN_A_BIN = 4
_MOST_MERGED = 4


def distributions(record: Record) -> pd.DataFrame:
    """A row for each bin of each prunable weight's histogram.

    Raises:
        UsageError: the record has none.
    """
    if not record.distributions:
        raise UsageError(
            f"the record {record.id} has no distributions of weights: it is of an earlier version, "
            "or failed; run it again with --force"
        )
    rows = []
    for each in record.distributions:
        edges = np.linspace(-each.limit, each.limit, len(each.recovered) + 1)
        missing = (math.nan,) * len(each.recovered)
        columns = (each.dense or missing, each.pruned or missing, each.recovered)
        rows += [
            dict(zip(DISTRIBUTION_COLUMNS, (each.name, *bin_), strict=True))
            for bin_ in zip(edges[:-1], edges[1:], *columns, strict=True)
        ]
    return pd.DataFrame(rows)


def plot_distributions(frame: pd.DataFrame, title: str, path: str | Path) -> None:
    """Write a PNG of the table of :func:`distributions`, a panel for each weight.

    Counts are on a logarithmic scale, so that the few weights that stay show beside the many that
    there were.

    Raises:
        OSError: the file could not be written.
    """
    weights = list(frame.groupby("weight", sort=False))
    across = min(len(weights), _PANELS_ABREAST)
    down = math.ceil(len(weights) / across)
    width, height = _PANEL_INCHES
    lines = {"pruned": (COLOURS[1], "-"), "recovered": (COLOURS[0], (0, (4, 1.5)))}
    with in_our_style():
        figure = Figure(
            figsize=(across * width, down * height + 0.9), dpi=DOTS_PER_INCH, layout="constrained"
        )
        figure.suptitle(literal(fill(title, 40 * across)), fontsize=11, fontweight="bold")
        for place, (name, rows) in enumerate(weights, start=1):
            axes = figure.add_subplot(down, across, place)
            rows = _merged(rows)
            edges = [*rows["low"], rows["high"].iloc[-1]]
            axes.stairs(rows["dense"], edges, fill=True, color=_DENSE_COLOUR)
            for column, (colour, dashes) in lines.items():
                axes.stairs(rows[column], edges, color=colour, ls=dashes, lw=1.6, baseline=None)
            axes.set_yscale("symlog", linthresh=1)
            axes.set_ylim(bottom=0)
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
            axes.set_title(literal(fill(str(name), 44)), fontsize=9)
            axes.set_xlabel("Weight")
            axes.set_ylabel("Weights in the bin")
        outlines = [Line2D([], [], color=c, ls=d, lw=1.6) for c, d in lines.values()]
        handles: list[Artist] = [Patch(color=_DENSE_COLOUR), *outlines]
        names = ["unpruned", "straight after the last pruning", "at the end"]
        figure.legend(handles, names, loc="outside lower left", ncols=3, frameon=False)
        save_figure(figure, Path(path))


def _merged(rows: pd.DataFrame) -> pd.DataFrame:
    """The bins of a weight, neighbours merged where few weights would make a ragged outline."""
    together = 1
    while together < _MOST_MERGED and (
        rows["recovered"].sum() * together < _LEAST_IN_A_BIN * len(rows)
    ):
        together *= 2
    groups = rows.groupby(np.arange(len(rows)) // together)
    counts = groups[["dense", "pruned", "recovered"]].sum(min_count=1)
    return counts.assign(low=groups["low"].min(), high=groups["high"].max())
