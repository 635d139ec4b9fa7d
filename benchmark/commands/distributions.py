"""``prunebench distributions``: a run's weights before and after."""

from __future__ import annotations

import argparse
from functools import partial

from .options import add_output, add_record
from .output import write_table_and_plot

HELP = "draw how a run's weights are distributed, before and after"


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    add_record(parser)
    add_output(parser, "distributions")


def execute(options: argparse.Namespace) -> int:
    """Draw a run's distributions, and write the table of them."""
    from ...results import Store
    from ...results.brief import title
    from ...results.distributions import distributions, plot_distributions

    record = Store.holding(options.run, options.runs).find(options.run)
    plot = partial(plot_distributions, title=title(record.experiment))
    return write_table_and_plot(distributions(record), plot, options.output / "distributions")
