"""The record of a cell: what is measured when its rounds are over, or why they never were."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ...datasets import Task
from ...errors import message_of
from ...metrics import (
    Flops,
    Measurements,
    Metric,
    Quality,
    Subject,
    histograms,
    layer_sizes,
    layer_table,
    own_metric,
)
from ...results import Distribution, Failure, Layer, QualityMetric, Record
from ...results.changes import CHANGES
from ...results.qualities import descriptions
from ...strategies import Strategy, collapsed, weight_class
from ..experiment import Experiment
from .digests import digest_of_calibration, digest_of_weights
from .environment import environment
from .evaluation import measured
from .pretraining import Pretrained, build, least_dense_quality
from .rounds import Pruned, copies, shrunk
from .target import weights_to_prune


def finished_record(
    experiment: Experiment, task: Task, pretrained: Pretrained, pruned: Pruned, data: str
) -> Record:
    """Measure what the rounds left, and the dense network beside it.

    Args:
        experiment: what was run.
        task: what is learned.
        pretrained: the dense network.
        pruned: what the rounds left.
        data: the digest of the task's data.

    Raises:
        UsageError: a metric cannot measure this network, or the smaller network that is cut out of
            it does not compute the same.
    """
    report = pretrained.report()
    subjects = _subjects(experiment, task, pretrained, pruned)
    standard = [(each, each.create()) for each in experiment.measurements]
    asked = [(each, each.create()) for each in experiment.metrics]
    timed = [metric for _, metric in asked if metric.timing and not metric.quality]
    chosen = [(each, metric) for each, metric in asked if metric.quality or not metric.timing]
    untimed = [metric for _, metric in standard if not metric.timing]
    wanted = [*untimed, *(metric for _, metric in chosen)]
    final = {**pruned.rounds[-1].after, **_all(wanted, subjects.final)}
    remembered = [each for each, metric in [*standard, *chosen] if not metric.timing]
    dense = report.test | pretrained.measured(remembered, subjects.dense.prunable)
    dense |= _all([metric for _, metric in chosen if metric.timing], subjects.dense)
    own = _measured_of(own_metric(task), final)
    others = {
        name: each
        for _, metric in chosen
        for name, each in _measured_of(metric, final).items()
        if name not in own
    }
    times, doubts = _times([*(metric for _, metric in standard), *timed], subjects.final)
    dead = collapsed(pruned.masks)
    return Record(
        id=experiment.id,
        status="collapsed" if dead else "ok",
        experiment=described(experiment),
        quality={name: each.better for name, each in {**own, **others}.items()},
        described={
            name: QualityMetric(title=each.title, unit=each.unit)
            for name, each in descriptions(own, others).items()
        },
        least_dense_quality=least_dense_quality(experiment, task),
        dense=dense,
        rounds=tuple(pruned.rounds),
        final=final,
        layers=_layers(subjects.final, pruned.names, (metric for _, metric in standard)),
        collapsed_layers=tuple(dead),
        by_class=pruned.by_class,
        signatures={str(each): text for each, metric in chosen if (text := metric.signature())},
        revision=len(CHANGES),
        stacked=pruned.stacked,
        history=(*report.curve, *pruned.curve),
        distributions=_distributions(pretrained, pruned),
        digests=_digests(pretrained, pruned, data),
        calibration=tuple(pruned.calibration),
        timings={"pretraining_seconds": report.seconds, **pruned.costs, **times},
        doubts=doubts,
        environment=environment(experiment.device),
    )


def _digests(pretrained: Pretrained, pruned: Pruned, data: str) -> dict[str, str]:
    digests = {
        "data": data,
        "dense": digest_of_weights(pretrained.state()),
        "pruned": digest_of_weights(pruned.model.state_dict()),
    }
    if pruned.calibration:
        digests["calibration"] = digest_of_calibration(pruned.calibration)
    return digests


def failed_record(experiment: Experiment, error: BaseException) -> Record:
    """The record of a run that ended with ``error``."""
    return Record(
        id=experiment.id,
        status="failed",
        error=Failure(
            type=type(error).__name__,
            message=message_of(error),
            traceback="".join(traceback.format_exception(error)),
        ),
        experiment=described(experiment),
        quality={},
        dense={},
        rounds=(),
        final={},
        layers=(),
        collapsed_layers=(),
        timings={},
        environment=environment(experiment.device),
    )


def described(experiment: Experiment) -> dict[str, Any]:
    """All settings of an experiment as plain data, defaults included, for its record."""
    return {
        **experiment.model_dump(mode="json"),
        "comparison": experiment.comparison,
        "sources": experiment.sources,
    }


class _Subjects(NamedTuple):
    """The dense network and what became of it, as metrics take them."""

    dense: Subject
    final: Subject


def _subjects(
    experiment: Experiment, task: Task, pretrained: Pretrained, pruned: Pruned
) -> _Subjects:
    dense = build(experiment, task)
    dense.load_state_dict(pretrained.state())
    strategy: Strategy = experiment.strategy.create()
    removes = strategy.capabilities.removes
    # A network that was adapted has other names than the dense one.
    names = of_dense = tuple(pruned.masks)
    if removes == "nothing":
        of_dense = weights_to_prune(experiment, strategy, dense, task.inputs(1)).names
    small = None
    if removes == "channels":
        small = shrunk(pruned.model, pruned.names, pruned.masks, task)[0]
    return _Subjects(
        Subject(dense, dense, task, of_dense),
        Subject(pruned.model, dense, task, names, shrunk=small),
    )


def _all(metrics: Iterable[Metric], subject: Subject) -> Measurements:
    return {name: each for metric in metrics for name, each in measured(metric, subject).items()}


def _measured_of(metric: Metric, found: Mapping[str, object]) -> dict[str, Quality]:
    """Those of a metric's numbers of quality that were measured."""
    return {name: each for name, each in metric.qualities().items() if name in found}


def _times(metrics: Iterable[Metric], subject: Subject) -> tuple[Measurements, dict[str, str]]:
    """The times of a network, and what speaks against believing them."""
    times: Measurements = {}
    doubts: dict[str, str] = {}
    for metric in metrics:
        if metric.timing:
            found, reasons = metric.measure_and_doubt(subject)
            times, doubts = {**times, **found}, {**doubts, **reasons}
    return times, doubts


def _layers(
    final: Subject, pruned: tuple[str, ...], metrics: Iterable[Metric]
) -> tuple[Layer, ...]:
    """What is left of each layer, with its multiply–adds where those are measured at all."""
    counted = any(isinstance(metric, Flops) for metric in metrics)
    rows = layer_table(final.model, final.work) if counted else layer_sizes(final.model)
    classes = {name: weight_class(final.model, name) for name in pruned}
    return tuple(Layer(**row._asdict(), weight_class=classes.get(row.name, "")) for row in rows)


def _distributions(pretrained: Pretrained, pruned: Pruned) -> tuple[Distribution, ...]:
    """How the weights are distributed before and straight after pruning, and in the end."""
    final = copies(pruned.model, pruned.masks)
    rows = histograms(pretrained.state(), pruned.straight_after, final)
    return tuple(Distribution(**row._asdict()) for row in rows)
