"""The trackers by the names that ``--track`` has for them."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import UsageError, lacking

if TYPE_CHECKING:
    from .tracked import Tracker

_CLASSES = {"tensorboard": "TensorBoard", "mlflow": "Mlflow", "wandb": "WeightsAndBiases"}

NAMES = tuple(_CLASSES)


def tracker(name: str, runs: Path) -> Tracker:
    """The tracker of that name, whose files are beside the records if they are on this machine.

    Raises:
        UsageError: its package is not installed.
    """
    if missing := lacking(name, name):
        raise UsageError(f"track {name}: {missing}")
    made: Tracker = getattr(import_module(f".{name}", __package__), _CLASSES[name])(runs / name)
    return made
