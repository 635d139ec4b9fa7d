"""``prunebench curves``: how runs were trained, epoch by epoch."""

from __future__ import annotations

import argparse

from .options import add_output, add_runs
from .output import write_table_and_plot

HELP = "draw how runs were trained, epoch by epoch"


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument(
        "run", nargs="+", help="records' ids, the beginnings of them, or the paths of their files"
    )
    add_runs(parser)
    add_output(parser, "curves")


def execute(options: argparse.Namespace) -> int:
    """Draw the curves of runs, and write the table of them."""
    from ...results import Store
    from ...results.curves import curves, plot_curves

    frame = curves(Store.holding(run, options.runs).find(run) for run in options.run)
    return write_table_and_plot(frame, plot_curves, options.output / "curves")
