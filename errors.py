"""The one exception that means "the user can put this right", and sentences for it.

Everything that a user can cause, from a misspelt strategy to a missing data set, is a
:class:`UsageError` whose text is one sentence naming the option, the value and what is allowed.
The command line prints it and exits with status 2; nothing else is caught there.
"""

from __future__ import annotations

import difflib
import re
import reprlib
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, get_origin

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError


class UsageError(Exception):
    """A mistake of the user's, told in one sentence."""

    def __init__(self, sentence: str) -> None:
        super().__init__(" ".join(sentence.split()))


def tell(sentence: str) -> None:
    """Print a sentence beside the output proper, which another program may read.

    One that quotes what a user's code raised may have several lines.
    """
    print(f"prunebench: {printable_lines(sentence)}", file=sys.stderr, flush=True)


def message_of(error: BaseException) -> str:
    """The text of an exception, also of one of a user's that has none to give."""
    try:
        return str(error)
    except (Exception, SystemExit) as second:
        return f"no message, since reading it raises {type(second).__name__}"


def lacking(extra: str, *packages: str) -> str:
    """What to say if some of the ``packages`` of an ``extra`` are not installed, else nothing.

    >>> lacking("plots", "pandas", "no_such_package")
    "no_such_package not installed: pip install '.[plots]' in the checkout of prunebench"
    """
    missing = [name for name in packages if not find_spec(name)]
    if not missing:
        return ""
    return (
        f"{', '.join(missing)} not installed: pip install '.[{extra}]' in the checkout of "
        "prunebench"
    )


def suggestion(name: str, allowed: Iterable[str], meant: Sequence[str] = ()) -> str:
    """The end of a sentence about an unknown ``name``: the nearest of ``allowed``, and all of it.

    Names that are known to be ``meant`` take the place of the nearest.

    >>> suggestion("Globl", ["Global", "Uniform"])
    "did you mean 'Global'? (allowed: Global, Uniform)"
    """
    names = sorted(allowed)
    near = list(meant) or difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if not near:  # "cifar-10" and "lenet5" differ from ours in too many letters for the line above
        plain = {_plain(candidate): candidate for candidate in names}
        near = [plain[each] for each in difflib.get_close_matches(_plain(name), plain, n=1)]
    listing = f"(allowed: {', '.join(names) or 'none'})"
    return f"did you mean {' or '.join(map(repr, near))}? {listing}" if near else listing


def _plain(name: str) -> str:
    """A name in small letters, without what people put between words."""
    return re.sub(r"[-_ ]", "", name).lower()


_OPTIONS_ELSEWHERE = {
    "lr": "learning-rate",
    "wd": "weight-decay",
    "bs": "batch-size",
    "arch": "model",
    "gpu": "device",
}
"""What other programs call an option → what we call it, or each recipe does."""


def option_suggestion(option: str, allowed: Sequence[str]) -> str:
    """The end of a sentence about an unknown option: those it may mean; empty if there are none.

    >>> option_suggestion("--lr", ["--finetuning.learning-rate", "--seed"])
    '; did you mean --finetuning.learning-rate?'
    """
    given = option.lstrip("-").partition("=")[0].replace("_", "-")
    prefix, dot, name = given.rpartition(".")
    name = _OPTIONS_ELSEWHERE.get(name, name)
    # Of options of a recipe the recipe's name is no part of what they are like.
    whole = {each: each.lstrip("-").removeprefix(prefix + dot) for each in allowed}
    last = {each: whole[each].rpartition(".")[2] for each in allowed}
    close = difflib.get_close_matches(name, {*whole.values(), *last.values()}, n=1, cutoff=0.7)
    near = [each for each in allowed if {whole[each], last[each]} & {*close}]
    near = [each for each in near if each.startswith(f"--{prefix}{dot}")] or near
    return f"; did you mean {' or '.join(near)}?" if near else ""


def printable(text: str) -> str:
    """A text with what a terminal would obey, and line ends, written as escapes.

    >>> printable("a\\x1b[2Jb")
    'a\\\\x1b[2Jb'
    """
    if text.isprintable():
        return text
    # Other blanks than our own are no printable characters for Python.
    return "".join(
        c
        if c.isprintable() or unicodedata.category(c) == "Zs"
        else c.encode("unicode_escape").decode()
        for c in text
    )


def printable_lines(text: str) -> str:
    """A text of several lines, each of them as :func:`printable` gives it."""
    return "\n".join(map(printable, text.expandtabs().splitlines()))


def sentence_of(error: ValidationError, model: type[BaseModel]) -> str:
    """The first complaint of a pydantic ``error`` about ``model`` as one sentence."""
    first = error.errors(include_url=False)[0]
    location = [str(part) for part in first["loc"]]
    if first["type"] == "extra_forbidden":
        *parents, name = location
        allowed = _fields_at(model, parents)
        where = f" in {'.'.join(parents)}" if parents else ""
        return f"unknown option {name!r}{where}: {suggestion(name, allowed)}"
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, UsageError):
        return str(cause)
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "missing":
        name = location[-1]
        if len(location) == 1 and model.model_fields[name].description:  # only settings have one
            kinds = "strategies" if name == "strategy" else f"{name}s"
            message = f"give --{name}, or {name} in the file: see `prunebench list {kinds}`"
        return f"{'.'.join(location)} is missing: {_lower(message)}"
    if not location:
        return message
    given = first["input"]
    of_setting = model.model_fields[location[0]].description
    if of_setting and len(location) == 2 and isinstance(given, list) and given:
        recipe, name = location
        several = ", ".join(f"{{{name}: {value}}}" for value in given[:2])
        message = f"several recipes make a grid, such as {recipe}: [{several}]"
    message = _way_out(first["type"], given, first.get("ctx", {})) or message
    return f"{'.'.join(location)}: {shown(given)} is not allowed: {_lower(message)}"


def _way_out(complaint: str, value: object, context: Mapping[str, Any]) -> str:
    """What to write in place of a value, where pydantic's words do not say; else empty."""
    if complaint == "tuple_type":
        return f"give a list, such as [{'a, b' if isinstance(value, Mapping) else value}]"
    if complaint == "model_type":
        return "give settings by their names, such as {epochs: 2}"
    if complaint == "bool_type":
        return "give true or false"
    if complaint == "less_than" and context["lt"] == 1:
        return "give a fraction below 1, such as 0.9"
    if complaint in ("int_type", "float_type") and isinstance(value, str):
        parts = re.split(r"[,;\s]+", value.strip())
        if re.fullmatch(r"\d+-\d+", value):
            parts = ["0", "1", "2"]
        if len(parts) > 1 and all(re.fullmatch(r"[\d.]+", part) for part in parts):
            return apart(parts)
        what = "a whole number" if complaint == "int_type" else "a number"
        if value.endswith("%"):
            return f"give {what}, percentages as fractions, such as 0.9"
        return f"give {what} without a unit or quotes"
    return ""


def apart(parts: Sequence[str]) -> str:
    """The end of a sentence about several values that were written as one."""
    in_file = f"[{', '.join(parts)}]"
    return f"several values stand apart, such as {' '.join(parts)}, and in a file as {in_file}"


def _fields_at(model: type[BaseModel], path: list[str]) -> list[str]:
    from pydantic import BaseModel

    for name in path:
        annotation = model.model_fields[name].annotation
        # Python 3.10 takes dict[str, str] for a type.
        if get_origin(annotation) or not isinstance(annotation, type):
            return []
        if not issubclass(annotation, BaseModel):
            return []
        model = annotation
    return list(model.model_fields)


def shown(value: object) -> str:
    """A value for a sentence: its repr, cut off where it is long.

    Of what holds other values no more is looked at than is shown.
    """
    try:
        text = repr(value) if isinstance(value, str) else reprlib.repr(value)
    except ValueError:  # Python writes no number of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= 60 else text[:57] + "..."


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]
