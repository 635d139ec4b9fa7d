"""The Markdown pages beside published folders, and the places in them that commands fill."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ..errors import UsageError
from .aggregation import leaderboard
from .files import write_atomically
from .literature import compared, read_register
from .literature_text import as_markdown
from .manifest import provenance
from .naming import with_labels
from .publication import Labels
from .record import Record
from .suites.score import Score
from .suites.text import standing_as_text
from .tables import as_text

FIRST = "README.md"
"""The page that leads to the others."""

LITERATURE = "literature"
"""The place of the register of published numbers."""


def pages_beside(published: Path) -> dict[str, str]:
    """The pages in a folder of published folders by the names of their files.

    The first one comes first, then those it leads to in its order, then the others.
    """
    texts = {path.name: path.read_text(encoding="utf-8") for path in sorted(published.glob("*.md"))}
    led_to = re.findall(r"\]\(([^)#]+)", texts.get(FIRST, ""))
    return {name: texts[name] for name in dict.fromkeys([FIRST, *led_to, *texts]) if name in texts}


def place_of(name: str) -> str:
    """The line that begins the place of a published folder, or of the register."""
    return f"<!-- {name} -->\n"


def show(
    folder: Path, records: Sequence[Record], labels: Labels, standing: Score | None = None
) -> None:
    """Put a published folder's table, and where it comes from, onto the page that has a place.

    What the register's numbers came to here is then brought up to date, too.

    Raises:
        UsageError: no page has such a place.
    """
    if standing is None:
        table = as_text(with_labels(leaderboard(records), labels))
    else:
        table = standing_as_text(standing)
    said = provenance(folder)
    origin = f"\n{said}\n" if said else ""
    pages = pages_beside(folder.parent)
    page = next((page for page, text in pages.items() if place_of(folder.name) in text), FIRST)
    _put(folder.parent / page, folder.name, f"```\n{table}\n```\n{origin}")
    for page, text in pages.items():
        if place_of(LITERATURE) in text:
            literature_on(folder.parent / page)


def literature_on(page: Path) -> None:
    """Put the register of published numbers onto a page.

    What the numbers came to here is in the records of the folders beside the page.

    Raises:
        UsageError: the page has no place for it.
    """
    _put(page, LITERATURE, as_markdown(compared(read_register(), page.parent)))


def _put(page: Path, name: str, section: str) -> None:
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    before, start, rest = text.partition(place_of(name))
    _, end, after = rest.partition(f"<!-- end of {name} -->\n")
    if not end:
        raise UsageError(
            f"{page} has no place for {name}: put two lines where its table is to stand, "
            f"<!-- {name} --> and <!-- end of {name} -->"
        )
    write_atomically(page, f"{before}{start}{section}{end}{after}".encode())
