"""The loop: train → (prune → fine-tune) × K → measure. Every method goes through it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from ...datasets import DATASETS, Task
from ...registry import Component
from ...results import Record, Store
from ..experiment import Experiment
from . import distributed
from .checkpoint import Checkpoints
from .pretraining import Pretrained, require_learned
from .process import repeatable, threads
from .record import failed_record, finished_record
from .rounds import prune
from .training import copy_of_state


def run_cell(
    experiment: Experiment,
    store: Store,
    data: Path,
    *,
    weights: bool = True,
    checkpoint_seconds: float | None = None,
) -> Record:
    """Run one experiment and save its record, and the final weights beside it.

    Whatever goes wrong in the run itself becomes a record with status ``failed``, which takes the
    place of no finished one.

    Args:
        experiment: what to run.
        store: where the record goes; pretrained networks are kept there too.
        data: the folder of the data sets.
        weights: whether to save the final weights.
        checkpoint_seconds: time between two checkpoints of a training; None makes none.

    Raises:
        OSError: the record could not be saved.
    """
    checkpoints = Checkpoints(store.folder, experiment.id, checkpoint_seconds)
    with threads(experiment.threads), repeatable():
        try:
            task = load_task(experiment.dataset, data, experiment.device)
            pretrained = Pretrained(experiment, task, store.folder, checkpoint_seconds)
            require_learned(experiment, task, pretrained.report())
            pruned = prune(experiment, task, pretrained, checkpoints)
            record = finished_record(experiment, task, pretrained, pruned)
            state = copy_of_state(pruned.model)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a user's code may raise anything, SystemExit too
            record, state = failed_record(experiment, error), {}
    if distributed.rank() == 0:
        contiguous = {name: tensor.contiguous() for name, tensor in state.items()}
        store.save(record, save(contiguous) if weights and record.finished else None)
        if record.finished:
            checkpoints.remove()
    distributed.barrier()
    return record


@lru_cache(maxsize=2)
def _loaded(dataset: str, data: Path, device: str) -> Task:
    if device != "cpu":
        return _loaded(dataset, data, "cpu").to(torch.device(device))
    return DATASETS.component(dataset).create().load(data)


def load_task(dataset: Component[Any], data: Path, device: str = "cpu") -> Task:
    """The data set's task on a device; a process loads it once."""
    return _loaded(str(dataset), data, device)
