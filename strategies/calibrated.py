"""Strategies that are calibrated: on the network as it was, or on what pruned layers give out."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass, field, replace

from ..errors import UsageError
from .axes.allocation import Allocation, Layerwise
from .evidence.context import Context
from .evidence.sequence import in_sequence
from .masks import PackedMasks
from .scored import ScoredStrategy
from .training.sparse_training import SparseTraining


@dataclass(frozen=True)
class CalibratedStrategy(ScoredStrategy, ABC):
    """A score that looks at what flows into layers.

    A new method is normally one :meth:`score`, of the layers in ``context.weights`` alone.
    """

    sequential: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sequential:
            layerwise(self, self.allocation)
            if self.structure.removes == "channels":
                raise UsageError(
                    f"strategy {type(self).__name__}: sequential: with structure {self.structure} "
                    "it is not possible: a channel is in several layers"
                )

    def prune(self, context: Context, budget: int) -> SparseTraining:
        """Prune all layers at once, or one after the other; see :meth:`Strategy.prune`."""
        if not self.sequential:
            return super().prune(context, budget)
        allocation = layerwise(self, self.allocation)
        shares = self.structure.shares(context, allocation, budget)
        of_one = replace(self, sequential=False, allocation=allocation.within)
        masks = PackedMasks()
        for layer in in_sequence(context):
            (name,) = layer.masks
            masks.add(name, of_one.prune(layer, shares[name]).masks[name])
        return self.training(context, masks.in_order(context.masks), budget)


def layerwise(strategy: object, allocation: Allocation) -> Layerwise:
    """The allocation of a strategy that prunes layers one by one.

    Raises:
        UsageError: the allocation needs the scores of all layers.
    """
    if not isinstance(allocation, Layerwise):
        raise UsageError(
            f"strategy {type(strategy).__name__}: allocation: {allocation} is not allowed: layers "
            "are pruned one by one, and only one that gives each a density, such as Uniform or "
            "ERK, is"
        )
    return allocation
