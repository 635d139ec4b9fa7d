"""Weights & Biases: a run for each cell, in the project ``prunebench``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import wandb

from .tracked import Tracked


@dataclass(frozen=True)
class WeightsAndBiases:
    """Logs as ``wandb login`` and the variables of wandb say, such as ``WANDB_MODE=offline``.

    Attributes:
        folder: where wandb keeps its files, which is always called ``wandb``.
    """

    folder: Path

    def track(self, cell: Tracked) -> None:
        """See :class:`.tracked.Tracker`."""
        run = wandb.init(
            project="prunebench",
            id=cell.id,
            name=cell.name,
            group=cell.comparison,
            config={**cell.settings, "record": str(cell.record)},
            dir=self.folder.parent,
            reinit="create_new",
            settings=wandb.Settings(silent=True, console="off", x_disable_stats=True),
        )
        for curve, axis in ((cell.epochs, "epoch"), (cell.rounds, "round")):
            for name in {name for _, numbers in curve for name in numbers}:
                run.define_metric(name, step_metric=axis)
            for step, numbers in curve:
                run.log({axis: step, **numbers})
        run.summary.update({**cell.final, "status": cell.status})
        run.finish(exit_code=int(cell.status == "failed"))
