"""Where what a page links to lies in a site."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Links:
    """The files of a site by those that they are made of.

    Attributes:
        root: the folder outside which nothing is taken into the site.
        places: absolute path of a file or folder → path in the site.
        anchors: anchor of a page that became several → path in the site of the one that has it.
    """

    root: Path
    places: dict[Path, str] = field(default_factory=dict)
    anchors: dict[str, str] = field(default_factory=dict)

    def further(self) -> list[Path]:
        """The files that pages linked to and that are in no other place than ``files/``."""
        return [source for source, place in self.places.items() if place.startswith("files/")]

    def within(self, page: str, folder: Path) -> Callable[[str], str | None]:
        """What links of a text lead to, on a page of the site.

        Args:
            page: the page's path in the site.
            folder: the folder in which the text is, from which its links start.

        Returns:
            For a link's target the one that it has in the site; None where there is none.
        """

        def linked(target: str) -> str | None:
            if "://" in target or target.startswith("mailto:"):
                return target
            path, mark, anchor = target.partition("#")
            place = self._place(folder / path) if path else self.anchors.get(anchor, page)
            return None if place is None else relative(place, page) + mark + anchor

        return linked

    def _place(self, source: Path) -> str | None:
        source = Path(os.path.normpath(source))
        if source not in self.places and source.is_file() and source.is_relative_to(self.root):
            inner = source.relative_to(self.root)
            place = inner.with_suffix(".html") if inner.suffix == ".md" else inner
            self.places[source] = f"files/{place.as_posix()}"
        return self.places.get(source)


def relative(place: str, page: str) -> str:
    """The path from a page to another place of the site."""
    return posixpath.relpath(place, posixpath.dirname(page) or ".")
