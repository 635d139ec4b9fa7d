"""Sensitivity: how much quality is lost when one class of weights alone is pruned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tqdm import tqdm

from ...errors import UsageError
from ...metrics import own_metric
from ...results import Place, Store
from ...results.naming import shown, source_of, told_apart
from ...results.qualities import descriptions, titles
from ...seeding import generator
from ...strategies import Context, ScoredStrategy, Strategy, left_untouched, weight_class
from ..cell.evaluation import quality
from ..cell.loop import load_calibration, load_task
from ..cell.pretraining import Pretrained, build, require_learned
from ..cell.process import threads
from ..cell.target import weights_to_prune
from ..experiment import Experiment
from ..sweeps.checking import require_device
from ..sweeps.sweep import data_folder


def sensitivity(
    experiments: Sequence[Experiment],
    sparsities: Sequence[float],
    *,
    runs: str | Place = "runs",
    data: str | Path | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Prune each class of weights alone, without training, and measure what that changes.

    The networks are the pretrained ones of the experiments, trained first where that has not been
    done; each experiment's strategy chooses the weights within the class. Experiments that differ
    in nothing but how far or how often they prune count once.

    Args:
        experiments: say data set, network, pretraining, strategy and seed.
        sparsities: fractions of the class to prune.
        runs: the folder of the records, which has the pretrained networks.
        data: the folder of data sets.
        progress: whether to show a progress bar.

    Returns:
        The columns of :data:`prunebench.results.sensitivity.SENSITIVITY_COLUMNS`.
    """
    different = {
        (
            each.pretraining_id,
            each.strategy.identity,
            str(each.calibration),
            each.prune_classifier,
            each.prune_only,
            each.prune_except,
        ): each
        for each in experiments
    }
    versions = {key: _version(each) for key, each in different.items()}
    names = told_apart(versions.values())
    rows: list[dict[str, Any]] = []
    for key, experiment in different.items():
        called = names[versions[key]]
        with threads(experiment.threads):
            rows += _rows(
                experiment, called, sparsities, Store(runs).folder, data_folder(data), progress
            )
    return pd.DataFrame(rows)


def _version(experiment: Experiment) -> tuple[str, str]:
    name, other = shown(str(experiment.strategy)), experiment.calibration
    called = name if other is None else f"{name} calibrated on {shown(str(other))}"
    return called, source_of({"sources": experiment.sources}, "strategy")


def _rows(
    experiment: Experiment,
    called: str,
    sparsities: Sequence[float],
    runs: Path,
    data: Path,
    progress: bool,
) -> list[dict[str, Any]]:
    """A row for each class of weights and sparsity."""
    require_device(experiment.device)
    task = load_task(experiment.dataset, data, experiment.device)
    model = build(experiment, task)
    strategy: Strategy = experiment.strategy.create()
    if not isinstance(strategy, ScoredStrategy):
        raise UsageError(
            f"strategy: {experiment.strategy} is not allowed: sensitivity needs one that has scores"
        )
    calibration = load_calibration(experiment, data, experiment.device)
    strategy.check(calibration, model)
    selected = weights_to_prune(experiment, strategy, model, task.inputs(1))
    pretrained = Pretrained(experiment, task, runs)
    dense, report = pretrained.state(), pretrained.report()
    require_learned(experiment, task, report)
    model.load_state_dict(dense)
    parameters = dict(model.named_parameters())
    classes: dict[str, list[str]] = {}
    for name in selected.names:
        classes.setdefault(weight_class(model, name), []).append(name)
    common = {
        "dataset": shown(str(experiment.dataset)),
        "model": shown(str(experiment.model)),
        "strategy": called,
        "seed": experiment.seed,
    }
    own = own_metric(task).qualities()
    described = {
        column: text
        for name, each in descriptions(own, {}).items()
        for column, text in titles(name, each).items()
    }
    rows = []
    points = [(title, sparsity) for title in classes for sparsity in sparsities]
    for title, sparsity in tqdm(points, desc=called, disable=not progress):
        context = Context(
            model=model,
            task=calibration,
            masks={
                name: torch.ones_like(parameters[name], dtype=torch.bool) for name in classes[title]
            },
            outputs=selected.outputs,
            generator=generator(experiment.seed, "sensitivity", title),
        )
        removed = _prune(strategy, context, sparsity)
        measured = quality(model, task, "test")
        model.load_state_dict(dense)
        changes = {f"{name}_change": measured[name] - report.test[name] for name in measured}
        point = {"weight_class": title, "sparsity": sparsity}
        rows.append(common | point | removed | measured | changes | described)
    return rows


def _prune(strategy: ScoredStrategy, context: Context, sparsity: float) -> dict[str, float]:
    """Set a fraction of the weights in a context to zero, and say what that has removed."""
    weights = sum(mask.numel() for mask in context.masks.values())
    with left_untouched(context, type(strategy).__name__):
        masks = strategy.masks(context, weights - round(sparsity * weights))
    parameters = dict(context.model.named_parameters())
    removed = torch.cat([parameters[name].detach()[~masks[name]].abs() for name in context.masks])
    with torch.no_grad():
        for name in context.masks:
            parameters[name].mul_(masks[name])
    return {
        "weights": weights,
        "removed": len(removed),
        "largest_removed": float(removed.max()) if len(removed) else 0.0,
    }
