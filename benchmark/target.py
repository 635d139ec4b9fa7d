"""The target: how many weights an experiment's compression or sparsity leaves."""

from __future__ import annotations

from torch import nn

from ..errors import UsageError
from ..strategies import Strategy
from .experiment import Experiment


def kept_weights(experiment: Experiment, strategy: Strategy, model: nn.Module) -> int:
    """How many of the prunable weights are to be kept in the end.

    A compression is that of the whole network: what cannot be pruned (biases, normalisation, what
    the strategy spares) is part of both its numbers.

    Raises:
        UsageError: no weight can be pruned, or the target is beyond what can be reached.
    """
    weights = dict(model.named_parameters())
    total = sum(weight.numel() for weight in weights.values())
    names = strategy.prunable(model, classifier=experiment.prune_classifier)
    if not names:
        raise UsageError(f"{experiment.strategy} finds nothing to prune in {experiment.model}")
    prunable = sum(weights[name].numel() for name in names)
    spared = total - prunable
    fewest = strategy.smallest_budget({name: weights[name] for name in names})
    most = strategy.largest_budget({name: weights[name] for name in names})
    if experiment.compression is not None:
        target = f"compression: {experiment.compression:g}"
        budget = round(total / experiment.compression) - spared
        limit = f"{_rounded_down(total / (spared + fewest)):g}"
        least = f"{_rounded_up(total / (spared + most)):g}"
    else:
        assert experiment.sparsity is not None  # an experiment has one of the two
        target = f"sparsity: {experiment.sparsity:g}"
        budget = prunable - round(experiment.sparsity * prunable)
        limit = f"{_rounded_down(1 - fewest / prunable):g}"
        least = f"{_rounded_up(1 - most / prunable):g}"
    if budget < fewest:
        raise UsageError(
            f"{target} is not allowed: {experiment.strategy} can reach at most {limit} on "
            f"{experiment.model}, where it spares {spared:,} of {total:,} parameters and must "
            f"keep {fewest:,} more"
        )
    if budget > most:
        raise UsageError(
            f"{target} is not allowed: {experiment.strategy} removes more from "
            f"{experiment.model}; give at least {least}"
        )
    return budget


def _rounded_down(value: float) -> float:
    """Rounded down to four decimals, so that a limit that is told can be reached."""
    return int(value * 10_000) / 10_000


def _rounded_up(value: float) -> float:
    return -_rounded_down(-value - 9e-5)
