"""The pages of a site, made by the templates beside this file."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from ..published_pages import FIRST, LITERATURE, place_of
from ..report import report, theme
from ..suites.page import standing_as_html
from .entry import REPORT, Entry, Table, introduced, titled
from .links import Links, relative
from .markdown import anchor_of, as_html, divided
from .standings import Standing, summary

INDEX, STYLE = "index.html", "style.css"
_SOURCES = files(__package__)


@dataclass(frozen=True)
class Content:
    """What a site is made of.

    Attributes:
        entries: the published folders.
        published: the folder that they are in.
        notes: the pages beside them, in Markdown, by the names of their files.
        methods: the page of methods, in Markdown.
    """

    entries: Sequence[Entry]
    published: Path
    notes: Mapping[str, str]
    methods: str


@dataclass(frozen=True)
class _Place:
    """Where a method stands in one comparison, called as it is called there."""

    entry: Entry
    title: str
    table: Table
    name: str
    line: Sequence[Standing]


class Pages:
    """Writes the pages of a site into a folder."""

    def __init__(self, content: Content, folder: Path) -> None:
        self._content = content
        self._notes = content.notes
        self._folder = folder
        self._published = content.published.resolve()
        self._links = Links(root=self._published.parent.parent)
        self._environment = _environment()
        self._note_pages = self._placed()

    def write(self) -> None:
        """Write all pages, and the files that they link to."""
        self._save(STYLE, theme() + _SOURCES.joinpath(STYLE).read_text(encoding="utf-8"))
        for entry in self._content.entries:
            self._write_entry(entry)
        self._write_notes()
        self._write_methods()
        self._render(
            INDEX,
            "index",
            comparisons=[
                each for each in self._ordered if each.is_comparison and not each.standing
            ],
            suites=[(each, self._standing(each, INDEX)) for each in self._ordered if each.standing],
            titles=self._titles,
            notes=[(_title(text), self._note_pages[name]) for name, text in self._notes.items()],
            methods=self._methods,
        )
        self._write_further()

    def _placed(self) -> dict[str, str]:
        """Say where everything will lie, and return where notes do, by the names of their files."""
        for entry in self._content.entries:
            folder = self._published / entry.name
            self._links.places[folder] = f"results/{entry.name}/{INDEX}"
            for path in [*entry.files, *([Path(REPORT)] if entry.is_comparison else [])]:
                self._links.places[folder / path.name] = f"results/{entry.name}/{path.name}"
        pages = {
            name: f"notes/{INDEX if name == FIRST else Path(name).with_suffix('.html')}"
            for name in self._notes
        }
        self._links.places |= {self._published / name: place for name, place in pages.items()}
        return pages

    @cached_property
    def _navigation(self) -> dict[str, str]:
        """Where the site's main pages are, by what they are called."""
        places = self._note_pages
        register = [
            places[name] for name, text in self._notes.items() if place_of(LITERATURE) in text
        ]
        return {
            "Comparisons": INDEX,
            "Methods": f"methods/{INDEX}",
            **({"Literature": register[0]} if register else {}),
            **({"Notes": places[FIRST]} if FIRST in places else {}),
        }

    @cached_property
    def _titles(self) -> dict[str, str]:
        """What folders are called, by name."""
        return {
            entry.name: titled(self._notes.values(), entry.name) for entry in self._content.entries
        }

    @cached_property
    def _ordered(self) -> list[Entry]:
        """The folders in the order in which the notes speak of them, the others at the end."""
        words = "".join(self._notes.values())
        places = {each.name: words.find(f"]({each.name}") for each in self._content.entries}
        return sorted(
            self._content.entries, key=lambda each: (places[each.name] < 0, places[each.name])
        )

    @cached_property
    def _methods(self) -> dict[str, str]:
        """What the page of methods says of each strategy."""
        _, parts = divided(self._content.methods, 2)
        return divided(parts.get("Strategies", ""), 3)[1]

    def _write_entry(self, entry: Entry) -> None:
        place = f"results/{entry.name}"
        (self._folder / place).mkdir(parents=True)
        for path in entry.files:
            if not (entry.is_comparison and path.name == REPORT):
                shutil.copyfile(path, self._folder / place / path.name)
        if entry.is_comparison:
            report(entry.frame, self._folder / place / REPORT, entry.records, entry.standing)
        words = introduced(self._notes.values(), entry.name)
        page = f"{place}/{INDEX}"
        self._render(
            page,
            "entry",
            entry=entry,
            title=self._titles[entry.name],
            words=as_html(words, self._links.within(page, self._published)),
            notes=[
                (_title(text), relative(self._note_pages[name], page))
                for name, text in self._notes.items()
                if f"]({entry.name}" in text
            ],
            methods=self._methods,
            standing=self._standing(entry, page),
        )

    def _standing(self, entry: Entry, page: str) -> Markup | None:
        """The table of a suite on a page, whose methods lead to their own pages."""

        def linked(method: str) -> str | None:
            name = method.partition("(")[0].partition(" ")[0]  # what it was tuned to comes after
            return relative(f"methods/{name}.html", page) if name in self._methods else None

        return standing_as_html(entry.standing, linked) if entry.standing else None

    def _write_notes(self) -> None:
        for name, text in self._notes.items():
            self._write_text(self._note_pages[name], text, self._published)

    def _write_methods(self) -> None:
        head, parts = divided(self._content.methods, 2)
        overview = divided(parts.pop("Strategies", ""), 3)[0]
        for name in self._methods:
            self._links.anchors[anchor_of(name)] = f"methods/{name}.html"
            self._write_method(name)
        rest = "".join(f"## {heading}\n{text}" for heading, text in parts.items())
        text = f"{head}## Strategies\n{overview}{rest}"
        self._write_text(f"methods/{INDEX}", text, self._published)

    def _write_method(self, name: str) -> None:
        page = f"methods/{name}.html"
        places = [
            _Place(entry, self._titles[entry.name], table, called, line)
            for entry in self._ordered
            for table in entry.tables
            for called, line in table.standings.items()
            if line[0].method == name
        ]
        self._render(
            page,
            "method",
            title=name,
            anchor=anchor_of(name),
            words=as_html(self._methods[name], self._links.within(page, self._published)),
            compared=places,
            summary=summary(each for place in places for each in place.line),
        )

    def _write_further(self) -> None:
        """The files that pages linked to; those in Markdown may link to more."""
        written: set[Path] = set()
        while left := [path for path in self._links.further() if path not in written]:
            for source in left:
                place = self._links.places[source]
                if source.suffix == ".md":
                    self._write_text(place, source.read_text(encoding="utf-8"), source.parent)
                else:
                    self._save(place, source.read_text(encoding="utf-8"))
            written.update(left)

    def _write_text(self, page: str, text: str, folder: Path) -> None:
        words = as_html(text, self._links.within(page, folder))
        self._render(page, "text", title=_title(text), words=words)

    def _render(self, page: str, template: str, **values: Any) -> None:
        source = self._environment.get_template(f"{template}.html.jinja")
        html = source.render(
            **values, here=page, root="../" * page.count("/"), places=self._navigation
        )
        self._save(page, html)

    def _save(self, place: str, text: str) -> None:
        path = self._folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")


def _title(text: str) -> str:
    return next(iter(divided(text, 1)[1]), "Notes")


def _environment() -> Environment:
    return Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        loader=FunctionLoader(
            lambda name: _SOURCES.joinpath("templates", name).read_text(encoding="utf-8")
        ),
    )
