"""A published folder as a site shows it: what it is called, what came of it, how fresh it is."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pandas as pd

from .. import cells
from ..comparison import Comparison, comparisons
from ..manifest import provenance
from ..publication import tables
from ..published_pages import place_of
from ..record import Record
from ..suites.score import Score
from ..tables import LEADERBOARD_FILE, read_csv
from .markdown import last_section
from .standings import Standing, leaders, standings

REPORT = "report.html"


@dataclass(frozen=True)
class Entry:
    """A published folder.

    Attributes:
        folder: where it is published.
        stale: why it is not what today's code gives, nothing where it is; None where nobody knows.
        records: those that are published with it.
        labels: what strategies are to be called, by what they are.
        standing: the score of the records, if they are a suite's.
    """

    folder: Path
    stale: Sequence[str] | None = None
    records: Sequence[Record] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    standing: Score | None = None

    @property
    def name(self) -> str:
        """What the folder is called."""
        return self.folder.name

    @property
    def files(self) -> list[Path]:
        """All files of the folder."""
        return sorted(path for path in self.folder.iterdir() if path.is_file())

    @property
    def pictures(self) -> list[Path]:
        """Those that are shown."""
        return [path for path in self.files if path.suffix == ".png"]

    @property
    def is_comparison(self) -> bool:
        """Whether strategies are compared; else another command wrote it."""
        return (self.folder / LEADERBOARD_FILE).is_file()

    @property
    def freshness(self) -> str:
        """Whether it is what today's code gives, in a word."""
        if self.stale is None:
            return "not known"
        return "stale" if self.stale else "fresh"

    @property
    def provenance(self) -> str:
        """Where its results come from, in a sentence; empty where nobody says."""
        return provenance(self.folder)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The leaderboard: of the records, or as it was published where there are none."""
        if self.records:
            return tables(self.records, self.labels, self.standing)[LEADERBOARD_FILE]
        return read_csv((self.folder / LEADERBOARD_FILE).read_bytes())

    @cached_property
    def tables(self) -> list[Table]:
        """Its comparisons; none where it is another kind of folder."""
        return [Table(each) for each in comparisons(self.frame)] if self.is_comparison else []


@dataclass(frozen=True)
class Table:
    """A comparison with the standings of its strategies."""

    comparison: Comparison

    @cached_property
    def standings(self) -> dict[str, list[Standing]]:
        """The standings of each strategy, by what it is called, by ascending target."""
        return standings(self.comparison)

    @property
    def targets(self) -> list[str]:
        """How far strategies were to prune."""
        return [each.target for each in next(iter(self.standings.values()))]

    @property
    def leaders(self) -> list[tuple[str, list[str], str]]:
        """Each target with the strategies that are first there, and their quality."""
        return leaders(self.standings)

    @property
    def seeds(self) -> str:
        """How many seeds a complete row has."""
        return cells.count(self.comparison.seeds)

    @property
    def unpruned(self) -> str:
        """The dense network's quality; empty where no run finished."""
        return cells.number(self.comparison, self.comparison.dense) if self.quality else ""

    @property
    def quality(self) -> str:
        """What strategies are judged by, with its unit."""
        return self.comparison.metric.heading if self.comparison.quality else ""

    @property
    def legend(self) -> list[str]:
        """What the marks beside numbers mean."""
        return cells.legend(self.comparison)


def titled(notes: Collection[str], name: str) -> str:
    """What a folder is called: the heading under which a page has its table, or speaks of it."""
    if heading := _above(notes, place_of(name))[0]:
        return heading
    heading, _ = _above(notes, f"]({name}")
    return f"{heading}: {name}" if heading else name


def introduced(notes: Collection[str], name: str) -> str:
    """What a page says under a heading before a folder's table; empty where none has it."""
    return _above(notes, place_of(name))[1]


def _above(notes: Collection[str], mark: str) -> tuple[str, str]:
    """The heading above a mark on the first page that has it, and what stands between them."""
    text = next((text for text in notes if mark in text), "")
    return last_section(text.partition(mark)[0])
