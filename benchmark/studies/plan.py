"""What a configuration asks for in a published folder: the cells of a grid, or those of a suite."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ...notation import mapped, with_paths
from ...results import Outcome
from ...results.manifest import METHODS
from ...results.suites.levels import levels
from ...results.suites.score import Score, score
from ..experiment import Experiment
from ..grid import grid, read_labels, read_settings
from ..suites.cells import Cell, Choice, cells_of, scored_tasks
from ..suites.suite import Suite, suite


@dataclass(frozen=True)
class Plan:
    """The configuration of a published folder.

    Attributes:
        config: the YAML file: of experiments, or of a suite, whose methods are all run.
        folder: the published folder, in which Python files that it names may be.
    """

    config: Path
    folder: Path

    @cached_property
    def suite(self) -> Suite | None:
        """The suite; None where the configuration is that of a grid."""
        return suite(str(self.config)) if "tasks" in read_settings(self.config) else None

    def experiments(self) -> dict[str, Experiment]:
        """What belongs to the folder, by id."""
        if self.suite is not None:
            return {cell.experiment.id: cell.experiment for cell in self.suite_cells()}
        settings = here(read_settings(self.config), self.folder)
        return {each.id: each for each in grid(**settings)}

    def suite_cells(self) -> list[Cell]:
        """The cells of a suite; none where it is no suite."""
        suite = self.suite
        return cells_of(suite, map(Choice, suite.strategies)) if suite is not None else []

    def labels(self) -> dict[str, str]:
        """What strategies are called."""
        return {} if self.suite is not None else read_labels(self.config)

    def standing(self, records: Iterable[Outcome]) -> Score | None:
        """The score of the records of a suite; None where it is no suite.

        Raises:
            UsageError: they are of fewer than two complete methods, or lack dense networks.
        """
        if self.suite is None:
            return None
        tasks = scored_tasks(self.suite)
        return score(tasks, levels(tasks, records))


def here(settings: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Settings in a published folder, with the paths that files in it have from where we are."""

    def moved(path: str) -> str:
        return str(folder / path) if path.startswith(f"{METHODS}/") else path

    return relocated(settings, moved)


def relocated(settings: Mapping[str, Any], moved: Callable[[str], str]) -> dict[str, Any]:
    """Settings with other paths for the files in which components are.

    Args:
        settings: as plain data.
        moved: gives the path to write in place of one.
    """
    return {
        name: mapped(value, lambda part: with_paths(part, moved) if isinstance(part, str) else part)
        for name, value in settings.items()
    }
