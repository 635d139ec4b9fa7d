"""Trying a strategy on a network: what it is given, and the masks that it makes."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

import torch
from torch import Tensor, nn

from ...errors import UsageError
from ...seeding import generator, seeded
from ...strategies import (
    CalibratedStrategy,
    Context,
    MaskedWeights,
    Masks,
    Prunable,
    ScoredStrategy,
    SparseTraining,
    Strategy,
    couple,
    find_prunable,
    full_masks,
)
from ..cell.epochs import Purpose, Training
from ..cell.training import train
from ..recipe import Recipe
from .networks import Synthetic


def prunable(strategy: Strategy, model: nn.Module) -> Prunable:
    """The weights that the strategy removes, where the experiment leaves out what it cannot."""
    found = find_prunable(model, Synthetic().inputs(1))
    names = strategy.scorable(model, strategy.removable(model, found))
    return found._replace(names=tuple(names))


def has_work(strategy: Strategy, model: nn.Module) -> bool:
    """Whether the strategy finds anything to prune: weights, and channels if it removes those."""
    task = Synthetic()
    names = prunable(strategy, model).names
    if not names:
        return False
    with suppress(UsageError):  # it is refused, or cannot be traced
        strategy.check(task, model)
        removes_weights = strategy.capabilities.removes != "channels"
        return removes_weights or couple(model, task.inputs(1), names).channels > 0
    return False


def unpruned(strategy: Strategy, model: nn.Module) -> Masks:
    """Masks that keep all that the strategy may remove."""
    weights = dict(model.named_parameters())
    return full_masks({name: weights[name] for name in prunable(strategy, model).names})


def context_for(
    strategy: Strategy,
    model: nn.Module,
    masks: Mapping[str, Tensor] | None = None,
    seed: int = 0,
) -> Context:
    """What the strategy is given; masks that keep everything if None are given."""
    return Context(
        model=model,
        task=Synthetic(),
        masks=unpruned(strategy, model) if masks is None else masks,
        outputs=prunable(strategy, model).outputs,
        generator=generator(seed, "conformance", "scoring"),
    )


def budget_for(strategy: Strategy, context: Context, density: float) -> int:
    """The number of weights that a density leaves, within what the strategy can keep."""
    total = sum(mask.numel() for mask in context.masks.values())
    most = strategy.largest_budget(context.weights)
    if strategy.capabilities.removes == "nothing":
        return most
    if strategy.capabilities.removes == "channels":
        density = max(density, 0.2)  # less may be less than a channel of each group
    return min(max(round(density * total), strategy.smallest_budget(context.weights)), most)


def masks_of(
    strategy: Strategy,
    model: nn.Module,
    density: float,
    before: Mapping[str, Tensor] | None = None,
    seed: int = 0,
) -> Masks:
    """The masks that a strategy makes of a network, for a density."""
    context = context_for(strategy, model, before, seed)
    return chosen_masks(strategy, context, budget_for(strategy, context, density))


def chosen_masks(
    strategy: Strategy, context: Context, budget: int, *, copied: bool = True
) -> Masks:
    """The masks that a strategy makes; some make them as they prune, here a copy if there is to be.

    Of a copy nothing is seen that is left behind.
    """
    if isinstance(strategy, ScoredStrategy) and not prunes_in_place(strategy):
        return strategy.masks(context, budget)
    if copied:
        context = replace(context, model=copy.deepcopy(context.model))
    return dict(strategy.prune(context, budget).masks)


def is_ranked(strategy: ScoredStrategy) -> bool:
    """Whether the masks come from scores by way of the allocation, as they do by default."""
    return type(strategy).masks is ScoredStrategy.masks


def prunes_in_place(strategy: Strategy) -> bool:
    """Whether masks are made as the network is pruned, as where one layer waits for another."""
    in_sequence = isinstance(strategy, CalibratedStrategy) and strategy.sequential
    return in_sequence or not isinstance(strategy, ScoredStrategy)


def train_by_its_rules(model: nn.Module, sparsity: SparseTraining, epochs: int = 2) -> None:
    """Train a network that was pruned as a run does, to the end."""
    recipe = Recipe(epochs=epochs, batch_size=64, optimizer="SGD", learning_rate=0.01, momentum=0.9)
    train(Training(model, Synthetic(), recipe, Purpose(0, "conformance"), sparsity))


def train_briefly(model: nn.Module, masks: Masks, steps: int = 4) -> None:
    """Take a few steps with momentum and weight decay, as the benchmark's loop does."""
    masked = MaskedWeights(model, masks)
    masked.apply()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    task = Synthetic()
    model.train()
    with seeded(0, "conformance", "training"):
        for batch, _ in zip(task.batches("train", 64), range(steps), strict=False):
            optimizer.zero_grad()
            task.loss(model, batch).backward()
            optimizer.step()
            masked.apply()
