"""Curves of training: loss and quality over the epochs of finished runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..errors import UsageError, printable
from ..quality import Quality
from .brief import title
from .differences import differing
from .drawing import DOTS_PER_INCH, FAINT_INK, in_our_style, literal, looks, save_figure
from .naming import shown
from .qualities import TITLE_COLUMNS, described_in, expanded, quality_in, titles
from .record import Record

CURVE_COLUMNS: dict[str, str] = {
    "run": "Strategy, target, network, data set and seed, and other settings that differ between "
    "runs of which these are the same.",
    "id": "Identity of the experiment, by which its record is found.",
    "training": "`pretraining`, or `fine-tuning` with the number of the round.",
    "epoch": "Epoch of the training's recipe.",
    "epochs_before": "Epochs trained before this one, those of earlier trainings included.",
    "loss": "Mean over training examples of what was minimised, as the network changed.",
    "<quality>": "The primary quality metric on the validation split after the epoch.",
    **TITLE_COLUMNS,
}
"""Column → definition, in the order of the table."""

_DERIVED = ("comparison",)  # follows from all other settings
_PANEL_INCHES = (6.2, 4.4)
_LABEL_CHARACTERS = 90
_PRUNING: dict[str, Any] = {"lw": 0.8, "ls": (0, (2, 3)), "color": FAINT_INK}


def curves(records: Iterable[Record]) -> pd.DataFrame:
    """A row for each epoch of each run.

    Raises:
        UsageError: a record has no epochs.
    """
    rows = []
    records = list(records)
    for name, record in zip(_names(records), records, strict=True):
        if not record.history:
            raise UsageError(
                f"the record {record.id} has no epochs: it is of an earlier version, or nothing "
                "was trained; run it again with --force"
            )
        primary = next(iter(record.quality))
        described = record.descriptions().get(primary)
        rows += [
            {
                "run": name,
                "id": record.id,
                "training": point.training,
                "epoch": point.epoch,
                "epochs_before": before,
                "loss": point.loss,
                primary: point.validation[primary],
                **(titles(primary, described) if described else {}),
            }
            for before, point in enumerate(record.history)
        ]
    return pd.DataFrame(rows)


def _names(records: Sequence[Record]) -> list[str]:
    """What runs are called, no two of them alike."""
    titles = [title(record.experiment) for record in records]
    names = []
    for record, first in zip(records, titles, strict=True):
        alike = [other for other, second in zip(records, titles, strict=True) if second == first]
        own = {
            place: value
            for other in alike
            for place, value, _ in differing(record.experiment, other.experiment)
            if place not in _DERIVED
        }
        parts = [f"{place} {shown(str(value))}" for place, value in sorted(own.items())]
        names.append(printable(", ".join([first, *parts])))
    return names


def plot_curves(frame: pd.DataFrame, path: str | Path) -> None:
    """Write a PNG of the table of :func:`curves`: the loss, and each quality metric.

    A colour and a marker for each run; a vertical line where pruning ends a training.

    Raises:
        OSError: the file could not be written.
    """
    described = described_in(frame.columns)
    words = {*CURVE_COLUMNS, *expanded(TITLE_COLUMNS, described, described)}
    qualities = {
        name: quality_in(frame.iloc[int(frame[name].notna().to_numpy().argmax())], name)
        for name in frame.columns
        if name not in words
    }
    runs = list(frame.groupby("run", sort=False))
    known = looks(str(run) for run, _ in runs)
    width, height = _PANEL_INCHES
    with in_our_style():
        figure = Figure(
            figsize=(width * (1 + len(qualities)), height + 0.35 * len(runs) + 0.2),
            dpi=DOTS_PER_INCH,
            layout="constrained",
        )
        panels = figure.subplots(1, 1 + len(qualities), squeeze=False)[0]
        shown = {"loss": Quality("lower", "Training loss"), **qualities}
        for axes, (name, quality) in zip(panels, shown.items(), strict=True):
            for run, rows in runs:
                values = quality.factor * rows[name]
                axes.plot(rows["epochs_before"] + 1, values, **known[str(run)].line())
            _mark_prunings(axes, frame)
            axes.set_xlabel("Epochs of training")
            axes.set_ylabel(literal(quality.heading))
            axes.set_title("Training" if name == "loss" else "Validation", fontweight="bold")
        handles = [Line2D([], [], **look.line()) for look in known.values()]
        names = [literal(fill(name, _LABEL_CHARACTERS)) for name in known]
        figure.legend(
            [*handles, Line2D([], [], **_PRUNING)],
            [*names, "pruning"],
            loc="outside lower left",
            frameon=False,
            fontsize=8.5,
        )
        save_figure(figure, Path(path))


def _mark_prunings(axes: Axes, frame: pd.DataFrame) -> None:
    """A line before the first epoch of every training but the first."""
    starts = frame.groupby(["id", "training"], sort=False)["epochs_before"].min()
    for start in sorted(set(starts) - {0}):
        axes.axvline(start + 0.5, zorder=0, **_PRUNING)
