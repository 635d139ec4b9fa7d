"""Plots of the leaderboard: quality against what was achieved, compression or theoretical speedup.

One panel per comparison, or as a layout says. Accuracies and other fractions are drawn on a logit
scale, which spreads out the percents near 100 where good methods differ and still shows the methods
that have dropped to chance. A comparison at a single target is a sorted row of dots.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure

from ..errors import UsageError
from .charts import Line, Panel, Quantity, chart
from .comparison import Comparison, comparisons, is_random_baseline
from .drawing import FAINT_INK, GRID, INK, PAPER, in_our_style, save_figure
from .layout import (
    Layout,
    Result,
    arrange,
    settings_in_words,
    values_of_seeds,
    way_of_training,
)
from .points import Key
from .scales import PERCENT, TIMES
from .targets import PLOTTED, TargetKind

_ROLES = {INK: "ink", FAINT_INK: "faint", GRID: "grid", PAPER: "paper"}


LAYOUT = Layout(
    panel=("dataset", "model", "initialisation", "pretraining", "training", "conditions"),
    colour=("strategy",),
    line=(),
)
"""A panel for each comparison, and a colour for each strategy."""


_NOTHING = "there is nothing to plot: no run of the leaderboard has a finite result"

MOST_COMPARISONS = 24
"""More than so many comparisons are not drawn: it would take minutes, and nobody could see them."""

MOST_STRATEGIES = 96
"""A page draws no comparison of more strategies: that too would take minutes."""


class Drawn(NamedTuple):
    """The files of plots that were written, and a sentence for each that was not."""

    paths: list[Path]
    left_out: list[str]


def draw_plots(
    frame: pd.DataFrame,
    folder: Path,
    layout: Layout = LAYOUT,
    formats: Sequence[str] = ("png",),
) -> Drawn:
    """Write into a folder a figure for each quantity that quality is drawn against.

    They are called ``quality-vs-compression.png`` and the like, in each of the ``formats``
    (:data:`~prunebench.results.drawing.FIGURE_FORMATS`).

    Raises:
        UsageError: no run of the leaderboard has a finite result, so there is nothing to draw.
        OSError: a file could not be written.
    """
    drawn = Drawn([], [])
    for kind in PLOTTED:
        if frame["seeds"].any() and frame[kind.achieved_column].isna().all():
            quantity = kind.achieved.replace("_", " ")
            drawn.left_out.append(f"no plot against {quantity}: no run has measured it")
            continue
        figure = quality_figure(frame, kind, layout)
        for ending in formats:
            path = folder / f"quality-vs-{kind.name.replace('_', '-')}.{ending}"
            save_figure(figure, path)
            drawn.paths.append(path)
    if not drawn.paths:
        raise UsageError(_NOTHING)
    return drawn


def plot_quality(
    frame: pd.DataFrame, path: str | Path, kind: TargetKind, layout: Layout = LAYOUT
) -> None:
    """Write a figure of quality against what was achieved of a kind of target.

    ``frame`` is a leaderboard. Lines are means over seeds, bands ± one sample standard deviation.

    Raises:
        UsageError: no run of the leaderboard has a finite result, so there is nothing to draw.
        OSError: the file could not be written.
    """
    save_figure(quality_figure(frame, kind, layout), Path(path))


def quality_figure(frame: pd.DataFrame, kind: TargetKind, layout: Layout = LAYOUT) -> Figure:
    """The figure that :func:`plot_quality` writes."""
    everything = comparisons(frame)
    if len(everything) > MOST_COMPARISONS:
        raise UsageError(
            f"there are {len(everything)} comparisons, and {MOST_COMPARISONS} are the most that "
            "are drawn: make plots of folders with fewer records"
        )
    words = _words(everything)
    results = [result for each in everything for result in _results(each, words, kind)]
    panels = arrange(results, layout, _quantity(kind))
    if all(panel.is_empty for panel in panels):
        raise UsageError(_NOTHING)
    return chart(panels)


def as_svg(frame: pd.DataFrame) -> list[dict[str, str]]:
    """All plots of each comparison of a leaderboard, each an ``<svg>`` to stand in a page.

    They have the names of what quality is drawn against. A plot is empty text where no run has a
    finite result or there are more than :data:`MOST_STRATEGIES` strategies, and all are where there
    are more than :data:`MOST_COMPARISONS` comparisons. A strategy looks the same in all of them.
    Ink, faint ink, grid and paper are the page's custom properties ``--ink``, ``--faint``,
    ``--grid`` and ``--paper`` if it has them.
    """
    everything = comparisons(frame)
    if len(everything) > MOST_COMPARISONS:
        return [dict.fromkeys((kind.name for kind in PLOTTED), "") for _ in everything]
    words = _words(everything)
    found = [
        {kind: arrange(_results(each, words, kind), LAYOUT, _quantity(kind)) for kind in PLOTTED}
        for each in everything
    ]
    named = [line for own in found for panel in own[PLOTTED[0]] for line in panel.lines]
    return [
        {
            kind.name: _svg(comparison, panels, named, f"{kind.name}{number}")
            for kind, panels in own.items()
        }
        for number, (comparison, own) in enumerate(zip(everything, found, strict=True), start=1)
    ]


def _quantity(kind: TargetKind) -> Quantity:
    return Quantity(kind.axis, PERCENT if kind.is_fraction else TIMES)


def _results(
    comparison: Comparison, words: Mapping[str, tuple[str, str]], kind: TargetKind
) -> list[Result]:
    """The methods of a comparison as what is drawn of them; ``words`` are those of settings."""
    quality = comparison.quality
    if not quality:
        return []
    row = comparison.rows.iloc[0]
    same = {
        "dataset": str(row["dataset"]),
        "model": str(row["model"]),
        "initialisation": comparison.settings()["initialisation"] or "Default",
        "training": _training(comparison),
        "pretraining": words[_digest(comparison)][0],
        "conditions": words[_digest(comparison)][1],
    }
    target = next(name for name in _targets(comparison) if comparison.rows[name].notna().any())
    return [
        Result(
            differences=same | {"strategy": name},
            kind=f"{target} {quality}",
            quality=comparison.metric,
            points=pd.DataFrame(
                {
                    "target": rows[target],
                    "x": rows[kind.achieved_column],
                    "mean": rows[f"{quality}_mean"],
                    "std": rows[f"{quality}_std"],
                    "by_seed": [values_of_seeds(each) for each in _by_seed(rows, quality)],
                }
            ),
            dense=comparison.dense,
            seeds=int(comparison.rows["seeds"].max()),
            is_baseline=is_random_baseline(
                str(rows["strategy"].iloc[0]), rows["strategy_source"].iloc[0]
            ),
            heading=(comparison.title, comparison.conditions),
        )
        for name, rows in comparison.methods()
    ]


def _targets(comparison: Comparison) -> list[str]:
    return [name for name in comparison.rows.columns if name.startswith("target_")]


def _by_seed(rows: pd.DataFrame, quality: str) -> Sequence[object]:
    column = f"{quality}_by_seed"
    return rows[column].tolist() if column in rows else [""] * len(rows)  # an older file


def _words(among: Sequence[Comparison]) -> dict[str, tuple[str, str]]:
    """What tells the settings of comparisons apart, by their digest."""
    settings = {_digest(each): each.settings() for each in among}
    for own in settings.values():
        own.pop("target", None)  # a kind of target has panels of its own
    return settings_in_words(settings, {_digest(each): _training(each) for each in among})


def _digest(comparison: Comparison) -> str:
    """The digest of all settings, and the sources of the network and the data set."""
    row = comparison.rows.iloc[0]
    return " ".join(
        str(row[name]) for name in Key._fields[2:] if name in row and not pd.isna(row[name])
    )


def _training(comparison: Comparison) -> str:
    """What follows the pruning, in words."""
    settings = comparison.settings()
    return way_of_training(settings["recovery"], settings["start_epoch"])


def _svg(
    comparison: Comparison, panels: Sequence[Panel], named: Sequence[Line], identity: str
) -> str:
    """The plot without what only a file needs, its ids made unique in a page by ``identity``."""
    if all(panel.is_empty or len(panel.lines) > MOST_STRATEGIES for panel in panels):
        return ""
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    content = io.BytesIO()
    with in_our_style(), rc_context({"svg.fonttype": "none"}):  # text, not outlines: half the size
        chart(panels, named).savefig(content, format="svg", metadata=nothing, transparent=True)
    text = content.getvalue().decode()
    text = re.sub(r"<!--.*?-->\s*", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{identity}-", text)
    text = text.replace("'DejaVu Sans'", "'DejaVu Sans', sans-serif")
    text = re.sub(r' transform="rotate\(-0 [^"]*"', "", re.sub(r"\n +", "\n", text))
    text = re.sub(
        r"\b\d+\.\d{3,}", lambda found: f"{float(found[0]):.2f}".rstrip("0").rstrip("."), text
    )
    for colour, role in _ROLES.items():
        text = re.sub(rf"(?<=: ){colour}", f"var(--{role}, {colour})", text, flags=re.IGNORECASE)
    name = html.escape(
        f"{comparison.metric.heading} against {panels[0].x.title.lower()}: {comparison.title}"
    )
    box = re.findall(r'viewBox="[^"]*"', text)[0]
    return f'<svg {box} role="img" aria-label="{name}">' + text[text.index(">") + 1 :].strip()
