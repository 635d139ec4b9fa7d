"""Allocations: how a number of weights to keep is divided among the layers.

An allocation sees the scores of *units*, whatever the structure removes as a whole (a single
weight, a filter), and chooses units so that the given number of weights stays.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from ..registry import Configured, Registry
from .masks import keep_largest


@dataclass(frozen=True)
class Allocation(Configured, ABC):
    """Chooses the units to keep.

    Args:
        minimum: units that every layer keeps at least, whatever their scores. At 0 a layer may be
            emptied, which the benchmark detects and records as a collapse.
    """

    minimum: Annotated[int, Field(ge=0)] = 0

    @abstractmethod
    def keep(
        self,
        scores: Mapping[str, Tensor],
        sizes: Mapping[str, int],
        budget: int,
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """Choose the units that stay.

        Args:
            scores: for each layer one score a unit, one-dimensional; the lowest go first.
            sizes: for each layer the number of weights in one unit.
            budget: the number of weights to keep.
            generator: draws lots among units of equal score.

        Returns:
            For each layer a bool tensor over its units.
        """


ALLOCATIONS: Registry[Allocation] = Registry(
    "allocation", "allocations", Allocation, home=__package__ or ""
)


@ALLOCATIONS.register
@dataclass(frozen=True)
class Global(Allocation):
    """One ranking over the whole network: the lowest scores go, wherever they are."""

    def keep(
        self,
        scores: Mapping[str, Tensor],
        sizes: Mapping[str, int],
        budget: int,
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """Keep the highest scores of all layers together; see :meth:`Allocation.keep`.

        Where units differ in size, they are kept in the order of their scores for as long as the
        next one fits, so that the budget is missed by less than one unit and never exceeded.
        """
        pooled = torch.cat([self._protected(layer, generator) for layer in scores.values()])
        lengths = [len(layer) for layer in scores.values()]
        if len(set(sizes.values())) == 1:
            size = next(iter(sizes.values()))
            chosen = keep_largest(pooled, budget // size, generator)
        else:
            unit_sizes = torch.cat(
                [torch.full((n,), size) for n, size in zip(lengths, sizes.values(), strict=True)]
            )
            chosen = _keep_within(pooled, unit_sizes, budget, generator)
        return dict(zip(scores, chosen.split(lengths), strict=True))

    def _protected(self, layer: Tensor, generator: torch.Generator) -> Tensor:
        """The scores of a layer, its ``minimum`` best raised above all others."""
        if self.minimum == 0:
            return layer
        best = keep_largest(layer, self.minimum, generator) & (layer > -torch.inf)
        return layer.masked_fill(best, torch.inf)


@ALLOCATIONS.register
@dataclass(frozen=True)
class Uniform(Allocation):
    """Layerwise: the same fraction of every layer.

    Of a layer's n units round(p·n) are removed, p being the network's sparsity, so that the total
    is the budget up to the rounding in each layer, and more where ``minimum`` keeps a unit that
    would have gone.
    """

    minimum: Annotated[int, Field(ge=0)] = 1

    def keep(
        self,
        scores: Mapping[str, Tensor],
        sizes: Mapping[str, int],
        budget: int,
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """Keep the same fraction of each layer; see :meth:`Allocation.keep`."""
        total = sum(len(layer) * sizes[name] for name, layer in scores.items())
        sparsity = 1 - budget / total
        return {
            name: keep_largest(
                layer,
                max(self.minimum, len(layer) - round(sparsity * len(layer))),
                generator,
            )
            for name, layer in scores.items()
        }


def _keep_within(scores: Tensor, sizes: Tensor, budget: int, generator: torch.Generator) -> Tensor:
    """The highest-scoring units whose sizes add up to at most ``budget``, in order of score."""
    lots = torch.randperm(len(scores), generator=generator)
    order = lots[scores.cpu()[lots].argsort(descending=True, stable=True)]
    fitting = order[sizes[order].cumsum(0) <= budget].to(scores.device)
    return torch.zeros_like(scores, dtype=torch.bool).index_fill_(0, fitting, True)
