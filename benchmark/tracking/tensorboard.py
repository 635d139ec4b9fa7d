"""TensorBoard: a folder of event files for each cell."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from .tracked import Tracked


@dataclass(frozen=True)
class TensorBoard:
    """Writes what ``tensorboard --logdir FOLDER`` shows: curves, and a table of settings.

    Attributes:
        folder: a cell's run is in a folder in it, called by its id.
    """

    folder: Path

    def track(self, cell: Tracked) -> None:
        """See :class:`.tracked.Tracker`."""
        run = self.folder / cell.id
        shutil.rmtree(run, ignore_errors=True)  # of the same cell, which has been run again
        with SummaryWriter(str(run)) as writer:
            for step, numbers in (*cell.epochs, *cell.rounds, (0, cell.final)):
                for name, number in numbers.items():
                    writer.add_scalar(name, number, step)
            writer.add_text("cell", f"{cell.name}: {cell.status}")
            writer.add_text("record", str(cell.record))
            for summary in hparams(dict(cell.settings), dict(cell.final)):
                writer.file_writer.add_summary(summary)
