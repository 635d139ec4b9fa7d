"""Where scores and masks are not as they must be, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from ...strategies import (
    ERK,
    Allocation,
    ErdosRenyi,
    Global,
    Masks,
    ScoredStrategy,
    Strategy,
    Structure,
    Uniform,
    Unstructured,
    kept,
)
from .trial import is_ranked


def unfit_scores(scores: object, weights: Mapping[str, Tensor]) -> Iterator[str]:
    """Sentences about scores that do not fit their weights."""
    if not isinstance(scores, Mapping):
        yield f"score() must give a mapping of names to tensors, not {type(scores).__name__}"
        return
    yield from _wrong_names("score()", scores, weights)
    for name, weight in weights.items():
        score = scores[name]
        if not isinstance(score, Tensor):
            yield f"the score of {name} must be a tensor, not {type(score).__name__}"
        elif score.shape != weight.shape:
            yield (
                f"the score of {name} must have the shape of its weight, {tuple(weight.shape)}, "
                f"not {tuple(score.shape)}"
            )
        elif score.isnan().any():
            yield f"the score of {name} contains NaN; does it divide by a sum that is zero?"


def unfit_masks(masks: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> Iterator[str]:
    """Sentences about masks that do not fit their weights."""
    yield from _wrong_names("masks()", masks, weights)
    for name, weight in weights.items():
        mask = masks[name]
        is_like = (torch.bool, tuple(weight.shape), weight.device)
        if (mask.dtype, tuple(mask.shape), mask.device) != is_like:
            yield (
                f"the mask of {name} must be torch.bool of shape {tuple(weight.shape)} on "
                f"{weight.device}, not {mask.dtype} of shape {tuple(mask.shape)} on {mask.device}"
            )


def _wrong_names(
    function: str, given: Mapping[str, Tensor], weights: Mapping[str, Tensor]
) -> Iterator[str]:
    missing, unknown = sorted(weights.keys() - given.keys()), sorted(given.keys() - weights.keys())
    if missing or unknown:
        yield (
            f"{function} must have the names of context.weights; missing: "
            f"{', '.join(missing) or 'none'}; unknown: {', '.join(unknown) or 'none'}"
        )


def miscounted(strategy: Strategy, masks: Masks, budget: int) -> Iterator[str]:
    """Sentences about the number of weights kept.

    A global ranking misses the budget by less than one unit, and so not at all where units are
    single weights, and neither do densities that differ by layer. A uniform one rounds in each
    layer. An allocation of somebody's own, and masks made without one, may round in each layer too.
    """
    if strategy.capabilities.removes == "channels":
        yield from _miscounted_channels(masks, budget)
        return
    structure: Structure = Unstructured()
    allocation: type[Allocation] | None = None
    if isinstance(strategy, ScoredStrategy):
        structure = strategy.structure
        allocation = type(strategy.allocation) if is_ranked(strategy) else None
        if allocation is Uniform:
            yield from _miscounted_layers(strategy, masks, budget)
            return
    sizes = [structure.units(mask).shape[1] for mask in masks.values()]
    exact = allocation is Global or (set(sizes) == {1} and allocation in (ErdosRenyi, ERK))
    below, above = (max(sizes) - 1, 0) if exact else (sum(sizes), sum(sizes))
    if not budget - below <= kept(masks) <= budget + above:
        yield (
            f"keeps {kept(masks)} weights where {budget} are to be kept; choose so many, as "
            "strategies.keep_largest does, instead of comparing with a threshold"
        )


def _miscounted_channels(masks: Masks, budget: int) -> Iterator[str]:
    """Whole channels are kept for as long as they fit, and one of each group in any case."""
    if kept(masks) > budget:
        yield f"keeps {kept(masks)} weights where at most {budget} are to be kept"
    if not all(mask.any() for mask in masks.values()):
        yield "keeps nothing of a layer; a channel of each group must stay"


def _miscounted_layers(strategy: ScoredStrategy, masks: Masks, budget: int) -> Iterator[str]:
    share = budget / sum(mask.numel() for mask in masks.values())
    for name, mask in masks.items():
        alive = strategy.structure.units(mask).any(1)
        wanted = max(share * len(alive), strategy.allocation.least(len(alive)))
        if abs(int(alive.sum()) - wanted) > 0.5 + 1e-6:  # exactly half is rounded either way
            yield f"keeps {int(alive.sum())} of {len(alive)} units of {name}, not {wanted:g}"
