"""What pruning one class of weights alone changes, as a figure."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .drawing import DOTS_PER_INCH, Look, in_our_style, literal, looks, save_figure
from .qualities import TITLE_COLUMNS, quality_in

SENSITIVITY_COLUMNS: dict[str, str] = {
    "dataset": "Data set, as in the experiment.",
    "model": "Network, as in the experiment.",
    "strategy": "Pruning strategy, which chooses the weights within the class.",
    "seed": "Source of everything random.",
    "weight_class": "The class of weights that was pruned, and no other.",
    "sparsity": "Fraction of the class that was asked for.",
    "weights": "Number of weights in the class.",
    "removed": "Number of them that were pruned.",
    "largest_removed": "Largest absolute value of a pruned weight.",
    "<quality>": "Quality metric on the test set, without any training after pruning.",
    "<quality>_change": "The same minus the unpruned network's.",
    **TITLE_COLUMNS,
}
"""Column → definition, in the order of the table."""


def plot_sensitivity(frame: pd.DataFrame, path: str | Path) -> None:
    """Write a PNG of the change of the primary quality metric for each class of weights.

    A row of panels for each strategy, network and seed: on the left against the fraction of the
    class that was pruned, on the right against its largest pruned weight.

    Raises:
        OSError: the file could not be written.
    """
    change = next(str(name) for name in frame.columns if str(name).endswith("_change"))
    groups = list(frame.groupby(["dataset", "model", "strategy", "seed"], sort=False))
    names = list(dict.fromkeys(frame["weight_class"]))
    known = looks(names)
    with in_our_style():
        figure = Figure(
            figsize=(11.6, 4.4 * len(groups) + 0.9), dpi=DOTS_PER_INCH, layout="constrained"
        )
        for row, ((dataset, model, strategy, seed), rows) in enumerate(groups):
            for column, x in enumerate(("sparsity", "largest_removed")):
                axes = figure.add_subplot(len(groups), 2, 2 * row + column + 1)
                _draw(axes, rows, x, change, known)
                axes.set_title(
                    literal(fill(f"{strategy}, {model} on {dataset}, seed {seed}", 60)),
                    fontsize=10,
                    fontweight="bold",
                )
        figure.legend(
            [Line2D([], [], **look.line()) for look in known.values()],
            [literal(name) for name in names],
            loc="outside lower left",
            ncols=3,
            frameon=False,
            fontsize=8.5,
        )
        save_figure(figure, Path(path))


def _draw(axes: Axes, rows: pd.DataFrame, x: str, change: str, known: dict[str, Look]) -> None:
    quality = quality_in(rows.iloc[0], change.removesuffix("_change"))
    for name, line in rows.groupby("weight_class", sort=False):
        scale = 100 if x == "sparsity" else 1
        axes.plot(scale * line[x], quality.factor * line[change], **known[str(name)].line())
    largest = quality.factor * float(rows[change].abs().max())
    if largest > 0:
        axes.set_yscale("symlog", linthresh=max(largest / 1000, 1e-6))
    axes.set_xlabel(
        "Pruned weights of the class, %" if x == "sparsity" else "Largest pruned weight"
    )
    axes.set_ylabel(literal(f"Change: {quality.heading}"))
