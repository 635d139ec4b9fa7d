"""``prunebench literature``: published numbers beside ours."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...errors import UsageError, shown, suggestion
from .options import file_path

HELP = "compare published numbers with ours, and say what remains"


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument(
        "--published",
        type=Path,
        default=Path("results/published"),
        metavar="FOLDER",
        help="where our records are published (default: results/published)",
    )
    parser.add_argument("--paper", metavar="KEY", help="that paper alone, such as lee2019")
    some = parser.add_mutually_exclusive_group()
    some.add_argument("--missed", action="store_true", help="only what was run and missed")
    some.add_argument(
        "--remaining", action="store_true", help="only what was not run, or cannot be run here"
    )
    parser.add_argument(
        "-o", "--output", type=file_path, metavar="FILE", help="write the table to this CSV file"
    )
    parser.add_argument(
        "--page",
        type=file_path,
        metavar="FILE",
        help="Markdown page in which the table of papers is written anew",
    )


def execute(options: argparse.Namespace) -> int:
    """Print published numbers beside ours, and write the table where it is asked for."""
    from ...results import write_csv
    from ...results.literature import compared, literature_table, read_register
    from ...results.literature_text import as_text
    from ...results.published_pages import literature_on

    if not options.published.is_dir():
        raise UsageError(f"nothing is published in {options.published}: give --published FOLDER")
    register = read_register()
    if options.paper and options.paper not in register.papers:
        hint = suggestion(options.paper, register.papers)
        raise UsageError(f"--paper: {shown(options.paper)} is not allowed: {hint}")
    chosen = [
        each
        for each in compared(register, options.published)
        if options.paper in (None, each.row.paper)
        and not (options.missed and each.verdict != "missed")
        and not (options.remaining and each.values)
    ]
    print(as_text(chosen))
    if options.output:
        write_csv(literature_table(chosen), options.output)
        print(options.output)
    if options.page:
        literature_on(options.page)
        print(options.page)
    return 0
