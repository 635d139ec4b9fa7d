"""Grids: many experiments from lists of values, in Python or in a YAML file."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from ..errors import UsageError, sentence_of, shown
from .experiment import Experiment

LISTS = ("metrics", "measurements", "prune_only", "prune_except")
"""The settings whose value is a list, and which therefore are no axis of a grid."""


MOST_CELLS = 100_000
"""The largest grid; none of it is made before it is known to be smaller."""


def grid(**settings: Any) -> list[Experiment]:
    """Every combination of the values in ``settings``; a list stands for its items in turn.

    >>> len(grid(dataset="Digits", model="LeNetSmall", strategy=["Random", "GlobalMagnitude"],
    ...          compression=[2, 4, 8], seed=[0, 1, 2]))
    18

    The first seed comes first with everything else, so that a grid that is interrupted has compared
    all it could.

    Raises:
        UsageError: a setting is unknown, missing, or has a value that is not allowed.
    """
    axes = {
        name: value if isinstance(value, list | tuple | range) and name not in LISTS else [value]
        for name, value in settings.items()
    }
    for name, values in axes.items():
        if not values:
            raise UsageError(f"{name}: an empty list leaves nothing to run")
    for name in settings.keys() & LISTS:
        given = settings[name]
        if isinstance(given, list | tuple) and any(isinstance(v, list | tuple) for v in given):
            raise UsageError(
                f"{name}: {shown(given)} is not allowed: it is one list, of which no grid is made; "
                "run another grid for another list"
            )
    if "seed" in axes:
        axes = {"seed": axes["seed"], **axes}
    cells = math.prod(map(len, axes.values()))
    if cells > MOST_CELLS:
        sizes = [f"{len(values):,} of {name}" for name, values in axes.items() if len(values) > 1]
        raise UsageError(
            f"the grid has {cells:,} cells ({' × '.join(sizes)}), and {MOST_CELLS:,} are the most "
            "that are allowed: give fewer values, or several grids"
        )
    return list(_expanded(axes))


def read_settings(path: Path) -> dict[str, Any]:
    """The settings in a YAML file, as :func:`grid` takes them.

    Raises:
        UsageError: the file is missing, is no YAML, or is no mapping of names to values.
    """
    settings = _read(path)
    settings.pop("labels", None)  # they are for what is made of the records
    return settings


def read_labels(path: Path) -> dict[str, str]:
    """What the strategies are to be called, as a YAML file says under ``labels``.

    Raises:
        UsageError: as :func:`read_settings` does, or the labels are no mapping of texts.
    """
    labels = _read(path).get("labels", {})
    if not isinstance(labels, Mapping) or not all(isinstance(v, str) for v in labels.values()):
        raise UsageError(
            f"labels: {shown(labels)} is not allowed: give a text for each strategy, such as "
            "'Random: at random'"
        )
    return dict(labels)


def _read(path: Path) -> dict[str, Any]:
    """What is in a YAML file.

    Raises:
        UsageError: the file is missing, is no YAML, or is no mapping of names to values.
    """
    try:
        settings = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise UsageError(f"cannot read the configuration {path}: {reason}") from None
    except YAMLError as error:
        place = getattr(error, "problem_mark", None)
        line = f" in line {place.line + 1}" if place else ""
        problem = getattr(error, "problem", None) or "something is malformed"
        raise UsageError(f"{path} is not valid YAML{line}: {problem}") from None
    if not isinstance(settings, Mapping) or not all(isinstance(name, str) for name in settings):
        raise UsageError(f"{path} must map settings to values, such as 'dataset: MNIST'")
    return dict(settings)


def parse_yaml(text: str) -> Any:
    """YAML 1.2, in which ``1e-3`` is a number and ``no`` is a word.

    Raises:
        YAMLError: it is none.
    """
    try:
        return YAML(typ="safe", pure=True).load(text)
    except RecursionError:
        raise MarkedYAMLError(problem="it is nested too deeply") from None
    except ValueError:  # thousands of digits, or the 99th of the month
        raise MarkedYAMLError(problem="a number or date in it cannot be read") from None


def _expanded(axes: Mapping[str, Sequence[Any]]) -> Iterator[Experiment]:
    """Every combination of values; what each of them means is found out once.

    A seed goes with whatever else there is, so that it is checked once too.
    """
    usual: dict[str, Any] = {}
    meant: dict[tuple[str, int], Any] = {}
    sound: dict[tuple[int, ...], Experiment] = {}
    for places in itertools.product(*(range(len(values)) for values in axes.values())):
        chosen = dict(zip(axes, places, strict=True))
        settings = {
            name: meant.get((name, place), axes[name][place]) for name, place in chosen.items()
        }
        others = tuple(place for name, place in chosen.items() if name != "seed")
        if others in sound and ("seed", chosen.get("seed")) in meant:
            yield sound[others].model_copy(update={"seed": settings["seed"]})
            continue
        experiment = _experiment({**usual, **settings})
        sound[others] = experiment
        yield experiment
        for name, place in chosen.items():
            meant.setdefault((name, place), getattr(experiment, name))
        usual = usual or {
            name: getattr(experiment, name) for name in Experiment.model_fields if name not in axes
        }


def _experiment(settings: dict[str, Any]) -> Experiment:
    try:
        return Experiment(**settings)
    except ValidationError as error:
        raise UsageError(sentence_of(error, Experiment)) from None
