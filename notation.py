"""How a component is written: ``Name(argument=value, ...)``, read without evaluating any of it.

A name may have the path of a file or module before it (``mymethod.py:MyScore``), and components may
be arguments of others. What needs quotes there, for spaces in its path, is written in quotes.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePath
from typing import Any

from .errors import UsageError, shown


@dataclass(frozen=True)
class Call:
    """A component as it is written: its reference and its arguments, which may hold others."""

    reference: str
    arguments: Mapping[str, Any]
    text: str


# It begins behind a delimiter, so that a long text is looked through once and not from each letter.
_WITH_PATH = (
    r"(?<![^\s()\[\]{},='\"])"
    r"(?:[^\s()\[\]{},=:'\"][^\s()\[\]{},='\"]*\.py|[^\W\d][\w.]*):[^\W\d][\w.]*"
)
# A reference that needs no quotes among the arguments of another component.
_NEEDS_NO_QUOTES = re.compile(rf"[^\W\d]\w*|{_WITH_PATH}")
# Texts in quotes, in which nothing is a reference, and references with a path.
_QUOTED_OR_WITH_PATH = re.compile(rf"""('(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")|({_WITH_PATH})""")
# The path of the component that a text begins with, in which there may be spaces.
_FIRST_PATH = re.compile(r"\A[^()'\"]*:(?=[A-Za-z_]\w*\s*(?:\(|$))")


def without_paths(text: str) -> str:
    """A component's text without the files and modules in which its class and its parts' are."""

    def name(match: re.Match[str]) -> str:
        return match[1] or match[2].rpartition(":")[2]

    return _QUOTED_OR_WITH_PATH.sub(name, _FIRST_PATH.sub("", text))


def with_paths(text: str, moved: Callable[[str], str]) -> str:
    """A component's text with another path for each file or module in which a class is.

    Args:
        text: the component, as it is written.
        moved: gives the path to write in place of one.
    """

    def elsewhere(match: re.Match[str]) -> str:
        path, _, name = (match[2] or "").rpartition(":")
        return match[1] or f"{moved(path)}:{name}"

    if first := _FIRST_PATH.match(text):
        rest = _QUOTED_OR_WITH_PATH.sub(elsewhere, text[first.end() :])
        return f"{moved(first[0][:-1])}:{rest}"
    return _QUOTED_OR_WITH_PATH.sub(elsewhere, text)


def parse(text: str, kind: str) -> Call:
    """What ``Name(argument=value, ...)`` says, nothing of which is evaluated."""
    name, opening, rest = text.strip().partition("(")
    name = name.strip()
    problem = f"cannot read the {kind} {shown(text)}: write it as Name or Name(argument=value, ...)"
    if not name or ")" in name or (opening and not rest.endswith(")")):
        raise UsageError(problem)
    references: dict[str, str] = {}

    def as_name(match: re.Match[str]) -> str:
        if match[1]:
            return match[1]
        stands_for = f"__reference_{len(references)}"
        references[stands_for] = match[2]
        return stands_for

    try:
        call = ast.parse(f"call({_QUOTED_OR_WITH_PATH.sub(as_name, rest[:-1])})", mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
            raise ValueError
        return Call(name, _arguments(call, references), text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise UsageError(problem) from None


def _arguments(call: ast.Call, references: Mapping[str, str]) -> dict[str, Any]:
    """The keyword arguments of a call, each given once and under its name."""
    arguments = {item.arg: _value(item.value, references) for item in call.keywords if item.arg}
    if call.args or len(arguments) < len(call.keywords):
        raise ValueError
    return arguments


def _value(node: ast.expr, references: Mapping[str, str]) -> Any:
    """A literal, with what is no literal in it as :class:`Call`."""
    if isinstance(node, ast.Name):
        name = references.get(node.id, node.id)
        return Call(name, {}, name)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        text = ast.unparse(node)
        for stands_for, reference in references.items():
            text = text.replace(stands_for, reference)
        name = references.get(node.func.id, node.func.id)
        return Call(name, _arguments(node, references), text)
    if isinstance(node, ast.List | ast.Tuple):
        values = [_value(each, references) for each in node.elts]
        return values if isinstance(node, ast.List) else tuple(values)
    if isinstance(node, ast.Dict):
        keys = [ast.literal_eval(key) for key in node.keys if key is not None]
        return dict(zip(keys, [_value(each, references) for each in node.values], strict=True))
    return ast.literal_eval(node)


def mapped(value: Any, function: Callable[[Any], Any]) -> Any:
    """``value`` with the function's result in place of everything that is no list or mapping."""
    if isinstance(value, list | tuple):
        return type(value)([mapped(each, function) for each in value])
    if isinstance(value, dict):
        return {key: mapped(each, function) for key, each in value.items()}
    return function(value)


class Verbatim(str):
    """A text that is written as it is, without quotes."""

    __slots__ = ()

    __repr__ = str.__str__


def quoted(text: str, reference: str) -> str:
    """The text of a component as an argument of another: in quotes if its reference needs them."""
    return text if _NEEDS_NO_QUOTES.fullmatch(reference) else repr(text)


def written(reference: str, arguments: Mapping[str, Any]) -> str:
    """The text of a component, given its arguments that are not at their default."""
    inner = ", ".join(f"{name}={noted(value)!r}" for name, value in arguments.items())
    return f"{reference}({inner})" if inner else reference


def noted(value: Any) -> Any:
    """An argument as what has a notation: an Enum as its value, a path as its text.

    A set is always in one order: Python's differs between processes.
    """
    return mapped(value, _noted)


def _noted(part: Any) -> Any:
    if isinstance(part, Enum):
        return noted(part.value)
    if isinstance(part, PurePath):
        return str(part)
    if not isinstance(part, set | frozenset) or not part:
        return part
    return Verbatim(f"{{{', '.join(sorted(repr(noted(each)) for each in part))}}}")


def is_literal(value: Any) -> bool:
    """Whether an argument can be read again from its notation."""
    try:
        ast.literal_eval(repr(noted(value)))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return False
    return True
