"""Publishing: which published comparisons are stale, and making them anew with today's code.

A published comparison is a folder that is called like the YAML file of its experiments. Its records
are in it, so that only those cells are run again whose record is missing or stale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import UsageError
from ...results import Record, Store
from ...results.changes import outdated_by, staleness
from ...results.manifest import CONFIG_FILE, MANIFEST_FILE
from ...results.publication import (
    lacking_columns,
    literature_on,
    note,
    outdated_tables,
    publish,
    shown_on,
    unlike_manifest,
)
from ...results.record_file import RECORDS_FILE, read_records
from ...results.tables import LEADERBOARD_FILE
from ..experiment import Experiment
from ..grid import grid, read_labels, read_settings
from ..sweeps.sweep import sweep, unfinished
from .published import here


@dataclass(frozen=True)
class Publication:
    """A folder of what is published: a comparison, or what another command wrote.

    Attributes:
        folder: where it is published.
        config: the YAML file of a comparison's experiments; None where it is another kind, as a
            study of several comparisons.
    """

    folder: Path
    config: Path | None

    def experiments(self) -> list[Experiment]:
        """What belongs to a comparison, each once; nothing where it is none."""
        if self.config is None:
            return []
        settings = here(read_settings(self.config), self.folder)
        return list({each.id: each for each in grid(**settings)}.values())

    def labels(self) -> dict[str, str]:
        """What its strategies are to be called."""
        return read_labels(self.config) if self.config else {}

    def records(self) -> list[Record]:
        """The records that are published; none where there is no file of them.

        Raises:
            UsageError: the file is damaged.
        """
        path = self.folder / RECORDS_FILE
        return list(read_records(path)) if path.exists() else []

    def stale(self) -> list[str]:
        """Why it is not what today's code gives; nothing where it is."""
        reasons = lacking_columns(self.folder)
        if self.config is None:
            return reasons
        reasons = self._stale_cells() + reasons
        if not self.has_manifest():
            return [*reasons, f"it has no {MANIFEST_FILE}"]
        return reasons + unlike_manifest(self.folder) + self._other_configuration()

    def has_manifest(self) -> bool:
        """Whether the folder has a manifest."""
        return (self.folder / MANIFEST_FILE).is_file()

    def _other_configuration(self) -> list[str]:
        path = self.folder / CONFIG_FILE
        same = self.config and path.is_file() and path.read_bytes() == self.config.read_bytes()
        return [] if same else [f"{CONFIG_FILE} is not what {self.config} says"]

    def _stale_cells(self) -> list[str]:
        ids = {experiment.id for experiment in self.experiments()}
        records = self.records()
        if not records:
            return ["it has no records"]
        reasons = staleness(records)
        if missing := len(ids - {record.id for record in records if record.finished}):
            reasons.append(f"{missing} of {len(ids)} cells have no finished record")
        if strange := sum(record.id not in ids for record in records):
            reasons.append(f"{strange} records are of no cell of {self.config}")
        outdated = outdated_tables(records, self.labels(), self.folder)
        return reasons + [f"{name} is not what its records give today" for name in outdated]

    def renew(self, runs: Path, *, data: Path | None, workers: int) -> list[Record]:
        """Run what is missing or stale, and publish it.

        Args:
            runs: the folder of records; what is published and not stale is taken over into it.
            data: the folder of data sets.
            workers: processes that run cells.

        Returns:
            The records of all cells, failed ones among them.
        """
        assert self.config is not None  # only comparisons can be stale and run again
        experiments = self.experiments()
        store = Store(runs)
        for record in self.records():
            if not store.is_finished(record.id) and record.finished and not outdated_by(record):
                store.save(record)
        again = [
            each for each in experiments if (known := store.load(each.id)) and outdated_by(known)
        ]
        # What has no record goes first: it may be all that time allows.
        sweep(unfinished(experiments, store), runs=runs, data=data, workers=workers)
        sweep(again, runs=runs, data=data, workers=workers, force=True)
        records = [known for each in experiments if (known := store.load(each.id))]
        publish(records, self.labels(), self.folder, self.config.read_bytes())
        self._show(records)
        return records

    def describe(self) -> None:
        """Write the manifest of what is published as it is, and what it says onto the page."""
        assert self.config is not None  # only comparisons have records
        records = self.records()
        note(self.folder, records, self.config.read_bytes())
        self._show(records)

    def _show(self, records: list[Record]) -> None:
        page = self.folder.parent / "README.md"
        shown_on(page, self.folder.name, records, self.labels())
        literature_on(page)


def publications(configs: Sequence[Path], folder: Path) -> list[Publication]:
    """The published comparisons of these YAML files, or whatever is published.

    Args:
        configs: YAML files of experiments; none stands for all folders, whose comparisons are in
            ``experiments``.
        folder: where comparisons are published.

    Raises:
        UsageError: nothing is published there.
    """
    if configs:
        return [Publication(folder / config.stem, config) for config in configs]
    folders = sorted(each for each in folder.glob("*") if each.is_dir())
    if not folders:
        raise UsageError(f"nothing is published in {folder}")
    return [Publication(each, _config(each)) for each in folders]


def _config(folder: Path) -> Path | None:
    """The YAML file of a comparison's experiments: ours, or what a submission brought along."""
    if not (folder / LEADERBOARD_FILE).is_file():
        return None
    ours = Path("experiments") / f"{folder.name}.yaml"
    return next((path for path in (ours, folder / CONFIG_FILE) if path.is_file()), None)
