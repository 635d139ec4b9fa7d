"""``prunebench site``: a static site of all that is published."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import UsageError, tell
from .options import folder_path

if TYPE_CHECKING:
    from ...results.site.entry import Entry
    from ..studies.publishing import Publication

HELP = "make a static site of published comparisons and of the methods in them"


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("published", type=Path, help="folder of published folders")
    parser.add_argument(
        "-o",
        "--output",
        type=folder_path,
        default=Path("site"),
        metavar="FOLDER",
        help="where the site goes: a new folder, or that of an earlier site (default: site)",
    )


def execute(options: argparse.Namespace) -> int:
    """Write the site, and say what it is made of."""
    from ...results.published_pages import pages_beside
    from ...results.site.pages import Content
    from ...results.site.writing import write_site
    from ...results.tables import LEADERBOARD_FILE
    from ..catalogue.components import methods_as_markdown
    from ..studies.publishing import publications

    found = publications([], options.published)
    if not any((each.folder / LEADERBOARD_FILE).is_file() for each in found):
        raise UsageError(
            f"{options.published} holds no published folder: give the folder of such folders, as "
            "results/published is one"
        )
    content = Content(
        entries=[_entry(each) for each in found],
        published=options.published,
        notes=pages_beside(options.published),
        methods=methods_as_markdown(),
    )
    write_site(content, options.output)
    compared = sum(entry.is_comparison for entry in content.entries)
    print(
        f"{options.output}: {compared} folders of comparisons and "
        f"{len(content.entries) - compared} others; open {options.output / 'index.html'}"
    )
    return 0


def _entry(publication: Publication) -> Entry:
    """What a site shows of a published folder."""
    from ...results.site.entry import Entry
    from ..studies.restoring import RefusedCodeError

    records = publication.records()
    stale = publication.stale() if publication.config else None
    try:
        standing = publication.standing(records) if records else None
        entry = Entry(publication.folder, stale, records, publication.labels(), standing)
    except RefusedCodeError:  # a suite whose networks or data are code of its own
        return Entry(publication.folder, stale)
    if entry.is_comparison and not entry.records:
        tell(f"{publication.folder} has no records: its page is made of its table")
    return entry
