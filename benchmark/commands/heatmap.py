"""``prunebench heatmap``: which weights of a run are kept, in a picture."""

from __future__ import annotations

import argparse
from functools import partial

from .options import add_output, add_record
from .output import write_table_and_plot

HELP = "draw which weights of a run are kept"


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    add_record(parser)
    add_output(parser, "heatmap")


def execute(options: argparse.Namespace) -> int:
    """Draw a run's weights in blocks, and write the table of them."""
    from ...results import Store
    from ...results.brief import title
    from ...results.heatmap import plot_heatmaps
    from ..studies.heatmap import kept_in_blocks

    store = Store.holding(options.run, options.runs)
    record = store.find(options.run)
    plot = partial(plot_heatmaps, title=title(record.experiment))
    return write_table_and_plot(kept_in_blocks(record, store), plot, options.output / "heatmap")
