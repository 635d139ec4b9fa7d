"""The networks of a finished run, from the files that it left."""

from __future__ import annotations

import sys
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as load_weights
from torch import Tensor, nn

from ...datasets import Task
from ...errors import UsageError, sentence_of
from ...metrics import NetworkKind
from ...models import INITIALISATIONS, load_state
from ...results import Place, Record, Store
from ...strategies import Strategy
from ...user_code import Admission, admitting
from ..cell.loop import load_task
from ..cell.pretraining import build, weights_of
from ..cell.rounds import shrunk as cut_out
from ..cell.target import weights_to_prune
from ..experiment import Experiment
from ..sweeps.sweep import data_folder


class RefusedCodeError(UsageError):
    """Code from outside prunebench would be executed that is not trusted, or not what was run."""


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


def restore(
    record: Record, store: Store, data: Path, device: str = "cpu", *, trust: bool = False
) -> Restored:
    """Build the networks of a record on a device, their weights read from safetensors alone.

    Args:
        record: a finished run.
        store: where its weights are.
        data: the folder of data sets.
        device: ``cpu`` or ``cuda``.
        trust: whether Python from outside prunebench that the record names may be executed, as long
            as it is what was run.

    Raises:
        UsageError: the run failed, its weights were not saved, are gone or damaged, it would
            execute code that is not trusted or has changed since, or it cannot be built.
    """
    experiment = _finished(record, trust)
    with admitting(_admission(record, trust)):
        task = load_task(experiment.dataset, data, device)
        masked = _masked(experiment, record.id, store, task)
        pretrained = weights_of(experiment, store.folder)
        if not pretrained.exists():
            raise UsageError(
                f"the dense network of the run {record.id} is missing: there is no {pretrained}; "
                "copy it there from where it was run, or run it again with --force"
            )
        dense = _network(experiment, pretrained, record.id, task)
        networks: dict[NetworkKind, nn.Module] = {"dense": dense, "masked": masked}
        if experiment.strategy.create().capabilities.removes == "channels":
            networks["shrunk"] = _without_channels(experiment, masked, task)
        return Restored(experiment, task, networks)


def load(
    run: Record | str | Place,
    *,
    runs: str | Place = "runs",
    data: str | Path | None = None,
    trust: bool = False,
    shrunk: bool = False,
) -> nn.Module:
    """The pruned network of a finished run with its weights, in eval mode on the CPU.

    Args:
        run: the record, its id or a beginning of that, the path of its file or of its weights, or
            of its folder with the beginning of the id, such as ``runs/digits/ab1c``; URLs too.
        runs: the folder of records, where ``run`` is no path.
        data: the folder of data sets, which know the size of the inputs.
        trust: whether Python from outside prunebench that the record names may be executed, as
            long as it is what was run.
        shrunk: without the channels that are gone, in place of their zeros.

    Raises:
        UsageError: as :func:`restore` does; there is no such record, or more than one; or
            ``shrunk`` is asked for of a run that removes no channels.
    """
    store = Store(runs) if isinstance(run, Record) else Store.holding(run, runs)
    record = run if isinstance(run, Record) else store.find(run)
    experiment = _finished(record, trust)
    with admitting(_admission(record, trust)):
        task = load_task(experiment.dataset, data_folder(data))
        masked = _masked(experiment, record.id, store, task)
        if not shrunk:
            return masked
        if experiment.strategy.create().capabilities.removes != "channels":
            raise UsageError(
                f"shrunk: the run {record.id} removes no channels, so that its network is no "
                "smaller; leave it out"
            )
        return _without_channels(experiment, masked, task)


def _finished(record: Record, trust: bool) -> Experiment:
    """The experiment of a run that came to its end."""
    if not record.finished:
        raise UsageError(f"the run {record.id} failed, so that it has no network")
    return experiment_of(record, trust=trust)


def _masked(experiment: Experiment, record_id: str, store: Store, task: Task) -> nn.Module:
    """The pruned network with its zeros."""
    strategy: Strategy = experiment.strategy.create()
    if strategy.capabilities.removes == "nothing":
        raise UsageError(
            f"the run {record_id}: {experiment.strategy} adds gates to its network, which cannot "
            "be built from a record"
        )
    return _network(experiment, store.weights_path(record_id), record_id, task)


def _network(experiment: Experiment, weights: Place, record_id: str, task: Task) -> nn.Module:
    """The experiment's model with the weights in a file."""
    state = read_weights(record_id, weights)
    # No weights are drawn or read that are replaced at once.
    plain = experiment.model_copy(update={"initialisation": INITIALISATIONS.component("Default")})
    model = build(plain, task).eval()
    load_state(model, state, str(weights))
    return model


def _without_channels(experiment: Experiment, masked: nn.Module, task: Task) -> nn.Module:
    """The pruned network without the channels that are gone."""
    strategy: Strategy = experiment.strategy.create()
    weights = dict(masked.named_parameters())
    names = weights_to_prune(experiment, strategy, masked, task.inputs(1)).names
    nonzero = {name: weights[name].detach() != 0 for name in names}
    return cut_out(masked, names, nonzero, task)[0]


def read_weights(record_id: str, path: Place) -> dict[str, Tensor]:
    """The weights of a run, which are in a file if it has any.

    Raises:
        UsageError: there is no such file, or it is damaged.
    """
    if not path.exists():
        raise UsageError(
            f"the run {record_id} has no weights: there is no {path}; run it again with --force "
            "and without --no-weights"
        )
    try:
        return load_weights(path.read_bytes())
    except (SafetensorError, OSError) as error:
        raise UsageError(
            f"{path} is damaged and holds no weights that can be read ({error}): run the "
            "experiment again with --force"
        ) from None


def experiment_of(record: Record, *, trust: bool = False) -> Experiment:
    """The experiment that a record holds as plain data.

    Raises:
        UsageError: it would execute code that is not trusted or has changed since (see
            :func:`restore`), or its settings are none that this version allows.
    """
    known = Experiment.model_fields
    settings = {name: value for name, value in record.experiment.items() if name in known}
    with admitting(_admission(record, trust)):
        try:
            experiment = Experiment(**settings)
        except ValidationError as error:
            raise UsageError(f"the run {record.id}: {sentence_of(error, Experiment)}") from None
    recorded = _recorded_sources(record)
    for name, component in experiment.components():
        # An import path or a plug-in says only now which file it means.
        if component.source is not None and component.source != recorded.get(name):
            file = sys.modules[component.factory.__module__].__file__
            raise _changed(record, str(file))
    return experiment


def admission(
    what: str, sources: Container[object], trust: bool, changed: Callable[[str], UsageError]
) -> Admission:
    """What decides on code from outside prunebench, before it is executed.

    Args:
        what: who would execute it, in words.
        sources: SHA-256 of the files that were run.
        trust: whether those may be executed.
        changed: what is raised of code that is none of them.
    """

    def admit(code: str, digest: str | None) -> None:
        if not trust:
            raise RefusedCodeError(
                f"{what} would execute {code}, which is no part of prunebench: read it, and give "
                "--trust (in Python trust=True) to have it executed"
            )
        if digest is not None and digest not in sources:
            raise changed(code)

    return admit


def _admission(record: Record, trust: bool) -> Admission:
    """That of a record."""
    sources = _recorded_sources(record).values()
    return admission(f"the run {record.id}", sources, trust, partial(_changed, record))


def _recorded_sources(record: Record) -> Mapping[str, Any]:
    """SHA-256 of the files from outside prunebench that were run, by the settings naming them."""
    sources = record.experiment.get("sources")
    return sources if isinstance(sources, Mapping) else {}


def _changed(record: Record, file: str) -> UsageError:
    return UsageError(
        f"{file} is not what was run: it has changed since the record {record.id} was made; put "
        "the file of then back, or run the experiment again"
    )
