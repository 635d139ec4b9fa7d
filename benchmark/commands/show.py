"""``prunebench show``: one record in words."""

from __future__ import annotations

import argparse
import json

from .options import add_record

HELP = "show one record"


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    add_record(parser)
    parser.add_argument("--json", action="store_true", help="print the record as it is stored")


def execute(options: argparse.Namespace) -> int:
    """Print a record in words, or as it is stored."""
    from ...results import Store

    record = Store.holding(options.run, options.runs).find(options.run)
    if options.json:
        # JSON escapes what a terminal obeys, but for some.
        text = record.to_json().decode()
        print("\n".join(_escaped(line) for line in text.split("\n")), end="")
    else:
        from ...results.summary import summary

        print(summary(record))
    return 0


def _escaped(line: str) -> str:
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in line)
