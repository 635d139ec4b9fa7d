"""The open division: a method with a recipe of its own, which its authors say in a file.

Data, networks, their training and what is measured stay those of the suite; how a method prunes,
recovers and for how long is its own, and stands in its name in the table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ...errors import UsageError, sentence_of, suggestion
from ...results.targets import TARGET_NAMES
from ..grid import read_settings
from .suite import Suite, Task

_OF_THE_SUITE = (
    *("dataset", "model", "pretraining", "initialisation", "least_dense_quality"),
    *("metrics", "measurements", "strategy", "seed", *TARGET_NAMES),
)


class Recipe(BaseModel):
    """What a file of the open division says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    strategy: str = Field(description="the method")
    settings: dict[str, Any] = Field(default={}, description="settings of its cells in all tasks")
    tasks: dict[str, dict[str, Any]] = Field(default={}, description="and further in single tasks")

    def __str__(self) -> str:
        parts = {"": self.settings, **{f"{name}: ": own for name, own in self.tasks.items()}}
        return " · ".join(
            f"{where}{name} {value}" for where, own in parts.items() for name, value in _flat(own)
        )

    def task(self, name: str, task: Task) -> Task:
        """A task of a suite in which this recipe holds."""
        return task.changed(self.settings).changed(self.tasks.get(name, {}))


def read_recipe(path: Path, suite: Suite) -> Recipe:
    """The recipe in a YAML file.

    Raises:
        UsageError: it is none, or sets what is the suite's.
    """
    settings = read_settings(path)
    try:
        found = Recipe(**settings)
    except ValidationError as error:
        raise UsageError(f"{path}: {sentence_of(error, Recipe)}") from None
    for name in found.tasks:
        if name not in suite.tasks:
            raise UsageError(f"{path}: no task {name!r}: {suggestion(name, suite.tasks)}")
    for own in (found.settings, *found.tasks.values()):
        for name in own:
            if name in _OF_THE_SUITE:
                raise UsageError(f"{path}: {name} is not allowed: the suite itself says it")
    return found


def _flat(settings: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value
