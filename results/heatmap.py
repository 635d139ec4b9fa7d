"""Heat maps of the weights that a run has kept."""

from __future__ import annotations

import math
from pathlib import Path
from textwrap import fill

import pandas as pd
from matplotlib.figure import Figure

from .drawing import DOTS_PER_INCH, FAINT_INK, in_our_style, literal, save_figure

HEATMAP_COLUMNS: dict[str, str] = {
    "weight": "Name of the weight, as in the network.",
    "weight_class": "Class of weights to which it belongs.",
    "first_row": "First output of the block; of a weight that is stored with its inputs first, as "
    "that of a transposed convolution or GPT-2's Conv1D, the first input.",
    "first_column": "First input of the block (of a kernel: input channel and position), or "
    "output.",
    "block_rows": "Outputs in the block, or inputs.",
    "block_columns": "Inputs in the block, or outputs.",
    "kept": "Fraction of the block's weights that are not zero.",
}
"""Column → definition, in the order of the table."""

_PANELS_ABREAST = 4
_PANEL_INCHES = 3.1


def plot_heatmaps(frame: pd.DataFrame, title: str, path: str | Path) -> None:
    """Write a PNG with a heat map for each weight of the table of kept blocks.

    Raises:
        OSError: the file could not be written.
    """
    weights = list(frame.groupby("weight", sort=False))
    most = float(frame["kept"].max()) or 1.0
    across = min(len(weights), _PANELS_ABREAST)
    down = math.ceil(len(weights) / across)
    with in_our_style():
        figure = Figure(
            figsize=(across * _PANEL_INCHES + 0.6, down * _PANEL_INCHES + 0.4),
            dpi=DOTS_PER_INCH,
            layout="constrained",
        )
        figure.suptitle(literal(fill(title, 90)), fontsize=11, fontweight="bold")
        figure.supxlabel("Column of the weight, usually an input", fontsize=9)
        figure.supylabel("Row of the weight, usually an output", fontsize=9)
        drawn = []
        for place, (name, blocks) in enumerate(weights, start=1):
            axes = figure.add_subplot(down, across, place)
            grid = blocks.pivot(index="first_row", columns="first_column", values="kept")
            bottom = float((blocks["first_row"] + blocks["block_rows"]).max())
            right = float((blocks["first_column"] + blocks["block_columns"]).max())
            image = axes.imshow(
                grid,
                cmap="viridis",
                vmin=0,
                vmax=most,
                aspect="auto",
                interpolation="nearest",
                extent=(0.0, right, bottom, 0.0),
            )
            axes.set_title(literal(f"{name}, {100 * _share(blocks):.0f} % kept"), fontsize=7.5)
            axes.tick_params(labelsize=6.5, colors=FAINT_INK)
            axes.grid(visible=False)
            drawn.append(axes)
        figure.colorbar(image, ax=drawn, label="fraction kept", shrink=0.8)
        save_figure(figure, Path(path))


def _share(blocks: pd.DataFrame) -> float:
    sizes = blocks["block_rows"] * blocks["block_columns"]
    return float((blocks["kept"] * sizes).sum() / sizes.sum())
