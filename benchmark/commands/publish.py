"""``prunebench publish``: stale comparisons made anew."""

from __future__ import annotations

import argparse
from pathlib import Path

from .options import add_data, add_trust, positive

HELP = "make anew those published comparisons that are stale"

_NOT_CHECKED = (
    "not checked: has code of its own, which is executed with --trust alone: read it first"
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument(
        "config", type=Path, nargs="*", help="YAML files in experiments; all published ones if none"
    )
    parser.add_argument(
        "--published",
        type=Path,
        default=Path("results/published"),
        metavar="FOLDER",
        help="where comparisons are published (default: results/published)",
    )
    parser.add_argument(
        "--runs",
        type=Path,
        default=Path("runs"),
        help="folder with one records folder for each comparison (default: runs)",
    )
    add_data(parser)
    add_trust(parser)
    parser.add_argument("--workers", type=positive, default=1, help="processes that run cells")
    parser.add_argument(
        "--check", action="store_true", help="only say what is stale and why; status 1 if any is"
    )


def execute(options: argparse.Namespace) -> int:
    """Say which comparisons are stale, and make those anew; fail if any stays stale."""
    from ...results.manifest import MANIFEST_FILE
    from ..studies.publishing import publications

    stale = 0
    for each in publications(options.config, options.published, trust=options.trust):
        reasons = each.stale()
        if reasons is None:
            print(f"{'unknown':8}{each.folder}", _NOT_CHECKED, sep="\n       - ")
            continue
        state = "stale" if reasons else "fresh" if each.config else "other"
        print(f"{state:7}{each.folder}", *reasons, sep="\n       - ")
        if each.config is None:
            print("       made by another command, which stands on the page beside it")
        elif reasons == [f"it has no {MANIFEST_FILE}"] and not options.check:
            each.describe()
            print(f"       has its {MANIFEST_FILE} now")
            reasons = each.stale()
        elif reasons and not options.check:
            runs = options.runs / each.folder.name
            records = each.renew(runs, data=options.data, workers=options.workers)
            failures = sum(not record.finished for record in records)
            print(f"       made anew from {len(records)} records, {failures} of them failed")
            reasons = each.stale()
        stale += bool(reasons)
    return 1 if stale else 0
