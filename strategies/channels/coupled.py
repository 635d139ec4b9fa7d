"""Choosing coupled channels: what goes is a channel with all of it, until the rest is small enough.

Removing a channel takes rows of some weights and columns of others, so that what is left depends on
which channels go, and no ranking tells beforehand how many. The number is found by bisection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ..axes.allocation import Units
from ..axes.ranking import Ranking
from ..evidence.prunable import weight_class
from ..masks import Masks
from .coupling import Coupling


def coupled_masks(ranking: Ranking, coupling: Coupling, scores: Mapping[str, Tensor]) -> Masks:
    """Masks of the prunable weights that keep as many channels as cost no more than the budget.

    The allocation ranks the channels of a group like the units of a layer; a channel's weights are
    those of all filters that make it. Every group keeps a channel.
    """
    context = ranking.context
    masks = coupling.masks(context.model, _chosen(ranking, coupling, scores))
    return {name: mask & masks.get(name, mask) for name, mask in context.masks.items()}


def _chosen(ranking: Ranking, coupling: Coupling, scores: Mapping[str, Tensor]) -> Tensor:
    """For each channel whether it stays."""
    context = ranking.context
    alive = coupling.kept(context.masks)
    units = {name: _units(ranking, coupling, name, alive, scores) for name in coupling.groups}
    lots = context.generator.get_state()

    def keep(budget: int) -> Tensor:
        context.generator.set_state(lots)  # every attempt draws the same
        chosen = ranking.allocation.keep(units, budget, context.generator)
        for name, each in units.items():
            if not (chosen[name] & (each.scores > -torch.inf)).any():
                chosen[name] = torch.arange(len(each.scores)) == each.scores.argmax().cpu()
        return torch.cat([chosen[name].cpu() for name in units]) & alive

    cost = context.cost or _prunable_weights(context.masks)
    fits, too_many = 0, sum(each.weights for each in units.values()) + 1
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        if cost(coupling, keep(middle)) <= ranking.budget:
            fits = middle
        else:
            too_many = middle
    return keep(fits)


def _units(
    ranking: Ranking, coupling: Coupling, name: str, alive: Tensor, scores: Mapping[str, Tensor]
) -> Units:
    context, group = ranking.context, coupling.groups[name]
    weight = coupling.rows(group, context.weights)
    of_channels = ranking.unit_scores(coupling.rows(group, scores))
    # What is gone ranks below everything else, below a score of -inf too.
    of_channels = of_channels.clamp(min=torch.finfo(of_channels.dtype).min)
    gone = ~alive[group.start : group.stop].to(of_channels.device)
    return Units(
        scores=of_channels.masked_fill(gone, -torch.inf),
        size=weight.shape[1],
        weight=weight,
        weight_class=weight_class(context.model, group.weights[0]),
    )


def _prunable_weights(masks: Mapping[str, Tensor]) -> Callable[[Coupling, Tensor], float]:
    """The cost that counts the prunable weights that are left."""

    def cost(coupling: Coupling, kept: Tensor) -> float:
        fractions = coupling.kept_fractions(kept)
        return sum(fractions.get(name, 1.0) * mask.numel() for name, mask in masks.items())

    return cost
