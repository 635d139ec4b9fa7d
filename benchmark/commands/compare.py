"""``prunebench compare``: two runs, two strategies or two leaderboards on the same seeds."""

from __future__ import annotations

import argparse

from .options import add_labels, file_path, place

HELP = "compare two runs, or two strategies of a run, seed by seed"


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    for name, which in (("a", "first"), ("b", "second")):
        parser.add_argument(
            name,
            help=f"the {which}: a folder of runs, a published folder, a file of records or the CSV "
            "of a leaderboard; with --runs a strategy",
        )
    parser.add_argument(
        "--runs", type=place, help="the runs in which two strategies are to be compared"
    )
    add_test(parser)
    parser.add_argument("-o", "--output", type=file_path, help="write the table to this CSV file")
    add_labels(parser)


def add_test(parser: argparse.ArgumentParser) -> None:
    """How pairs are judged."""
    parser.add_argument(
        "--test",
        choices=("t", "sign-flip"),
        default="t",
        help="t takes differences for normally distributed; sign-flip takes nothing for granted "
        "and needs at least six seeds to show anything (default: t)",
    )


def execute(options: argparse.Namespace) -> int:
    """Print the comparison, and write it."""
    from ...results import write_csv
    from ...results.compare import (
        compare_as_text,
        compare_table,
        runs_compared,
        strategies_compared,
    )
    from ...results.naming import labels_of
    from ...results.trials import trials

    labels = labels_of(options.label)
    if options.runs:
        found = trials(options.runs, labels)
        contrasts = strategies_compared(found, options.a, options.b, options.test)
    else:
        first, second = (trials(place(each), labels) for each in (options.a, options.b))
        contrasts = runs_compared(first, second, options.test)
    print(compare_as_text(contrasts, (options.a, options.b), options.test))
    if options.output:
        write_csv(compare_table(contrasts), options.output)
        print(f"\n{options.output}")
    return 0
