"""A published folder as it is read: its manifest, its records, and the experiments of these.

Python files from outside prunebench that were run lie in it too, and are named by their path in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ...errors import UsageError
from ...results import Record
from ...results.manifest import CONFIG_FILE, Manifest, read_manifest
from ...results.record_file import RECORDS_FILE, read_records
from ...results.suites.score import Score
from ...user_code import admitting
from ..experiment import Experiment
from .plan import Plan, here
from .restoring import RefusedCodeError, admission, experiment_of


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

    @cached_property
    def sources(self) -> set[str]:
        """SHA-256 of the Python files from outside prunebench that were run."""
        return {
            digest
            for each in self.records
            for digest in each.experiment.get("sources", {}).values()
        }

    @cached_property
    def plan(self) -> Plan:
        """What its configuration asks for."""
        return Plan(self.folder / CONFIG_FILE, self.folder)

    @cached_property
    def standing(self) -> Score | None:
        """The score of its records, if they are a suite's."""
        return self.plan.standing(self.records)

    def labels(self) -> dict[str, str]:
        """What strategies are called."""
        return self.plan.labels()

    def cells(self) -> dict[str, Experiment]:
        """The experiments that the configuration describes, by their ids."""
        with self.admitting():
            return self.plan.experiments()

    @contextmanager
    def admitting(self) -> Iterator[None]:
        """Have no other code executed inside the block than what was run, and that if trusted."""
        with admitting(self.admit):
            yield

    def admit(self, code: str, digest: str | None) -> None:
        """Decide on code from outside prunebench; see :data:`.user_code.Admission`.

        Raises:
            RefusedCodeError: it is not trusted, or not what was run.
        """

        def changed(code: str) -> UsageError:
            return RefusedCodeError(f"{code} is not what was run: no record has its digest")

        sources = self.sources if self.trust else ()
        admission(str(self.folder), sources, self.trust, changed)(code, digest)

    def _here(self, record: Record) -> Record:
        return record.model_copy(update={"experiment": here(record.experiment, self.folder)})
