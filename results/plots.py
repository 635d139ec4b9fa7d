"""Plots of the leaderboard: quality against compression and against theoretical speedup.

One panel per comparison, or as a layout says. Accuracies are drawn on a logit scale, which spreads
out the percents near 100 where good methods differ and still shows the methods that have dropped to
chance. A comparison at a single target is a sorted row of dots.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from ..errors import UsageError
from .charts import Line, Panel, Quantity, chart
from .comparison import KEY, Comparison, comparisons, is_random_baseline
from .drawing import FAINT_INK, GRID, INK, PAPER, in_our_style, save_png
from .layout import (
    Layout,
    Quality,
    Result,
    arrange,
    settings_in_words,
    values_of_seeds,
    way_of_training,
)
from .scales import TIMES

_ROLES = {INK: "ink", FAINT_INK: "faint", GRID: "grid", PAPER: "paper"}


LAYOUT = Layout(
    panel=("dataset", "model", "initialisation", "pretraining", "training", "conditions"),
    colour=("strategy",),
    line=(),
)
"""A panel for each comparison, and a colour for each strategy."""


MOST_COMPARISONS = 24
"""More than so many comparisons are not drawn: it would take minutes, and nobody could see them."""


def accuracy_vs_compression(frame: pd.DataFrame, path: str | Path, layout: Layout = LAYOUT) -> None:
    """Write a PNG of the primary quality metric against the achieved compression.

    ``frame`` is a leaderboard. Lines are means over seeds, bands ± one sample standard deviation.

    Raises:
        UsageError: no run of the leaderboard has a finite result, so there is nothing to draw.
        OSError: the file could not be written.
    """
    save_png(figure_of_compression(frame, layout), Path(path))


def accuracy_vs_speedup(frame: pd.DataFrame, path: str | Path, layout: Layout = LAYOUT) -> None:
    """Write a PNG of the primary quality metric against the theoretical speedup.

    ``frame`` is a leaderboard. Lines are means over seeds, bands ± one sample standard deviation.

    Raises:
        UsageError: no run of the leaderboard has a finite result, so there is nothing to draw.
        OSError: the file could not be written.
    """
    save_png(figure_of_speedup(frame, layout), Path(path))


def figure_of_compression(frame: pd.DataFrame, layout: Layout = LAYOUT) -> Figure:
    """The figure that :func:`accuracy_vs_compression` writes."""
    return _figure(frame, layout, _COMPRESSION)


def figure_of_speedup(frame: pd.DataFrame, layout: Layout = LAYOUT) -> Figure:
    """The figure that :func:`accuracy_vs_speedup` writes."""
    return _figure(frame, layout, _SPEEDUP)


def as_svg(frame: pd.DataFrame) -> list[tuple[str, str]]:
    """Both plots of each comparison of a leaderboard, each an ``<svg>`` to stand in a page.

    A plot is empty text where no run has a finite result, and all are where there are more than
    :data:`MOST_COMPARISONS` comparisons. A strategy looks the same in all of them.
    Ink, faint ink, grid and paper are the page's custom properties ``--ink``, ``--faint``,
    ``--grid`` and ``--paper`` if it has them.
    """
    everything = comparisons(frame)
    if len(everything) > MOST_COMPARISONS:
        return [("", "")] * len(everything)
    words = _words(everything)
    pairs = [
        [arrange(_results(each, words, axis), LAYOUT, _quantity(axis)) for each in everything]
        for axis in (_COMPRESSION, _SPEEDUP)
    ]
    named = [line for panels in pairs[0] for panel in panels for line in panel.lines]
    return [
        (
            _svg(comparison, compression, named, f"compression{number}"),
            _svg(comparison, speedup, named, f"speedup{number}"),
        )
        for number, (comparison, compression, speedup) in enumerate(
            zip(everything, *pairs, strict=True), start=1
        )
    ]


class _Axis(NamedTuple):
    """What a plot shows beside quality."""

    column: str
    title: str


_COMPRESSION = _Axis("compression_mean", "Compression of the whole network")
_SPEEDUP = _Axis("theoretical_speedup_mean", "Theoretical speedup (FLOPs)")


def _figure(frame: pd.DataFrame, layout: Layout, x: _Axis) -> Figure:
    everything = comparisons(frame)
    if len(everything) > MOST_COMPARISONS:
        raise UsageError(
            f"there are {len(everything)} comparisons, and {MOST_COMPARISONS} are the most that "
            "are drawn: make plots of folders with fewer records"
        )
    words = _words(everything)
    results = [result for each in everything for result in _results(each, words, x)]
    panels = arrange(results, layout, _quantity(x))
    if all(panel.is_empty for panel in panels):
        raise UsageError("there is nothing to plot: no run of the leaderboard has a finite result")
    return chart(panels)


def _quantity(x: _Axis) -> Quantity:
    return Quantity(x.title, TIMES)


def _results(
    comparison: Comparison, words: Mapping[str, tuple[str, str]], x: _Axis
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
            quality=Quality(
                title=comparison.quality_title,
                is_fraction=comparison.is_fraction,
                higher_is_better=comparison.higher_is_better,
            ),
            points=pd.DataFrame(
                {
                    "target": rows[target],
                    "x": rows[x.column],
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
    return " ".join(str(row[name]) for name in KEY[2:] if name in row and not pd.isna(row[name]))


def _training(comparison: Comparison) -> str:
    """What follows the pruning, in words."""
    settings = comparison.settings()
    return way_of_training(settings["recovery"], settings["start_epoch"])


def _svg(
    comparison: Comparison, panels: Sequence[Panel], named: Sequence[Line], identity: str
) -> str:
    """The plot without what only a file needs, its ids made unique in a page by ``identity``."""
    if all(panel.is_empty for panel in panels):
        return ""
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    content = io.BytesIO()
    with in_our_style():
        chart(panels, named).savefig(content, format="svg", metadata=nothing, transparent=True)
    text = content.getvalue().decode()
    text = re.sub(r"<!--.*?-->\s*", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{identity}-", text)
    for colour, role in _ROLES.items():
        text = re.sub(rf"(?<=: ){colour}", f"var(--{role}, {colour})", text, flags=re.IGNORECASE)
    name = html.escape(
        f"{comparison.quality_title} against {panels[0].x.title.lower()}: {comparison.title}"
    )
    box = re.findall(r'viewBox="[^"]*"', text)[0]
    return f'<svg {box} role="img" aria-label="{name}">' + text[text.index(">") + 1 :].strip()
