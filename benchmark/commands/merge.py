"""``prunebench merge``: the records of several folders in one."""

from __future__ import annotations

import argparse

from .options import folder_or_url, place

HELP = "unite folders of records, each run with one result"


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument(
        "sources",
        nargs="+",
        type=place,
        metavar="RUNS",
        help="records folders, their URLs, or published files of records; they are only read",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=folder_or_url,
        required=True,
        metavar="FOLDER",
        help="records folder that gets all of them; what it has stays",
    )


def execute(options: argparse.Namespace) -> int:
    """Merge, and say what came of it; fail if a run has failed wherever it was run."""
    from ...results.merging import merge

    merged = merge(options.sources, options.output)
    print(
        f"{options.output}: {merged.records} records, {merged.failed} of them failed; "
        f"{merged.added} added, {merged.repeated} repeated with the same result"
    )
    return 1 if merged.failed else 0
