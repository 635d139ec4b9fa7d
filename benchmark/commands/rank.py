"""``prunebench rank``: where strategies stand, with what seeds cannot say."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...errors import UsageError
from .compare import add_test
from .options import add_labels, figure_path, file_path, number_from_zero, place

HELP = "rank strategies, as far as their seeds can tell them apart"

_COSTS = ("nonzero", "flops", "bytes", "speed")


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument(
        "runs",
        type=place,
        nargs="*",
        default=[Path("runs")],
        help="folders of runs, published folders, files of records or CSVs of leaderboards",
    )
    parser.add_argument(
        "--loss-at-most",
        type=number_from_zero,
        default=1.0,
        metavar="LOSS",
        help="tell up to which compression no more is lost, in points of accuracies or the unit "
        "of the metric (default: 1)",
    )
    parser.add_argument(
        "--costs",
        nargs="+",
        choices=_COSTS,
        default=_COSTS,
        metavar="COST",
        help=f"what quality is held against in Pareto fronts (default: {' '.join(_COSTS)})",
    )
    add_test(parser)
    parser.add_argument(
        "-o", "--output", type=file_path, help="write the standing to this CSV file"
    )
    parser.add_argument(
        "--diagram",
        type=figure_path,
        metavar="FILE",
        help="draw the critical-difference diagram over all comparisons (.png, .pdf or .svg)",
    )
    add_labels(parser)


def execute(options: argparse.Namespace) -> int:
    """Print where strategies stand, and write and draw it."""
    from ...results import write_csv
    from ...results.naming import labels_of
    from ...results.ranking import (
        across,
        across_as_text,
        standing,
        standing_as_text,
        standing_table,
    )
    from ...results.trials import trials

    labels = labels_of(options.label)
    found = [each for place in options.runs for each in trials(place, labels)]
    standings = [
        standing(each, options.loss_at_most, options.costs, options.test) for each in found
    ]
    print("\n\n".join(map(standing_as_text, standings)))
    over_all = across(standings)
    if over_all:
        print(f"\n{across_as_text(over_all)}")
    if options.output:
        write_csv(standing_table(standings), options.output)
        print(f"\n{options.output}")
    if options.diagram:
        if over_all is None:
            raise UsageError(
                "--diagram: there is none of fewer than 2 comparisons that share 3 strategies"
            )
        from ...results.critical_difference import plot_critical_difference

        plot_critical_difference(over_all.strategies, over_all.ranks, options.diagram)
        print(options.diagram)
    return 0
