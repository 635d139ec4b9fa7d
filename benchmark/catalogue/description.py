"""What a component's docstring says of it, taken apart.

A docstring is one line, prose, and then entries (``Formula:``, ``Source:``, ``Use:``, ``Cost:``)
and ``Args:``, which may be left to the class that it derives from.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce

ENTRIES = ("Formula", "Source", "Use", "Cost")

# Code and cross-references of reStructuredText; of one that begins with ~ the last name is meant.
_MARKUP = re.compile(r":[\w:]+:`(?:~(?:\w+\.)*)?([^`]+)`|``([^`]+)``")


@dataclass(frozen=True)
class Description:
    """A docstring, taken apart; code in it is in single backticks, as in Markdown.

    Attributes:
        summary: its first line.
        prose: the paragraphs after it.
        entries: what is said under the names in ``ENTRIES``.
        arguments: what is said of each hyperparameter.
    """

    summary: str
    prose: str
    entries: Mapping[str, str]
    arguments: Mapping[str, str]


def description(factory: type) -> Description:
    """The description of a class; entries and arguments that it lacks are those of its bases."""
    own = [_taken_apart(base.__doc__ or "") for base in factory.__mro__ if base is not object]
    return Description(
        summary=own[0].summary,
        prose=own[0].prose,
        entries=reduce(lambda found, each: {**each.entries, **found}, own, {}),
        arguments=reduce(lambda found, each: {**each.arguments, **found}, own, {}),
    )


def _taken_apart(docstring: str) -> Description:
    text = _MARKUP.sub(r"`\1\2`", inspect.cleandoc(docstring))
    summary, _, rest = text.partition("\n")
    before, _, after = rest.partition("Args:\n")
    first_entry = re.search(rf"^({'|'.join(ENTRIES)}): ", before, re.MULTILINE)
    prose = before[: first_entry.start()] if first_entry else before
    entries = before[first_entry.start() :] if first_entry else ""
    prose, _, _ = prose.partition("Attributes:\n")
    arguments = textwrap.dedent(after.partition("\n\n")[0])
    return Description(
        summary=summary,
        prose=prose.strip(),
        entries=_items(entries, "|".join(ENTRIES)),
        arguments=_items(arguments, r"\w+"),
    )


def _items(text: str, names: str) -> dict[str, str]:
    """``name: text`` items, whose further lines are indented, each on one line."""
    found = re.findall(rf"^({names}): ((?:.+\n?)(?:^ +.+\n?)*)", text, re.MULTILINE)
    return {name: " ".join(value.split()) for name, value in found}
