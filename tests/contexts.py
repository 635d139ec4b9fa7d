"""Contexts for strategies to score in."""

from prunebench.seeding import generator
from prunebench.strategies import (
    Context,
    Prunable,
    full_masks,
    output_weights,
    prunable_weights,
)


def removable(strategy, model):
    """Names of the weights that a strategy prunes and can score."""
    found = Prunable(tuple(prunable_weights(model)), output_weights(model), {})
    return strategy.scorable(model, strategy.removable(model, found))


def context_of(model, task=None, *, strategy=None, masks=None, seed=0, cost=None) -> Context:
    """The context of a model, all of whose weights are there unless masks are given.

    The weights are those that the strategy prunes, if one is given, else all matrices and kernels.
    """
    if masks is None:
        names = prunable_weights(model) if strategy is None else removable(strategy, model)
        masks = full_masks({name: model.get_parameter(name) for name in names})
    outputs = output_weights(model)
    return Context(model, task, masks, outputs, generator(seed, "test"), cost)
