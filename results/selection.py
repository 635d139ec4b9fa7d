"""Some rows of a leaderboard, and in another order: what ``--where`` and ``--sort`` ask for."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..errors import UsageError, suggestion

_CONDITION = re.compile(r"\s*([^<>=!]+?)\s*(<=|>=|!=|==|=|<|>)\s*(.*?)\s*", re.DOTALL)
_ORDERS: dict[str, Callable[[Any, float], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_MOST_SHOWN = 40


def selected(frame: pd.DataFrame, conditions: Iterable[str]) -> pd.DataFrame:
    """The rows of a leaderboard for which all conditions hold.

    Args:
        frame: the leaderboard.
        conditions: such as ``strategy=Random,SNIP``, ``dataset!=MNIST`` or ``sparsity>=0.9``. A
            column is meant by its name, without ``target_`` before and ``_mean`` behind it too.

    Raises:
        UsageError: a condition cannot be read, names an unknown column or a value that no row has,
            or there are no rows for which all hold.
    """
    whole = frame
    for condition in conditions:
        frame = frame[_holds(whole, condition)[frame.index]]
    if frame.empty and not whole.empty:
        raise UsageError(f"--where: no row is left by {' '.join(map(repr, conditions))}")
    return frame.reset_index(drop=True)


def in_order(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """A leaderboard with its rows in the order of some columns, the first one first.

    Args:
        frame: the leaderboard.
        columns: their names, as in conditions; one with ``-`` before it has large values first.

    Raises:
        UsageError: there is no such column.
    """
    if not columns:
        return frame
    names = [_column(frame, column.removeprefix("-"), "--sort") for column in columns]
    ascending = [not column.startswith("-") for column in columns]
    return frame.sort_values(names, ascending=ascending, kind="stable", ignore_index=True)


def _holds(frame: pd.DataFrame, condition: str) -> pd.Series[Any]:
    """For each row whether a condition holds."""
    match = _CONDITION.fullmatch(condition)
    if match is None or not match[3]:
        raise UsageError(
            f"--where: {condition!r} is not allowed: write COLUMN=VALUE[,VALUE…], or with !=, <, "
            "<=, > or >=, such as 'sparsity>=0.9'"
        )
    column = frame[_column(frame, match[1], "--where")]
    if match[2] in _ORDERS:
        if not pd.api.types.is_numeric_dtype(column):
            raise UsageError(
                f"--where: {condition!r} is not allowed: {column.name} is text, which is equal (=) "
                "or not (!=)"
            )
        value = _number(match[3], condition)
        return _ORDERS[match[2]](column.astype("float64"), value)
    equal = _any_of(column, _values(match[3]), condition)
    return ~equal if match[2] == "!=" else equal


def _values(text: str) -> list[str]:
    """What stands between commas, but for those among arguments."""
    values, depth = [""], 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            values.append("")
        else:
            values[-1] += character
    return [value.strip() for value in values]


def _any_of(column: pd.Series[Any], values: Sequence[str], condition: str) -> pd.Series[Any]:
    """For each row whether it has one of some values, each of which some row has."""
    found = pd.Series(False, index=column.index)
    for value in values:
        if pd.api.types.is_numeric_dtype(column):
            numbers = column.astype("float64")
            equal = pd.Series(
                np.isclose(numbers, _number(value, condition), rtol=1e-6, atol=0),
                index=column.index,
            )
        else:
            equal = column.fillna("") == value
        if not equal.any():
            raise UsageError(f"--where: no row has {column.name}={value}: {_there(column, value)}")
        found |= equal
    return found


def _there(column: pd.Series[Any], value: str) -> str:
    """The end of a sentence about a value that a column does not have."""
    values = [f"{each:g}" if isinstance(each, float) else str(each) for each in column.dropna()]
    distinct = list(dict.fromkeys(values))
    if len(distinct) > _MOST_SHOWN:
        distinct = [*distinct[:_MOST_SHOWN], "…"]
    return suggestion(value, distinct)


def _number(text: str, condition: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"--where: {condition!r} is not allowed: {text!r} is no number") from None


def _column(frame: pd.DataFrame, name: str, option: str) -> str:
    """The column that somebody means."""
    for candidate in (name, f"target_{name}", f"{name}_mean"):
        if candidate in frame.columns:
            return candidate
    raise UsageError(f"{option}: there is no column {name!r}: {suggestion(name, frame.columns)}")
