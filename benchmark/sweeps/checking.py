"""What is tried before anything is run, so that it fails within seconds and not after hours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, cuda
from torch.backends import mps

from ...errors import UsageError
from ...metrics import own_metric
from ...registry import Component
from ...strategies import Penalty, couple, try_shrinking
from ..cell.loop import load_calibration, load_task
from ..cell.pretraining import build
from ..cell.process import threads
from ..cell.target import target_of, weights_to_prune
from ..experiment import Experiment


def check(
    experiments: Sequence[Experiment], data: Path, *, elsewhere: bool = False
) -> dict[str, tuple[Experiment, BaseException]]:
    """Make sure, before anything is run, that data are there, and targets and metrics fit them.

    Where channels are to be removed, it is tried whether the network can be shrunk.

    Args:
        experiments: what is to be run.
        data: the folder of data sets.
        elsewhere: whether that may be on other machines, so that devices need not be here.

    Returns:
        By id the experiments that cannot be run since a user's code fails, and what it raises.

    Raises:
        UsageError: the first thing that is wrong.
    """
    checked: dict[tuple[object, ...], BaseException | None] = {}
    shrinkable: set[tuple[object, ...]] = set()
    broken = {}
    for experiment in experiments:
        if not elsewhere:
            require_device(experiment.device)
        parts = (
            experiment.dataset,
            experiment.model,
            experiment.strategy,
            experiment.finetuned_network,
            experiment.prune_classifier,
            experiment.prune_only,
            experiment.prune_except,
        )
        more = (
            *experiment.target,
            str(experiment.calibration),
            *map(str, experiment.metrics),
            str(experiment.recovery),
            *(str(penalty) for penalty in _penalties(experiment)),
        )
        key = (*map(str, parts), *more)
        if key not in checked:
            checked[key] = _fault(experiment, data, key[: len(parts)] not in shrinkable)
            if checked[key] is None:
                shrinkable.add(key[: len(parts)])
        if (fault := checked[key]) is not None:
            broken[experiment.id] = experiment, fault
    return broken


def _fault(experiment: Experiment, data: Path, shrinks: bool) -> BaseException | None:
    """What a user's code raises in the preparations of an experiment.

    Args:
        experiment: what is to be run.
        data: the folder of data sets.
        shrinks: whether to try if the network can be shrunk, where channels are to be removed.

    Raises:
        UsageError: data are not to be had, or a target or a metric does not fit them.
    """
    try:
        with threads(experiment.threads):
            task = load_task(experiment.dataset, data)
            model = build(experiment, task)
            strategy = experiment.strategy.create()
            example = task.inputs(1)
            if not isinstance(example, Tensor):
                raise UsageError(
                    f"dataset {experiment.dataset}: {type(task).__name__}.inputs() gives a "
                    f"{type(example).__name__}, where a tensor is to be: an example is one tensor, "
                    "which the network may take apart"
                )
            strategy.check(load_calibration(experiment, data), model)
            names = weights_to_prune(experiment, strategy, model, example).names
            target_of(experiment, strategy, model, example, names)
            experiment.recovery.create().check(model, names)
            for penalty in _penalties(experiment):
                penalty.create().check(model)
            if strategy.capabilities.removes == "channels" and shrinks:
                coupling = couple(model, example, names)
                trains = experiment.finetuned_network == "shrunk"
                try_shrinking(model, coupling, task.inputs(2), trains=trains)
            for metric in (own_metric(task), *(each.create() for each in experiment.metrics)):
                metric.qualities()  # which says what is wrong with them
                metric.check(task, model)
    except (UsageError, KeyboardInterrupt):
        raise
    except BaseException as error:  # a user's code may raise anything, SystemExit too
        return error
    return None


def _penalties(experiment: Experiment) -> list[Component[Penalty]]:
    recipes = (experiment.pretraining, experiment.finetuning)
    return [each.penalty for each in recipes if each.penalty is not None]


def require_device(device: str) -> None:
    """Make sure that a device is here.

    Raises:
        UsageError: it is not.
    """
    if not _is_there(device):
        raise UsageError(
            f"device: {device!r} is not allowed: there is none here; give cpu, or auto for the "
            "best there is"
        )


def _is_there(device: str) -> bool:
    if device == "cuda":
        return cuda.is_available()
    return device == "cpu" or mps.is_available()
