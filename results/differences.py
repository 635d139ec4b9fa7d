"""Where two documents differ, such as two results of one run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple


class Difference(NamedTuple):
    """A value that differs: where it is, such as ``rounds[1].after.top1``, and both values."""

    place: str
    first: object
    second: object


def differing(first: Any, second: Any, place: str = "") -> Iterator[Difference]:
    """All that differs between two documents, in the order of the first.

    What one of them lacks is None in it. Elements of lists are counted from 1.

    Args:
        first: mappings, lists and values, as in JSON.
        second: the other.
        place: what the places of differences begin with.
    """
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        for name in dict.fromkeys([*first, *second]):
            inner = f"{place}.{name}" if place else str(name)
            yield from differing(first.get(name), second.get(name), inner)
    elif isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        for number, (one, other) in enumerate(zip(first, second, strict=True), 1):
            yield from differing(one, other, f"{place}[{number}]")
    elif first != second:
        yield Difference(place, first, second)
