"""The files that come with prunebench: experiments, examples and suites, by name."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from ...errors import UsageError, suggestion, tell

_ROOT = Path(__file__).resolve().parents[2]
_ENDINGS = {"experiments": (".yaml",), "examples": (".py", ".sh"), "suites": (".yaml",)}
_SENTENCE_END = re.compile(r"(?<! [A-Z])\.(?= [A-Z`]|$)")  # initials end no sentence

SHIPPED = tuple(_ENDINGS)
"""The kinds of files that come with prunebench."""


def shipped(kind: str) -> dict[str, Path]:
    """The files of a kind, by name."""
    return {
        path.stem: path
        for path in sorted((_ROOT / kind).iterdir())
        if path.suffix in _ENDINGS[kind]
    }


def overview(kind: str) -> str:
    """The files of a kind, each with its first sentence."""
    files = shipped(kind).items()
    return "\n".join(f"  {name}\n      {_summary(path)}" for name, path in files)


def content(kind: str, name: str) -> str:
    """What is in one file, but for its last line end.

    Raises:
        UsageError: there is none of that name.
    """
    files = shipped(kind)
    if name not in files:
        raise UsageError(f"there is no {kind[:-1]} {name!r}: {suggestion(name, files)}")
    return files[name].read_text(encoding="utf-8").rstrip("\n")


def settings_file(text: str) -> Path:
    """The YAML file that somebody means: one of theirs by its path, or one of ours by its name.

    What is in the working directory goes before what comes with prunebench, with its ending or
    without; wherever the text is not the path itself, a sentence says which file it is.

    Raises:
        UsageError: it is the name of no file here and of none that comes with prunebench.
    """
    path, ours = Path(text), shipped("experiments")
    if path.is_file():
        return path
    if path.name != text or path.suffix in (".yaml", ".yml"):
        return _missing(path, ours)
    here = Path(f"{text}.yaml")
    if not here.is_file() and text not in ours:
        raise UsageError(
            f"there is no file {text} or {here} here, and no experiment of that name comes with "
            f"prunebench: {suggestion(text, ours)}"
        )
    chosen = here if here.is_file() else ours[text]
    whose = "in this folder" if here.is_file() else "that comes with prunebench"
    tell(f"{text}: the experiment {whose}, {chosen}")
    return chosen


def _missing(path: Path, ours: dict[str, Path]) -> Path:
    """A path at which there is no file, unless one of ours may be meant."""
    if path.stem in ours and path.suffix == ".yaml":
        raise UsageError(
            f"there is no file {path}; give {path.stem} for the experiment of that name that comes "
            "with prunebench"
        )
    return path  # whoever reads it says what is wrong


def _summary(path: Path) -> str:
    """The first sentence of a file's first comment or docstring."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        text = ast.get_docstring(ast.parse(text)) or ""
    else:
        comment = re.match(r"(?:#.*\n)*", text)
        lines = comment[0].splitlines() if comment else []
        text = "\n".join(line[2:] for line in lines if line[:2] in ("#", "# ")).strip()  # not #!
    words = " ".join(text.split("\n\n")[0].split())
    end = _SENTENCE_END.search(words)
    return words[: end.end()] if end else words
