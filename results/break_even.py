"""What break-even measurements say: the sparsity from which on pruning pays, and a plot."""

from __future__ import annotations

import math
from pathlib import Path
from textwrap import fill
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from ..errors import UsageError
from .drawing import (
    COLOURS,
    DOTS_PER_INCH,
    FAINT_INK,
    INK,
    LINE,
    MARKERS,
    in_our_style,
    literal,
    save_figure,
)
from .inference import machine_titles, row_title
from .targets import SPEEDUP

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
    "speedup": "The dense network's time in the same runtime / this one's. For `SparseCSR`, "
    "`SparseBSR` and `SparseDirect` the dense network runs in `Eager`.",
    "speedup_low": "Lower end of its 95 % confidence interval.",
    "speedup_high": "Upper end of the same.",
    "speedup_over_eager": "The dense network's time in `Eager` / this one's.",
    "speedup_over_eager_low": "Lower end of its 95 % confidence interval.",
    "speedup_over_eager_high": "Upper end of the same.",
    "control": "The dense network's time / that of an identical copy, by the same protocol in the "
    "same turns, where 1 is the truth.",
    "control_low": "Lower end of its 95 % confidence interval.",
    "control_high": "Upper end of the same.",
    "load": "Share of the processor that other processes took meanwhile.",
    "doubt": "Why the speedups cannot be believed, so that they say nothing; empty where they can.",
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
_BAND = ("speedup", "speedup_low", "speedup_high")
_UNSURE: dict[str, Any] = {"s": 36, "facecolors": "none", "alpha": 0.4}


def break_even_sentences(frame: pd.DataFrame) -> list[str]:
    """For each runtime, kind and batch size the sparsity from which on it pays, in words.

    That is where the line through the measured speedups, logarithms against sparsity, passes 1 for
    good, if it comes to :data:`NOTICEABLE` after that, and the interval there is above 1. There is
    no verdict if any of the measurements is in doubt.
    """
    # As it is made, as it is read from CSV, and from CSV that is older than some of the columns.
    frame = frame.reindex(columns=list(BREAK_EVEN_COLUMNS)).astype({"doubt": object})
    frame = frame.fillna({"doubt": ""})
    keys = ["network_title", "kind", "batch_size", "runtime", "network"]
    pruned = frame[frame["network"] != "dense"]
    return [
        f"{title}, {kind} pruned, batch of {batch}, {runtime} {network}: {_verdict(rows)}"
        for (title, kind, batch, runtime, network), rows in pruned.groupby(keys, sort=False)
    ]


def _verdict(rows: pd.DataFrame) -> str:
    measured = rows.dropna(subset=["speedup"]).sort_values("sparsity")
    if measured.empty:
        return f"not measured ({rows['reason'].iloc[0]})"
    doubted = measured[measured["doubt"] != ""]
    if not doubted.empty:
        at = ", ".join(f"{100 * sparsity:.4g} %" for sparsity in doubted["sparsity"])
        return f"no verdict; at {at} {doubted['doubt'].iloc[0]}"
    old = "" if measured["control"].notna().all() else ", measured without a control"
    speedups = measured["speedup"].tolist()
    worst, best = measured.iloc[int(measured["speedup"].to_numpy().argmin())], _best(measured)
    sparsity = crossing(measured["sparsity"].tolist(), speedups)
    beyond = measured[measured["sparsity"] >= (0 if sparsity is None else sparsity)]
    if sparsity is None or beyond["speedup"].max() < NOTICEABLE:
        return f"does not pay; {_with_interval(worst)} to {_with_interval(best)}{old}"
    best = _best(beyond)
    at = f"{_with_interval(best)} at {100 * best['sparsity']:.4g} %{old}"
    if best["speedup_low"] <= 1:
        return f"may pay; {at}"
    always = sparsity == measured["sparsity"].iloc[0]
    return f"pays {'at all measured' if always else f'from {100 * sparsity:.0f} % on'}; {at}"


def _best(rows: pd.DataFrame) -> pd.Series[Any]:
    return rows.iloc[int(rows["speedup"].to_numpy().argmax())]


def _with_interval(row: pd.Series[Any]) -> str:
    return f"{row['speedup']:.2f}× ({row['speedup_low']:.2f}–{row['speedup_high']:.2f})"


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
    What is in doubt is drawn hollow and faint, and no line leads there.

    Raises:
        OSError: the file could not be written.
    """
    _write_panels(_panels(frame, "kind"), "sparsity", Path(path))


def plot_inference(frame: pd.DataFrame, path: str | Path) -> None:
    """Write a PNG of the measured against the theoretical speedup of finished runs.

    ``frame`` is that of :func:`.inference.inference_table`; a panel for each comparison, machine
    and batch size, a line for each strategy in each runtime.

    Raises:
        UsageError: no run has counted FLOPs, so there is nothing to draw against.
        OSError: the file could not be written.
    """
    frame = frame.dropna(subset=["theoretical_speedup"])
    if frame.empty:
        raise UsageError("there is nothing to draw times against: no run has measured its Flops")
    title = frame.apply(row_title, axis="columns")
    if "passes" in frame:
        title = title.where(frame["passes"].isna(), title + ", whole passes")
    machine = machine_titles(frame)
    title = title.where(machine == "", title + " · " + machine)
    frame = frame.assign(network_title=title)
    _write_panels(_panels(frame, "strategy"), "theoretical_speedup", Path(path))


class _Panel(NamedTuple):
    """A network at a batch size, and ``what`` was pruned of it, or by what."""

    title: str
    what: str
    batch: int
    rows: pd.DataFrame


def _panels(frame: pd.DataFrame, what: str) -> list[_Panel]:
    groups = frame.groupby(["network_title", what, "batch_size"], sort=False)
    return [
        _Panel(
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
            for panel in panels
            for place in zip(panel.rows["runtime"], panel.rows["network"], strict=True)
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
        shared: Axes | None = None  # panels side by side are compared by eye
        for position, panel in enumerate(panels, start=1):
            shared = figure.add_subplot(down, across, position, sharey=shared)
            _draw_panel(shared, panel, places, x)
        handles, labels = [], []
        for axes in figure.axes:
            for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
                if label not in labels:
                    handles.append(handle)
                    labels.append(label)
        figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
        save_figure(figure, path)


def _draw_panel(axes: Axes, panel: _Panel, places: list[tuple[str, str]], x: str) -> None:
    measured = panel.rows.dropna(subset=["speedup"]).sort_values(x)
    pruned = measured[measured["network"] != "dense"]
    doubts = pruned.get("doubt", pd.Series("", index=pruned.index))
    doubted = doubts.notna() & (doubts != "")
    axes.set_yscale("log", base=2)
    axes.axhline(1, color=INK, lw=1.0)
    theory = panel.rows[panel.rows["network"] != "dense"].sort_values(x)
    alone = "." if theory[x].nunique() == 1 else ""  # a point, of which a line shows nothing
    axes.plot(
        theory[x],
        theory["theoretical_speedup"],
        alone + ":",
        lw=1.6,
        color=FAINT_INK,
        label="theory",
    )
    for index, (runtime, network) in enumerate(places):
        line = pruned[(pruned["runtime"] == runtime) & (pruned["network"] == network)]
        if line.empty:
            continue
        colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
        unsure = line[doubted[line.index]]
        # A line breaks where a value is missing.
        sure = line.assign(**{name: line[name].mask(doubted[line.index]) for name in _BAND})
        axes.fill_between(
            line[x], sure["speedup_low"], sure["speedup_high"], color=colour, alpha=0.16, lw=0
        )
        label = f"{runtime}, {network}"
        axes.plot(line[x], sure["speedup"], color=colour, marker=marker, label=label, **LINE)
        axes.scatter(unsure[x], unsure["speedup"], marker=marker, **_UNSURE, edgecolors=colour)
    examples = "1 example" if panel.batch == 1 else f"{panel.batch} examples"
    subtitle = f"{examples} in a batch"
    if doubted.any():
        subtitle += f" · hollow: no verdict, {int(doubted.sum())} of {len(pruned)} are in doubt"
    if x != "sparsity":
        subtitle = f"{panel.what} · {subtitle}"
    _label(axes, panel, x, subtitle)


def _label(axes: Axes, panel: _Panel, x: str, subtitle: str) -> None:
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    if x == "sparsity":
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
        axes.set_xlabel(f"Sparsity ({panel.what})")
    else:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
        axes.set_xlabel(SPEEDUP.axis)
    axes.set_ylabel("Measured speedup")
    title = literal(fill(panel.title, _TITLE_CHARACTERS))
    axes.set_title(title, fontsize=11, fontweight="bold", pad=20)
    axes.annotate(
        literal(subtitle),
        xy=(0, 1),
        xytext=(0, 7),
        xycoords="axes fraction",
        textcoords="offset points",
        color=FAINT_INK,
        fontsize=8.5,
    )
