"""What a configuration asks for in a published folder: a grid, a suite, or its tuned division.

That of a tuned division names the suite and the methods. What their cells are, trials among them,
follows from the records of the trials.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ...errors import UsageError, sentence_of
from ...notation import mapped, with_paths
from ...results import Record
from ...results.manifest import METHODS
from ...results.record_file import RECORDS_FILE, read_records
from ...results.suites.levels import levels
from ...results.suites.score import Score, score
from ..experiment import Experiment
from ..grid import grid, read_labels, read_settings
from ..suites.cells import Cell, Choice, cells_of, scored_tasks
from ..suites.division import asked_for, looked_up
from ..suites.scoring import Studies, runs_of_studies
from ..suites.suite import Suite, suite
from ..suites.tuning import Run, tuned


class _Tuned(BaseModel):
    """The configuration of a tuned division, each of whose methods has one study."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    suite: str
    division: Literal["tuned"]
    strategies: tuple[str, ...] = Field(min_length=1, description="those that are tuned")


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
        """The suite, or that of the division; None where the configuration is that of a grid."""
        if self._tuned is not None:
            return suite(self._tuned.suite)
        return suite(str(self.config)) if "tasks" in read_settings(self.config) else None

    @cached_property
    def _tuned(self) -> _Tuned | None:
        settings = read_settings(self.config)
        if "division" not in settings:
            return None
        try:
            return _Tuned(**settings)
        except ValidationError as error:
            raise UsageError(f"{self.config}: {sentence_of(error, _Tuned)}") from None

    def default_division(self) -> Path | None:
        """Where the default division is published that a tuned one has cells in common with."""
        if self._tuned is None or self.suite is None:
            return None
        beside = self.folder.parent / self.suite.name
        return beside if (beside / RECORDS_FILE).is_file() else None

    def experiments(self) -> dict[str, Experiment]:
        """What belongs to the folder, by id.

        Raises:
            UntriedError: the folder of a tuned division lacks records of its trials.
        """
        if self.suite is not None:
            return {cell.experiment.id: cell.experiment for cell in self.suite_cells()}
        settings = here(read_settings(self.config), self.folder)
        return {each.id: each for each in grid(**settings)}

    def suite_cells(self, run: Run | None = None) -> list[Cell]:
        """The cells of a suite or a division; none where it is neither.

        Args:
            run: gives the records of trials; by default those in the folder.

        Raises:
            UntriedError: some of them are not there.
        """
        if self.suite is None:
            return []
        if self._tuned is None:
            return cells_of(self.suite, map(Choice, self.suite.strategies))
        trials: list[Cell] = []
        look_up = run or looked_up(self._published())

        def noted(cells: Sequence[Cell]) -> Mapping[str, Record]:
            trials.extend(cells)
            return look_up(cells)

        chosen = [own for (own,) in self._studies(noted).values()]
        own = {cell.experiment.id: cell for cell in [*trials, *cells_of(self.suite, chosen)]}
        return list(own.values())

    def labels(self) -> dict[str, str]:
        """What strategies are called."""
        return {} if self.suite is not None else read_labels(self.config)

    def standing(self, records: Sequence[Record]) -> Score | None:
        """The score of the records of a suite or a division; None where it is neither.

        Raises:
            UsageError: they are of fewer than two complete methods, or lack dense networks.
            UntriedError: they lack trials.
        """
        if self.suite is None:
            return None
        tasks = scored_tasks(self.suite)
        if self._tuned is None:
            return score(tasks, levels(tasks, records))
        return score(tasks, runs_of_studies(self.suite, self._studies(looked_up(records)), records))

    def _studies(self, run: Run) -> Studies:
        assert self.suite is not None  # a division is one of a suite
        assert self._tuned is not None
        asked = asked_for(self.suite, self._tuned.division, self._tuned.strategies)
        return {name: [tuned(self.suite, name, run)] for name in asked}

    def _published(self) -> Iterable[Record]:
        path = self.folder / RECORDS_FILE
        return read_records(path) if path.is_file() else ()


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
