"""What all figures share: ink, colours that anybody can tell apart, markers, lines and files."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import fill
from typing import Any, NamedTuple, TypeAlias

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.style import context

from .files import write_atomically

DOTS_PER_INCH = 160
_TITLE_CHARACTERS = 56
_CONDITIONS_CHARACTERS = 84
_HEAD_LINE_INCHES = (0.2, 12 / 72)  # of the title and of the conditions

# Okabe and Ito's palette, which people of any colour vision can tell apart. The numbers of colours
# and of markers have no common factor, so that it takes long to come to the same two.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "p", "h")
Dashes: TypeAlias = str | tuple[int, tuple[float, ...]]
DASHES: tuple[Dashes, ...] = (
    "-",
    (0, (4.5, 1.6)),
    (0, (1, 1.4)),
    (0, (7, 1.6, 1, 1.6)),
    (0, (3, 1.2, 1, 1.2, 1, 1.2)),
)
_BASELINE_COLOUR = "#8C8C8C"
_BASELINE_MARKERS = ("X", "P", "d", "*")
INK = "#262626"
FAINT_INK = "#6B6B6B"
GRID = "#E6E6E6"
PAPER = "#FFFFFF"
LINE: dict[str, Any] = {"lw": 1.9, "ms": 6, "mec": "white", "mew": 0.8}
DENSE_LINE: dict[str, Any] = {"lw": 1.1, "ls": (0, (5, 3)), "color": INK}
_STYLE: dict[str, Any] = {
    "axes.edgecolor": FAINT_INK,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "pdf.fonttype": 42,
    "svg.hashsalt": "prunebench",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}

# What each format would say of the program and of the time at which a file was written.
_METADATA = {
    "png": ("Software",),
    "pdf": ("Creator", "Producer", "CreationDate"),
    "svg": ("Creator", "Date", "Format", "Type"),
}
FIGURE_FORMATS = tuple(_METADATA)
"""The formats of figures, which are the endings of their names."""


class Look(NamedTuple):
    """How one thing is drawn, the same in all panels of a figure."""

    colour: str
    marker: str
    dashes: Dashes = "-"
    filled: bool = True

    def line(self) -> dict[str, Any]:
        """The look as the arguments of a line with markers."""
        style = LINE | {"color": self.colour, "marker": self.marker, "ls": self.dashes}
        return style if self.filled else style | {"mfc": "white", "mec": self.colour, "mew": 1.4}


def looks(names: Iterable[str], baselines: Iterable[str] = ()) -> dict[str, Look]:
    """A look for each name, no two alike up to 420 names; baselines are grey.

    Up to 84 differ in colour or marker, so that the kind of line can stand for something else.
    """
    grey = set(baselines)
    distinct = list(dict.fromkeys(names))
    coloured = [name for name in distinct if name not in grey]
    chosen = {
        name: _look(place, (_BASELINE_COLOUR,), _BASELINE_MARKERS)
        for place, name in enumerate(name for name in distinct if name in grey)
    }
    chosen |= {name: _look(place, COLOURS, MARKERS) for place, name in enumerate(coloured)}
    return {name: chosen[name] for name in distinct}


def _look(place: int, colours: tuple[str, ...], markers: tuple[str, ...]) -> Look:
    pairs = len(colours) * len(markers)
    return Look(
        colours[place % len(colours)],
        markers[place % len(markers)],
        DASHES[place // len(colours) % len(DASHES)],
        filled=place // pairs % 2 == 0,
    )


@contextmanager
def in_our_style() -> Iterator[None]:
    """Within it figures are made and written that look like all of ours.

    Characters that the font lacks are no reason for warnings: a page shows them in another one.
    """
    with context(["default", _STYLE]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure, the same bytes for the same figure.

    The ending of the name says the format: ``.pdf`` (whose text stays text), ``.svg`` (whose text
    is outlines, and looks the same everywhere), else PNG.

    Raises:
        OSError: the file could not be written; an earlier one is as it was.
    """
    kind = path.suffix.lower().removeprefix(".")
    kind = kind if kind in _METADATA else "png"
    content = io.BytesIO()
    with in_our_style():
        figure.savefig(content, format=kind, metadata=dict.fromkeys(_METADATA[kind]))
    write_atomically(path, content.getvalue())


def head(axes: Axes, title: str, conditions: str, width: float = 1.0) -> None:
    """Give axes a title and, below it, a line on conditions.

    ``width`` is the part of a panel that the axes take; names beside them take the rest.
    """
    above, below = _head(title, conditions, width)
    axes.set_title(
        literal(above),
        loc="left",
        fontsize=12,
        fontweight="bold",
        pad=10 + 12 * len(below.splitlines()),
    )
    axes.annotate(
        literal(below),
        xy=(0, 1),
        xytext=(0, 8),
        xycoords="axes fraction",
        textcoords="offset points",
        color=FAINT_INK,
        fontsize=8.5,
    )


def head_inches(title: str, conditions: str, width: float = 1.0) -> float:
    """The height that :func:`head` takes beyond that of a line of each."""
    lines = [len(text.splitlines()) for text in _head(title, conditions, width)]
    return sum(inches * (count - 1) for inches, count in zip(_HEAD_LINE_INCHES, lines, strict=True))


def _head(title: str, conditions: str, width: float) -> tuple[str, str]:
    """Title and conditions on as many lines as they need."""
    return (
        wrapped(title, int(width * _TITLE_CHARACTERS)),
        wrapped(conditions, int(width * _CONDITIONS_CHARACTERS)),
    )


def literal(text: str) -> str:
    """Text that matplotlib is not to read as mathematics."""
    return text.replace("$", r"\$")


def wrapped(name: str, width: int) -> str:
    """A name on lines of at most ``width`` characters, where need be broken within its words.

    A word that is longer is broken where a part of it begins.
    """
    words = [
        re.sub(r"(?<=[(,/=])(?=\S)", "\0 ", word) if len(word) > width else word
        for word in name.split(" ")
    ]
    return fill(" ".join(words), width).replace("\0 ", "").replace("\0", "")
