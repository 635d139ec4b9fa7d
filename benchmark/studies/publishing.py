"""Publishing: which published comparisons are stale, and making them anew with today's code.

A published comparison is a folder that is called like the YAML file of its experiments. Its records
are in it, so that only those cells are run again whose record is missing or stale.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ...errors import UsageError
from ...results import Record, Store
from ...results.changes import outdated_by, staleness
from ...results.manifest import CONFIG_FILE, MANIFEST_FILE
from ...results.publication import (
    lacking_columns,
    note,
    outdated_tables,
    publish,
    unlike_manifest,
)
from ...results.published_pages import show
from ...results.record_file import RECORDS_FILE, read_records
from ...results.suites.score import Score
from ...results.tables import LEADERBOARD_FILE
from ...user_code import admitting
from ..experiment import Experiment
from ..suites.cells import Cell
from ..suites.division import UntriedError
from ..suites.running import Bench, run_all
from ..sweeps.sweep import sweep, unfinished
from .plan import Plan
from .published import Published
from .restoring import RefusedCodeError

_ROOMS = ("experiments", "suites", "suites/divisions")


@dataclass(frozen=True)
class Publication:
    """A folder of what is published: a comparison, a suite, or what another command wrote.

    Attributes:
        folder: where it is published.
        config: the YAML file of a comparison's experiments, of a suite, or of its tuned division;
            None where it is another kind, as a study of several comparisons.
        trust: whether code from outside prunebench that the configuration names may be executed,
            of Python files in the folder those that were run. Whatever would execute it is else a
            :class:`.RefusedCodeError`.
    """

    folder: Path
    config: Path | None
    trust: bool = False

    @cached_property
    def plan(self) -> Plan | None:
        """What belongs to it; None where it is neither comparison nor suite."""
        return None if self.config is None else Plan(self.config, self.folder)

    def labels(self) -> dict[str, str]:
        """What its strategies are to be called."""
        with self.admitting():
            return self.plan.labels() if self.plan else {}

    def standing(self, records: Sequence[Record]) -> Score | None:
        """The score of its records, if it is of a suite."""
        with self.admitting():
            return self.plan.standing(records) if self.plan else None

    def records(self) -> list[Record]:
        """The records that are published; none where there is no file of them.

        Raises:
            UsageError: the file is damaged.
        """
        path = self.folder / RECORDS_FILE
        return list(read_records(path)) if path.exists() else []

    @contextmanager
    def admitting(self) -> Iterator[None]:
        """Have no code from outside prunebench executed inside the block that is not trusted.

        A file in the folder must be what was run, too; one elsewhere is its owner's, who may have
        changed it since.
        """
        published = Published(self.folder, self.trust)

        def admit(code: str, digest: str | None) -> None:
            if not self.trust or self.folder.resolve() in Path(code).parents:
                published.admit(code, digest)

        with admitting(admit):
            yield

    def stale(self) -> list[str] | None:
        """Why it is not what today's code gives; nothing where it is.

        None where code that is not trusted would have to say so, and nothing else does.
        """
        if self.config is None:
            return lacking_columns(self.folder)
        records = self.records()
        reasons = staleness(records) if records else ["it has no records"]
        refused = []
        for find in (self._other_cells, self._outdated_tables) if records else ():
            try:
                with self.admitting():
                    reasons += find(records)
            except RefusedCodeError as error:
                refused = [str(error)]
        reasons += lacking_columns(self.folder)
        if not self.has_manifest():
            reasons.append(f"it has no {MANIFEST_FILE}")
        else:
            reasons += unlike_manifest(self.folder) + self._other_configuration()
        if refused and not reasons and not self.trust:
            return None
        return list(dict.fromkeys(reasons + refused))

    def has_manifest(self) -> bool:
        """Whether the folder has a manifest."""
        return (self.folder / MANIFEST_FILE).is_file()

    def _other_configuration(self) -> list[str]:
        path = self.folder / CONFIG_FILE
        same = self.config and path.is_file() and path.read_bytes() == self.config.read_bytes()
        return [] if same else [f"{CONFIG_FILE} is not what {self.config} says"]

    def _other_cells(self, records: Sequence[Record]) -> list[str]:
        """How the cells of the configuration are not those that have records."""
        assert self.plan is not None  # only what has a configuration has cells
        try:
            ids = self.plan.experiments().keys()
        except UntriedError as error:
            return [str(error)]
        there, kind = {record.id for record in records if record.finished}, "finished record"
        if self.plan.suite is not None:  # in which failures count as the worst
            there, kind = {record.id for record in records}, "record"
        reasons = []
        if missing := len(ids - there):
            reasons.append(f"{missing} of {len(ids)} cells have no {kind}")
        if strange := sum(record.id not in ids for record in records):
            reasons.append(f"{strange} records are of no cell of {self.config}")
        return reasons

    def _outdated_tables(self, records: Sequence[Record]) -> list[str]:
        """Which tables are not what records give today, or why they give none."""
        try:
            standing = self.standing(records)
        except RefusedCodeError:
            raise
        except UsageError as error:
            return [str(error)]
        outdated = outdated_tables(records, self.labels(), self.folder, standing)
        return [f"{name} is not what its records give today" for name in outdated]

    def renew(self, runs: Path, *, data: Path | None, workers: int) -> list[Record]:
        """Run what is missing or stale, and publish it.

        Args:
            runs: the folder of records; what is published and not stale is taken over into it.
            data: the folder of data sets.
            workers: processes that run cells.

        Returns:
            The records of all cells, failed ones among them.

        Raises:
            RefusedCodeError: it would execute code that is not trusted, or in the folder other
                code than was run.
        """
        with self.admitting():
            return self._renewed(runs, data, workers)

    def _renewed(self, runs: Path, data: Path | None, workers: int) -> list[Record]:
        assert self.config is not None  # only what has cells can be stale and run again
        assert self.plan is not None
        store = Store(runs)
        for record in self.records():
            if not store.is_finished(record.id) and record.finished and not outdated_by(record):
                store.save(record)
        if self.plan.suite is None:
            experiments = list(self.plan.experiments().values())
            # What has no record goes first: it may be all that time allows.
            sweep(unfinished(experiments, store), runs=runs, data=data, workers=workers)
            sweep(_outdated(experiments, store), runs=runs, data=data, workers=workers, force=True)
            records = [known for each in experiments if (known := store.load(each.id))]
        else:
            records = self._renewed_suite(Bench(runs, data, workers))
        config, standing = self.config.read_bytes(), self.standing(records)
        publish(records, self.labels(), self.folder, config, standing)
        show(self.folder, records, self.labels(), standing)
        return records

    def _renewed_suite(self, bench: Bench) -> list[Record]:
        """The records of a suite's or a division's cells, which are run where that is needed."""
        assert self.plan is not None
        if (default := self.plan.default_division()) is not None:
            bench = bench._replace(beside=[default])

        def run(cells: Sequence[Cell]) -> dict[str, Record]:
            records = run_all(cells, bench)
            again = _outdated([cell.experiment for cell in cells], Store(bench.runs))
            anew = sweep(again, runs=bench.runs, data=bench.data, workers=bench.workers, force=True)
            return records | {record.id: record for record in anew}

        return list(run(self.plan.suite_cells(run)).values())

    def describe(self) -> None:
        """Write the manifest of what is published as it is, and what it says onto its page."""
        assert self.config is not None  # only comparisons have records
        records = self.records()
        note(self.folder, records, self.config.read_bytes())
        show(self.folder, records, self.labels(), self.standing(records))


def _outdated(experiments: Sequence[Experiment], store: Store) -> list[Experiment]:
    """Those that have a record of before a change that moved its results."""
    return [each for each in experiments if (known := store.load(each.id)) and outdated_by(known)]


def publications(
    configs: Sequence[Path], folder: Path, *, trust: bool = False
) -> list[Publication]:
    """The published comparisons of these YAML files, or whatever is published.

    Args:
        configs: YAML files of experiments, suites or divisions; none stands for all folders, whose
            files are in ``experiments``, ``suites`` or ``suites/divisions``.
        folder: where comparisons are published.
        trust: whether code from outside prunebench that they name may be executed.

    Raises:
        UsageError: a file is not there, or nothing is published.
    """
    for config in configs:
        if not config.is_file():
            raise UsageError(f"there is no {config}: give a YAML file of {', '.join(_ROOMS)}")
    if configs:
        return [Publication(folder / config.stem, config, trust) for config in configs]
    folders = sorted(each for each in folder.glob("*") if each.is_dir())
    if not folders:
        raise UsageError(f"nothing is published in {folder}")
    return [Publication(each, _config(each), trust) for each in folders]


def _config(folder: Path) -> Path | None:
    """The YAML file of a comparison or a suite: ours, or what a submission brought along."""
    if not (folder / LEADERBOARD_FILE).is_file():
        return None
    ours = [Path(room) / f"{folder.name}.yaml" for room in _ROOMS]
    return next((path for path in (*ours, folder / CONFIG_FILE) if path.is_file()), None)
