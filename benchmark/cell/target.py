"""The target: how much of the network an experiment leaves, and in what that is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...errors import UsageError
from ...metrics import work_by_weight
from ...results.targets import (
    CHANNEL_SPARSITY,
    COMPRESSION,
    SPARSITY,
    SPEEDUP,
    TargetKind,
)
from ...strategies import (
    Coupling,
    Prunable,
    Strategy,
    couple,
    find_prunable,
    outputs_first,
)
from ..experiment import Experiment

Left = Callable[[Coupling, Tensor], float]
"""How much is left when some channels stay."""


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
    cost: Left | None = None


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
    found = find_prunable(
        model,
        example,
        prune_classifier=experiment.prune_classifier,
        prune_only=experiment.prune_only,
        prune_except=experiment.prune_except,
    )
    names = strategy.removable(model, found)
    able = set(strategy.scorable(model, names))
    if not able:
        raise UsageError(
            f"{experiment.strategy} finds nothing to prune in {experiment.model}: `prunebench list "
            "--model … --dataset …` says of each parameter whether it is prunable, and why not"
        )
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
    """What the experiment's target means for a network.

    Where it is one of the whole network, as a compression is, what cannot be pruned is part of both
    its numbers.
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
        return _of_channels(experiment, strategy, model, example, names)
    return _of_weights(experiment, strategy, model, names)


def _of_weights(
    experiment: Experiment, strategy: Strategy, model: nn.Module, names: Sequence[str]
) -> Target:
    parameters = dict(model.named_parameters())
    total = sum(parameter.numel() for parameter in parameters.values())
    weights = outputs_first(model, {name: parameters[name] for name in names})
    prunable = sum(weight.numel() for weight in weights.values())
    fewest, most = strategy.smallest_budget(weights), strategy.largest_budget(weights)
    kind, value = experiment.target
    if kind.whole_channels:
        raise UsageError(
            f"{kind.name}: {value:g} is not allowed: {experiment.strategy} does not remove whole "
            "channels; give it structure=CoupledChannels"
        )
    spared = total - prunable
    uncounted = 0 if kind.whole_network else spared
    counted = total - uncounted
    budget = kind.left(value, counted) - (spared - uncounted)
    if budget < fewest:
        raise UsageError(
            f"{kind.name}: {value:g} is not allowed: {experiment.strategy} can reach "
            f"{_furthest(kind, spared - uncounted + fewest, counted)} on "
            f"{experiment.model}, where it spares {spared:,} of {total:,} parameters and must "
            f"keep {fewest:,} more"
        )
    if budget > most:
        raise UsageError(
            f"{kind.name}: {value:g} is not allowed: {experiment.strategy} removes more from "
            f"{experiment.model}; give {_nearest(kind, spared - uncounted + most, counted)}"
        )
    return Target(budget, prunable)


def _of_channels(
    experiment: Experiment,
    strategy: Strategy,
    model: nn.Module,
    example: Tensor,
    names: Sequence[str],
) -> Target:
    coupling = couple(model, example, names)
    if not coupling.channels:
        raise UsageError(f"{experiment.strategy} finds no channels to prune in {experiment.model}")
    kind, value = experiment.target
    cost = COSTS[kind](model, coupling, example)
    total = round(cost(coupling, torch.ones(coupling.channels, dtype=torch.bool)))
    some_each = torch.zeros(coupling.channels, dtype=torch.bool)
    for group in coupling.groups.values():
        least = strategy.fewest_channels(group.stop - group.start)
        some_each[group.start : group.start + least] = True
    fewest = cost(coupling, some_each)
    kept = kind.left(value, total)
    if kept < fewest:
        alone = some_each.sum() == len(coupling.groups)
        raise UsageError(
            f"{kind.name}: {value:g} is not allowed: {experiment.strategy} can reach "
            f"{_furthest(kind, fewest, total)} on {experiment.model}, where each of "
            f"{len(coupling.groups)} groups of channels keeps "
            f"{'one' if alone else 'as many as the allocation says'}"
        )
    return Target(kept, total, cost)


def parameters_left(model: nn.Module, coupling: Coupling, example: Tensor) -> Left:
    """What gives the parameters of the network in which only some channels stay."""
    of_channels = prunable_left(model, coupling, example)
    others = sum(
        float(weight.numel())
        for name, weight in model.named_parameters()
        if name not in coupling.dimensions
    )
    return lambda coupling, kept: others + of_channels(coupling, kept)


def prunable_left(model: nn.Module, coupling: Coupling, example: Tensor) -> Left:
    """The same of those parameters that belong to channels which may go."""
    amounts = {
        name: float(weight.numel())
        for name, weight in model.named_parameters()
        if name in coupling.dimensions
    }

    def left(coupling: Coupling, kept: Tensor) -> float:
        fractions = coupling.kept_fractions(kept)
        return sum(amount * fractions[name] for name, amount in amounts.items())

    return left


def channels_left(model: nn.Module, coupling: Coupling, example: Tensor) -> Left:
    """What gives the number of channels that stay."""
    return lambda _, kept: float(kept.sum())


def flops_left(model: nn.Module, example: Tensor) -> Left:
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


COSTS: dict[TargetKind, Callable[[nn.Module, Coupling, Tensor], Left]] = {
    COMPRESSION: parameters_left,
    SPARSITY: prunable_left,
    CHANNEL_SPARSITY: channels_left,
    SPEEDUP: lambda model, _, example: flops_left(model, example),
}
"""What a kind of target counts: given the network, its channels and an example, how much is left
of it when some channels stay."""


def _furthest(kind: TargetKind, fewest: float, total: float) -> str:
    """The limit in words when so little can be left."""
    limit = kind.value(fewest, total)
    if kind.higher_prunes_more:
        return f"at most {_rounded_down(limit):g}"
    return f"no less than {_rounded_up(limit):g}"


def _nearest(kind: TargetKind, most: float, total: float) -> str:
    """The limit in words when so much must go."""
    limit = kind.value(most, total)
    if kind.higher_prunes_more:
        return f"at least {_rounded_up(limit):g}"
    return f"at most {_rounded_down(limit):g}"


def _rounded_down(value: float) -> float:
    """Rounded down to four decimals, so that a limit that is told can be reached."""
    return int(value * 10_000) / 10_000


def _rounded_up(value: float) -> float:
    return -_rounded_down(-value - 9e-5)
