"""What people see of components, of digests, and of the labels that they choose for strategies."""

from __future__ import annotations

import ast
import hashlib
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ..errors import UsageError, printable, suggestion
from ..notation import without_paths

if TYPE_CHECKING:
    import pandas as pd

_DIGEST = "sha256:"
_SHOWN_DIGITS = 8
_VERSION = re.compile(r"(.*?)(?:@([0-9a-f]+))?", re.DOTALL)
_ABSOLUTE_PATH = re.compile(r"(['\"])[/~][^'\"]*/([^'\"/]+)\1")


@lru_cache(maxsize=4096)  # records of one comparison have the same few
def named(component: str) -> str:
    """A component as an experiment names it, without the files or modules in which classes are.

    >>> named("/home/me/mymethod.py:MyScore(alpha=2)")
    'MyScore(alpha=2)'
    """
    return without_paths(component)


def shown(component: str) -> str:
    """As :func:`named`, of absolute paths among the arguments the last part alone."""
    return _ABSOLUTE_PATH.sub(r"\1\2\1", named(component))


def digest(digits: str) -> str:
    """A digest as it stands in tables, where no reader takes it for a number; empty stays empty."""
    return f"{_DIGEST}{digits}" if digits else ""


def source_of(experiment: Mapping[str, Any], place: str) -> str:
    """The digest of the files from outside prunebench that a component and its parts are from.

    It is that of the file if there is one, a digest of theirs if there are several, empty if none.

    Args:
        experiment: that of a record, which says the digest of each file.
        place: where the component is in it, such as ``strategy``.
    """
    sources: Mapping[str, str] = experiment.get("sources", {})
    if not sources:
        return ""
    own = sorted({sources[each] for each in sources if is_within(each, place)})
    return hashlib.sha256("".join(own).encode()).hexdigest() if len(own) > 1 else "".join(own)


def is_within(place: str, whole: str) -> bool:
    """Whether a component's place is that of a whole or of one of its parts."""
    return place == whole or place.startswith(f"{whole}.")


def told_apart(versions: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """What each version of a strategy is called, given its name and the digest of its source.

    That is its name, and the beginning of the digest where versions share one.
    """
    distinct = list(dict.fromkeys(versions))
    versions_of = Counter(name for name, _ in distinct)
    return {
        (name, source): f"{name} @{source.removeprefix(_DIGEST)[:_SHOWN_DIGITS]}"
        if source and versions_of[name] > 1
        else name
        for name, source in distinct
    }


def printable_texts(frame: pd.DataFrame) -> pd.DataFrame:
    """A table whose texts hold nothing that a terminal or a page would obey."""
    texts = frame.select_dtypes(exclude="number")
    plain = {
        str(name): column.map(lambda value: printable(value) if isinstance(value, str) else value)
        for name, column in texts.items()
    }
    return frame.assign(**plain)


def labels_of(texts: Iterable[str]) -> dict[str, str]:
    """Strategies and their labels, from texts such as ``MyScore(alpha=2)=Ours``.

    Raises:
        UsageError: a text is no such pair, or a strategy occurs twice.
    """
    labels: dict[str, str] = {}
    for text in texts:
        # The equals signs of arguments are within parentheses.
        match = re.fullmatch(r"([^()=]+(?:\(.*?\))?(?:\s*@[0-9a-f]+)?)=(.*)", text, re.DOTALL)
        if match is None or not match[2].strip():
            raise UsageError(
                f"--label: {text!r} is not allowed: write STRATEGY=LABEL, such as "
                "'GlobalMagnitude=Magnitude'"
            )
        if match[1].strip() in labels:
            raise UsageError(f"--label: {match[1].strip()!r} is given two labels")
        labels[match[1].strip()] = match[2].strip()
    return labels


def labelled(
    versions: Iterable[tuple[str, str]], labels: Mapping[str, str]
) -> dict[tuple[str, str], str]:
    """What each version of a strategy is called: the label chosen for it, else its name.

    A strategy is meant by its name, which may be written with its path, or by ``name @digits``,
    with the first digits of its source, where only one version is meant.

    Raises:
        UsageError: a label is for none of the strategies, or two of them would be called the same.
    """
    called = {version: version[0] for version in versions}
    names = {name for name, _ in called}
    for text, label in labels.items():
        chosen = _meant(text, called)
        if not chosen:
            name = _split(text)[0]
            raise UsageError(
                f"the label {label!r} is not allowed: {text!r} is none of the strategies here: "
                f"{suggestion(name, names)}"
            )
        called |= dict.fromkeys(chosen, label)
    for label in called.values():
        meant = sorted({name for (name, _), each in called.items() if each == label})
        if len(meant) > 1:
            raise UsageError(
                f"the label {label!r} is not allowed: it would mean {meant[0]!r} and {meant[1]!r}"
            )
    return called


def labels_among(
    versions: Collection[tuple[str, str]], labels: Mapping[str, str]
) -> dict[str, str]:
    """Those labels that are for one of these versions of strategies."""
    return {text: label for text, label in labels.items() if _meant(text, versions)}


def _meant(text: str, versions: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The versions that a text before a label means; see :func:`labelled`."""
    name, digits = _split(text)
    return [
        (each, source)
        for each, source in versions
        if _values(each) == _values(name) and source.removeprefix(_DIGEST).startswith(digits)
    ]


def _split(text: str) -> tuple[str, str]:
    """A strategy's name without paths, and the digits of its source, which may be none."""
    match = _VERSION.fullmatch(named(text))
    assert match is not None  # any text is one
    return match[1].strip(), match[2] or ""


def _values(name: str) -> str:
    """A strategy's name, the same for all ways to write the numbers in it."""
    class_name, _, arguments = name.partition("(")
    try:
        call = ast.parse(f"call({arguments or ')'}", mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return name
    for node in ast.walk(call):
        if isinstance(node, ast.Constant) and type(node.value) is int:
            node.value = float(node.value)
    return class_name.strip() + ast.dump(call)


def with_labels(frame: pd.DataFrame, labels: Mapping[str, str]) -> pd.DataFrame:
    """A leaderboard in which strategies have the labels that somebody chose for them.

    Raises:
        UsageError: as :func:`labelled` does.
    """
    versions = list(zip(frame["strategy"], frame["strategy_source"].fillna(""), strict=True))
    called = labelled(versions, labels)
    return frame.assign(label=[called[version] for version in versions])
