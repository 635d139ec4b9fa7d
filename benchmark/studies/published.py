"""A published folder as it is read: its manifest, its records, and the experiments of these.

Python files from outside prunebench that were run lie in it too, and are named by their path in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ...errors import UsageError
from ...notation import mapped, with_paths
from ...results import Record
from ...results.manifest import CONFIG_FILE, METHODS, Manifest, read_manifest
from ...results.record_file import RECORDS_FILE, read_records
from ...user_code import admitting
from ..experiment import Experiment
from ..grid import grid, read_labels, read_settings
from .restoring import admission, experiment_of


@dataclass(frozen=True)
class Published:
    """A published folder.

    What is in it is read when it is asked for; whatever cannot be is a UsageError.

    Attributes:
        folder: where it is.
        trust: whether Python files that its records name may be executed, as long as they are what
            was run.
    """

    folder: Path
    trust: bool = False

    @cached_property
    def manifest(self) -> Manifest:
        """What it says of itself."""
        return read_manifest(self.folder)

    @cached_property
    def records(self) -> list[Record]:
        """All its records, with the paths of files as they are here."""
        path = self.folder / RECORDS_FILE
        if not path.is_file():
            raise UsageError(f"{self.folder} has no {RECORDS_FILE}")
        return [self._here(record) for record in read_records(path)]

    @cached_property
    def experiments(self) -> dict[str, Experiment]:
        """The experiment of each record, by the record's id."""
        return {each.id: experiment_of(each, trust=self.trust) for each in self.records}

    @property
    def sources(self) -> set[str]:
        """SHA-256 of the Python files from outside prunebench that were run."""
        return {
            digest
            for each in self.records
            for digest in each.experiment.get("sources", {}).values()
        }

    def labels(self) -> dict[str, str]:
        """What strategies are called."""
        return read_labels(self.folder / CONFIG_FILE)

    def cells(self) -> dict[str, Experiment]:
        """The experiments that the configuration describes, by their ids."""
        settings = here(read_settings(self.folder / CONFIG_FILE), self.folder)
        with self.admitting():
            return {each.id: each for each in grid(**settings)}

    @contextmanager
    def admitting(self) -> Iterator[None]:
        """Have no other code executed inside the block than what was run, and that if trusted."""

        def changed(code: str) -> UsageError:
            return UsageError(f"{code} is not what was run: no record has its digest")

        with admitting(admission(str(self.folder), self.sources, self.trust, changed)):
            yield

    def _here(self, record: Record) -> Record:
        return record.model_copy(update={"experiment": here(record.experiment, self.folder)})


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
