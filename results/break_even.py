"""What break-even measurements say: the sparsity from which on pruning pays, and a plot."""

from __future__ import annotations

import math
from pathlib import Path
from textwrap import fill

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from .drawing import (
    COLOURS,
    DOTS_PER_INCH,
    FAINT_INK,
    INK,
    LINE,
    MARKERS,
    in_our_style,
    literal,
    save_png,
)
from .inference import row_title

BREAK_EVEN_COLUMNS: dict[str, str] = {
    "network_title": "The layer or network.",
    "kind": "What was removed: `weights`, which are zero, or `channels`.",
    "sparsity": "Fraction of the weights, or of the channels, of each layer.",
    "batch_size": "Examples in a forward pass.",
    "runtime": "What runs the network.",
    "network": "Which network it is: `dense`, `masked` (with its zeros) or `shrunk` (without the "
    "channels that are gone).",
    "theoretical_speedup": "FLOPs of the dense network per FLOP that is left.",
    "median_ms": "Milliseconds of a forward pass, median. Empty where there is a reason.",
    "iqr_ms": "Interquartile range of the same.",
    "repeats": "Samples taken.",
    "speedup": "The dense network's time in the same runtime / this one's. For `SparseCSR` the "
    "dense network runs in `Eager`.",
    "speedup_low": "Lower end of its 95 % confidence interval.",
    "speedup_high": "Upper end of the same.",
    "speedup_over_eager": "The dense network's time in `Eager` / this one's.",
    "peak_bytes": "Memory at the peak of a forward pass; known in `Eager` only.",
    "memory_format": "Order of images in memory.",
    "threads": "CPU threads.",
    "processor": "Name of the processor.",
    "reason": "Why there is no time.",
}
"""Column → definition, in the order of the table."""

NOTICEABLE = 1.05
"""The least speedup that counts: less is how far a measurement moves when it is repeated."""

_PANEL_INCHES = (5.6, 4.4)
_TITLE_CHARACTERS = 60


def break_even_sentences(frame: pd.DataFrame) -> list[str]:
    """For each runtime, kind and batch size the sparsity from which on it pays, in words.

    That is where the line through the measured speedups, logarithms against sparsity, passes 1 for
    good, if it comes to :data:`NOTICEABLE` after that.
    """
    sentences = []
    keys = ["network_title", "kind", "batch_size", "runtime", "network"]
    pruned = frame[frame["network"] != "dense"]
    for (title, kind, batch, runtime, network), rows in pruned.groupby(keys, sort=False):
        head = f"{title}, {kind} pruned, batch of {batch}, {runtime} {network}:"
        measured = rows.dropna(subset=["speedup"]).sort_values("sparsity")
        if measured.empty:
            sentences.append(f"{head} not measured ({rows['reason'].iloc[0]})")
            continue
        sparsities, speedups = measured["sparsity"].tolist(), measured["speedup"].tolist()
        sparsity = crossing(sparsities, speedups)
        beyond = [v for s, v in zip(sparsities, speedups, strict=True) if s >= (sparsity or 0)]
        if sparsity is None or max(beyond) < NOTICEABLE:
            sentences.append(f"{head} does not pay; {min(speedups):.2f}× to {max(speedups):.2f}×")
        else:
            best = sparsities[speedups.index(max(speedups))]
            always = sparsity == sparsities[0]
            from_on = f"pays {'at all measured' if always else f'from {100 * sparsity:.0f} % on'}"
            sentences.append(f"{head} {from_on}; {max(speedups):.2f}× at {100 * best:.4g} %")
    return sentences


def crossing(sparsities: list[float], speedups: list[float]) -> float | None:
    """The sparsity at which the speedup passes 1 for good, between those measured.

    The lowest one measured if it is above 1 from there on; None if it is not above 1 at the last.
    """
    if speedups[-1] <= 1:
        return None
    last = max((index for index, speedup in enumerate(speedups) if speedup <= 1), default=None)
    if last is None:
        return sparsities[0]
    below, above = math.log(speedups[last]), math.log(speedups[last + 1])
    share = -below / (above - below)
    return sparsities[last] + share * (sparsities[last + 1] - sparsities[last])


def plot_break_even(frame: pd.DataFrame, path: str | Path) -> None:
    """Write a PNG of the measured speedup against sparsity, a panel for each kind and batch size.

    Dotted is the theoretical speedup, that of the multiply–adds. Bands are confidence intervals.

    Raises:
        OSError: the file could not be written.
    """
    _write_panels(_panels(frame, "kind"), "sparsity", Path(path))


def plot_inference(frame: pd.DataFrame, path: str | Path) -> None:
    """Write a PNG of the measured against the theoretical speedup of finished runs.

    ``frame`` is that of :func:`.inference.inference_table`; a panel for each comparison and batch
    size, a line for each strategy in each runtime.

    Raises:
        OSError: the file could not be written.
    """
    frame = frame.assign(network_title=frame.apply(row_title, axis="columns"))
    _write_panels(_panels(frame, "strategy"), "theoretical_speedup", Path(path))


_Panel = tuple[str, str, int, pd.DataFrame]


def _panels(frame: pd.DataFrame, what: str) -> list[_Panel]:
    """The network, what was pruned or by what, the batch size, and the rows of each panel."""
    groups = frame.groupby(["network_title", what, "batch_size"], sort=False)
    return [
        (
            str(rows["network_title"].iloc[0]),
            str(rows[what].iloc[0]),
            int(rows["batch_size"].iloc[0]),
            rows,
        )
        for _, rows in groups
    ]


def _write_panels(panels: list[_Panel], x: str, path: Path) -> None:
    places = list(
        dict.fromkeys(
            place
            for *_, rows in panels
            for place in zip(rows["runtime"], rows["network"], strict=True)
            if place[1] != "dense"
        )
    )
    across = min(len(panels), 2)
    down = math.ceil(len(panels) / across)
    with in_our_style():
        figure = Figure(
            figsize=(across * _PANEL_INCHES[0], down * _PANEL_INCHES[1] + 0.6),
            dpi=DOTS_PER_INCH,
            layout="constrained",
        )
        for position, panel in enumerate(panels, start=1):
            _draw_panel(figure.add_subplot(down, across, position), panel, places, x)
        handles, labels = [], []
        for axes in figure.axes:
            for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
                if label not in labels:
                    handles.append(handle)
                    labels.append(label)
        figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
        save_png(figure, path)


def _draw_panel(axes: Axes, panel: _Panel, places: list[tuple[str, str]], x: str) -> None:
    title, what, batch, rows = panel
    measured = rows.dropna(subset=["speedup"]).sort_values(x)
    pruned = measured[measured["network"] != "dense"]
    axes.set_yscale("log", base=2)
    axes.axhline(1, color=INK, lw=1.0)
    theory = rows[rows["network"] != "dense"].sort_values(x)
    axes.plot(
        theory[x], theory["theoretical_speedup"], ls=":", lw=1.6, color=FAINT_INK, label="theory"
    )
    for index, (runtime, network) in enumerate(places):
        line = pruned[(pruned["runtime"] == runtime) & (pruned["network"] == network)]
        if line.empty:
            continue
        colour = COLOURS[index % len(COLOURS)]
        axes.fill_between(
            line[x], line["speedup_low"], line["speedup_high"], color=colour, alpha=0.16, lw=0
        )
        axes.plot(
            line[x],
            line["speedup"],
            color=colour,
            marker=MARKERS[index % len(MARKERS)],
            label=f"{runtime}, {network}",
            **LINE,
        )
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    examples = "1 example" if batch == 1 else f"{batch} examples"
    subtitle = f"{examples} in a batch"
    if x == "sparsity":
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
        axes.set_xlabel(f"Sparsity ({what})")
    else:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
        axes.set_xlabel("Theoretical speedup (FLOPs)")
        subtitle = f"{what} · {subtitle}"
    axes.set_ylabel("Measured speedup")
    axes.set_title(literal(fill(title, _TITLE_CHARACTERS)), fontsize=11, fontweight="bold", pad=20)
    axes.annotate(
        literal(subtitle),
        xy=(0, 1),
        xytext=(0, 7),
        xycoords="axes fraction",
        textcoords="offset points",
        color=FAINT_INK,
        fontsize=8.5,
    )
