"""Publishing: which published comparisons are stale, and making them anew with today's code.

A published comparison is a folder that is called like the YAML file of its experiments. Its records
are in it, so that only those cells are run again whose record is missing or stale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError
from ..results import Record, Store
from ..results.changes import outdated_by, staleness
from ..results.publication import outdated_tables, publish, shown_on
from ..results.record_file import RECORDS_FILE, read_records
from .experiment import Experiment
from .grid import grid, read_settings
from .sweep import sweep, unfinished


@dataclass(frozen=True)
class Publication:
    """A comparison that is published.

    Attributes:
        config: the YAML file of its experiments.
        folder: where it is published.
    """

    config: Path
    folder: Path

    def experiments(self) -> list[Experiment]:
        """What belongs to it, each once."""
        settings = read_settings(self.config)
        return list({each.id: each for each in grid(**settings)}.values())

    def records(self) -> list[Record]:
        """The records that are published; none where there is no file of them.

        Raises:
            UsageError: the file is damaged.
        """
        path = self.folder / RECORDS_FILE
        return list(read_records(path)) if path.exists() else []

    def stale(self) -> list[str]:
        """Why it is not what today's code gives; nothing where it is."""
        ids = {experiment.id for experiment in self.experiments()}
        records = self.records()
        if not records:
            return ["it has no records"]
        reasons = staleness(records)
        if missing := len(ids - {record.id for record in records if record.finished}):
            reasons.append(f"{missing} of {len(ids)} cells have no finished record")
        if strange := sum(record.id not in ids for record in records):
            reasons.append(f"{strange} records are of no cell of {self.config}")
        outdated = outdated_tables(records, self.folder)
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
        publish(records, self.folder)
        shown_on(self.folder.parent / "README.md", self.folder.name, records)
        return records


def publications(configs: Sequence[Path], folder: Path) -> list[Publication]:
    """The published comparisons of these YAML files, or of all that have a folder.

    Args:
        configs: YAML files of experiments; none stands for all in ``experiments``.
        folder: where comparisons are published.

    Raises:
        UsageError: there is none.
    """
    chosen = configs or sorted(Path("experiments").glob("*.yaml"))
    found = [Publication(config, folder / config.stem) for config in chosen]
    found = [each for each in found if configs or each.folder.is_dir()]
    if not found:
        raise UsageError(f"nothing is published in {folder} of what is in experiments")
    return found
