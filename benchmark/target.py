"""The target: how much of the network an experiment leaves, and in what that is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..metrics import work_by_weight
from ..strategies import (
    Choice,
    Coupling,
    Prunable,
    Strategy,
    couple,
    find_prunable,
    outputs_first,
)
from .experiment import Experiment


@dataclass(frozen=True)
class Target:
    """What is to be left in the end.

    Attributes:
        kept: how much is to be kept: so many weights, parameters, channels or multiply–adds.
        total: how much there is of it before anything is pruned.
        cost: how much is left when some channels stay, for strategies that remove whole channels;
            None where single weights are counted.
    """

    kept: int
    total: int
    cost: Callable[[Coupling, Tensor], float] | None = None


def weights_to_prune(
    experiment: Experiment, strategy: Strategy, model: nn.Module, example: Tensor
) -> Prunable:
    """The weights that a strategy removes of those that the experiment prunes.

    Args:
        experiment: says what is prunable.
        strategy: what prunes, which must be able to prune all of it.
        model: what is pruned.
        example: a batch of one input.

    Raises:
        UsageError: there is nothing, or something that the strategy cannot prune.
    """
    choice = Choice(experiment.prune_classifier, experiment.prune_only, experiment.prune_except)
    found = find_prunable(model, example, choice)
    names = strategy.removable(model, found)
    able = set(strategy.scorable(model, names))
    if not able:
        raise UsageError(f"{experiment.strategy} finds nothing to prune in {experiment.model}")
    if unable := [name for name in names if name not in able]:
        others = f" and {len(unable) - 1} more" if unable[1:] else ""
        raise UsageError(
            f"{experiment.strategy} cannot prune {unable[0]}{others} of {experiment.model}, and "
            "what is prunable is so for all strategies: leave it out of the whole comparison by "
            f"prune_except: {[name.removesuffix('.weight') for name in unable]}"
        )
    return found._replace(names=tuple(names))


def target_of(
    experiment: Experiment,
    strategy: Strategy,
    model: nn.Module,
    example: Tensor,
    names: Sequence[str],
) -> Target:
    """What the experiment's compression, sparsity, channel sparsity or speedup means for a network.

    A compression is that of the whole network: what cannot be pruned is part of both its numbers.
    A strategy that removes channels comes as near to the target as whole channels allow, and not
    below it.

    Args:
        experiment: says the target.
        strategy: what prunes.
        model: what is pruned.
        example: a batch of one input.
        names: the weights that the strategy removes (:func:`weights_to_prune`).

    Raises:
        UsageError: the target is beyond what can be reached.
    """
    if strategy.capabilities.removes == "channels":
        return _of_channels(experiment, model, example, names)
    return _of_weights(experiment, strategy, model, names)


def _of_weights(
    experiment: Experiment, strategy: Strategy, model: nn.Module, names: Sequence[str]
) -> Target:
    parameters = dict(model.named_parameters())
    total = sum(parameter.numel() for parameter in parameters.values())
    weights = outputs_first(model, {name: parameters[name] for name in names})
    prunable = sum(weight.numel() for weight in weights.values())
    spared = total - prunable
    fewest, most = strategy.smallest_budget(weights), strategy.largest_budget(weights)
    kind, value = experiment.target
    if kind == "compression":
        budget = round(total / value) - spared
        limit = f"{_rounded_down(total / (spared + fewest)):g}"
        least = f"{_rounded_up(total / (spared + most)):g}"
    elif kind == "sparsity":
        budget = prunable - round(value * prunable)
        limit = f"{_rounded_down(1 - fewest / prunable):g}"
        least = f"{_rounded_up(1 - most / prunable):g}"
    else:
        raise UsageError(
            f"{kind}: {value:g} is not allowed: {experiment.strategy} does not remove whole "
            "channels; give it structure=CoupledChannels"
        )
    if budget < fewest:
        raise UsageError(
            f"{kind}: {value:g} is not allowed: {experiment.strategy} can reach at most {limit} on "
            f"{experiment.model}, where it spares {spared:,} of {total:,} parameters and must "
            f"keep {fewest:,} more"
        )
    if budget > most:
        raise UsageError(
            f"{kind}: {value:g} is not allowed: {experiment.strategy} removes more from "
            f"{experiment.model}; give at least {least}"
        )
    return Target(budget, prunable)


def _of_channels(
    experiment: Experiment, model: nn.Module, example: Tensor, names: Sequence[str]
) -> Target:
    coupling = couple(model, example, names)
    if not coupling.channels:
        raise UsageError(f"{experiment.strategy} finds no channels to prune in {experiment.model}")
    kind, value = experiment.target
    cost = _cost(kind, model, coupling, example)
    total = round(cost(coupling, torch.ones(coupling.channels, dtype=torch.bool)))
    one_each = torch.zeros(coupling.channels, dtype=torch.bool)
    one_each[[group.start for group in coupling.groups.values()]] = True
    fewest = cost(coupling, one_each)
    is_fraction = kind in ("sparsity", "channel_sparsity")
    kept = total - round(value * total) if is_fraction else round(total / value)
    if kept < fewest:
        limit = _rounded_down(1 - fewest / total if is_fraction else total / fewest)
        raise UsageError(
            f"{kind}: {value:g} is not allowed: {experiment.strategy} can reach at most {limit:g} "
            f"on {experiment.model}, where each of {len(coupling.groups)} groups of channels keeps "
            "one"
        )
    return Target(kept, total, cost)


def _cost(
    kind: str, model: nn.Module, coupling: Coupling, example: Tensor
) -> Callable[[Coupling, Tensor], float]:
    """What a target of this kind counts, of the network in which some channels stay."""
    if kind == "channel_sparsity":
        return lambda _, kept: float(kept.sum())
    if kind == "speedup":
        return flops_left(model, example)
    amounts = {name: float(weight.numel()) for name, weight in model.named_parameters()}
    in_channels = {name: amount for name, amount in amounts.items() if name in coupling.dimensions}
    # A sparsity is of what the strategy may prune, all else is of the whole network.
    others = 0.0 if kind == "sparsity" else sum(amounts.values()) - sum(in_channels.values())

    def cost(coupling: Coupling, kept: Tensor) -> float:
        fractions = coupling.kept_fractions(kept)
        return others + sum(amount * fractions[name] for name, amount in in_channels.items())

    return cost


def flops_left(model: nn.Module, example: Tensor) -> Callable[[Coupling, Tensor], float]:
    """What gives the multiply–adds of the network in which only some channels stay.

    Those by a weight shrink with the weight, products of activations with the outputs of the weight
    that made them.

    Args:
        model: the network with all channels.
        example: a batch of one input.
    """
    by_weights = dict.fromkeys((name for name, _ in model.named_parameters()), 0.0)
    of_outputs: Counter[str | None] = Counter()
    for each in work_by_weight(model, example):
        if each.factor.weight is not None:
            by_weights[each.factor.weight] += each.flops
        else:
            of_outputs[each.factor.made_by] += each.flops

    def left(coupling: Coupling, kept: Tensor) -> float:
        fractions = coupling.kept_fractions(kept)
        smaller = sum(
            by_weights[name] * fractions[name] for name in by_weights if name in fractions
        )
        unchanged = sum(flops for name, flops in by_weights.items() if name not in fractions)
        for name, flops in of_outputs.items():
            outputs = coupling.positions(name, kept).get(0) if name in fractions else None
            unchanged += flops * (1.0 if outputs is None else float(outputs.double().mean()))
        return unchanged + smaller

    return left


def _rounded_down(value: float) -> float:
    """Rounded down to four decimals, so that a limit that is told can be reached."""
    return int(value * 10_000) / 10_000


def _rounded_up(value: float) -> float:
    return -_rounded_down(-value - 9e-5)
