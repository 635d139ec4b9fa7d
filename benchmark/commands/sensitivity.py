"""``prunebench sensitivity``: each class of weights pruned alone."""

from __future__ import annotations

import argparse

from .options import add_config, add_data, add_output, add_runs, fraction
from .output import write_table_and_plot

HELP = "prune each class of weights alone and measure what that changes"


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    add_config(parser)
    add_runs(parser)
    add_data(parser)
    parser.add_argument(
        "--sparsity",
        nargs="+",
        type=fraction,
        default=[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9],
        metavar="S",
        help="fractions of each class of weights (default: 0.1 to 0.9)",
    )
    add_output(parser, "sensitivity")


def execute(options: argparse.Namespace) -> int:
    """Prune each class alone, draw what that changes, and write the table of it."""
    from ...results.sensitivity import plot_sensitivity
    from ..catalogue.shipped import settings_file
    from ..grid import grid, read_settings
    from ..studies.sensitivity import sensitivity

    experiments = grid(**read_settings(settings_file(options.config)))
    frame = sensitivity(experiments, options.sparsity, runs=options.runs, data=options.data)
    return write_table_and_plot(frame, plot_sensitivity, options.output / "sensitivity")
