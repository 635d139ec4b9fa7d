"""The networks of a finished run, from the files that it left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import nn

from ..datasets import Task
from ..errors import UsageError
from ..metrics import NetworkKind
from ..results import Record, Store
from ..strategies import Strategy
from .experiment import Experiment
from .loop import load_task, shrunk
from .pretraining import Pretrained, build


@dataclass(frozen=True)
class Restored:
    """A finished run, ready to be run again.

    Attributes:
        experiment: what was run.
        task: its data set.
        networks: the pretrained one (``dense``), the pruned one with its zeros (``masked``) and,
            where whole channels were removed, that without them (``shrunk``).
    """

    experiment: Experiment
    task: Task
    networks: Mapping[NetworkKind, nn.Module]

    @property
    def deployed(self) -> nn.Module:
        """The pruned network, as small as it gets."""
        return self.networks.get("shrunk", self.networks["masked"])


def restore(record: Record, store: Store, data: Path, device: str = "cpu") -> Restored:
    """Build the networks of a record on a device.

    Raises:
        UsageError: the run failed, its weights were not saved or are gone, or it cannot be built.
    """
    if not record.finished:
        raise UsageError(f"the run {record.id} failed, so that it has no network")
    experiment = experiment_of(record.experiment)
    strategy: Strategy = experiment.strategy.create()
    if strategy.gates:
        raise UsageError(
            f"the run {record.id}: {experiment.strategy} adds gates to its network, which cannot "
            "be built from a record"
        )
    path = store.weights_path(record.id)
    pretrained = store.folder / "pretrained" / f"{experiment.pretraining_id}.safetensors"
    for file in (path, pretrained):
        if not file.exists():
            raise UsageError(
                f"the run {record.id} has no weights: there is no {file}; run it again with "
                "--force and without --no-weights"
            )
    task = load_task(experiment.dataset, data, device)
    dense, masked = (build(experiment, task).eval() for _ in range(2))
    dense.load_state_dict(Pretrained(experiment, task, store.folder).state())
    masked.load_state_dict(load_file(path))
    networks: dict[NetworkKind, nn.Module] = {"dense": dense, "masked": masked}
    if strategy.couples:
        weights = dict(masked.named_parameters())
        names = strategy.prunable(masked)
        nonzero = {name: weights[name].detach() != 0 for name in names}
        networks["shrunk"] = shrunk(strategy, masked, nonzero, task)[0]
    return Restored(experiment, task, networks)


def experiment_of(settings: Mapping[str, Any]) -> Experiment:
    """The experiment that a record holds as plain data."""
    known = Experiment.model_fields
    return Experiment(**{name: value for name, value in settings.items() if name in known})
