"""MLflow: a run for each cell, in its experiment ``prunebench``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from mlflow.entities import Metric, Param
from mlflow.tracking import MlflowClient

from .tracked import Tracked

_EXPERIMENT = "prunebench"
_MOST_METRICS, _MOST_PARAMETERS, _LONGEST = 1000, 100, 6000
"""What MLflow takes at once, and of a parameter."""


@dataclass(frozen=True)
class Mlflow:
    """Logs to the store or server that ``MLFLOW_TRACKING_URI`` names.

    Attributes:
        folder: where runs are kept if it names none.
    """

    folder: Path

    def track(self, cell: Tracked) -> None:
        """See :class:`.tracked.Tracker`."""
        client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or self._here())
        found = client.get_experiment_by_name(_EXPERIMENT)
        experiment = found.experiment_id if found else client.create_experiment(_EXPERIMENT)
        run = client.create_run(experiment, run_name=cell.name).info
        metrics = [
            Metric(name, number, run.start_time, step)
            for step, numbers in (*cell.epochs, *cell.rounds, (0, cell.final))
            for name, number in numbers.items()
        ]
        for start in range(0, len(metrics), _MOST_METRICS):
            client.log_batch(run.run_id, metrics=metrics[start : start + _MOST_METRICS])
        settings = [Param(key, str(value)[:_LONGEST]) for key, value in cell.settings.items()]
        for start in range(0, len(settings), _MOST_PARAMETERS):
            client.log_batch(run.run_id, params=settings[start : start + _MOST_PARAMETERS])
        tags = {"id": cell.id, "comparison": cell.comparison, "record": str(cell.record)}
        for name, value in {**tags, "status": cell.status}.items():
            client.set_tag(run.run_id, f"prunebench.{name}", value)
        client.set_terminated(run.run_id, "FAILED" if cell.status == "failed" else "FINISHED")

    def _here(self) -> str:
        """The address of the folder; MLflow has to be told that a folder is wanted."""
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        return self.folder.absolute().as_uri()
