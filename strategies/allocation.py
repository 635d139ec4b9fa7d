"""Allocations: how a number of weights to keep is divided among the layers.

An allocation sees the scores of *units*, whatever the structure removes as a whole (a single
weight, a filter), and chooses units so that the given number of weights stays.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from ..registry import Configured, Registry
from .masks import keep_largest


class Units(NamedTuple):
    """The units of one layer.

    Attributes:
        scores: one score a unit, one-dimensional; the lowest go first, and -inf has gone before.
        size: number of weights in a unit, the largest one where they differ.
        weight: the layer's weight, the output channels or units first.
        weight_class: which class of weights the layer belongs to (See et al. 2016).
        is_output: whether it is the output layer.
        sizes: number of weights in each unit (int64) where they differ, else None.
    """

    scores: Tensor
    size: int
    weight: Tensor
    weight_class: str = ""
    is_output: bool = False
    sizes: Tensor | None = None

    @property
    def weights(self) -> int:
        """Number of weights in the layer."""
        return self.weight.numel()


Layers = Mapping[str, Units]


@dataclass(frozen=True)
class Allocation(Configured, ABC):
    """Chooses the units to keep.

    Args:
        minimum: units that every layer keeps at least, whatever their scores. At 0 a layer may be
            emptied, which the benchmark detects and records as a collapse.
    """

    minimum: Annotated[int, Field(ge=0)] = 0

    @abstractmethod
    def keep(self, layers: Layers, budget: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Choose the units that stay.

        Args:
            layers: the units of each layer.
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

    def keep(self, layers: Layers, budget: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Keep the highest scores of all layers together; see :meth:`Allocation.keep`.

        Where units differ in size, they are kept in the order of their scores for as long as the
        next one fits, so that the budget is missed by less than one unit and never exceeded.
        """
        pooled = torch.cat([self._protected(each.scores, generator) for each in layers.values()])
        lengths = [len(each.scores) for each in layers.values()]
        if (size := _common_size(layers)) is not None:
            chosen = keep_largest(pooled, budget // size, generator)
        else:
            sizes = torch.cat([_sizes(each) for each in layers.values()])
            chosen = _keep_within(pooled, sizes, budget, generator)
        return dict(zip(layers, chosen.split(lengths), strict=True))

    def _protected(self, scores: Tensor, generator: torch.Generator) -> Tensor:
        """The scores of a layer, its ``minimum`` best raised above all others."""
        if self.minimum == 0:
            return scores
        best = keep_largest(scores, self.minimum, generator) & (scores > -torch.inf)
        return scores.masked_fill(best, torch.inf)


@dataclass(frozen=True)
class Layerwise(Allocation):
    """The base of allocations that give each layer a density before any score is looked at.

    Of a layer's n units round((1 − density)·n) are removed, so that the total is the budget up to
    the rounding in each layer, and more where ``minimum`` keeps a unit that would have gone.
    """

    minimum: Annotated[int, Field(ge=0)] = 1

    @abstractmethod
    def densities(self, layers: Layers, budget: int) -> dict[str, float]:
        """The fraction of each layer to keep, so that ``budget`` weights are kept in all."""

    def keep(self, layers: Layers, budget: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Keep each layer's highest scores; see :meth:`Allocation.keep`."""
        densities = self.densities(layers, budget)
        chosen = {}
        for name, each in layers.items():
            if each.sizes is None:
                count = len(each.scores) - round((1 - densities[name]) * len(each.scores))
                chosen[name] = keep_largest(each.scores, max(self.minimum, count), generator)
            else:
                share = max(round(densities[name] * each.weights), self.minimum * each.size)
                chosen[name] = _keep_within(each.scores, each.sizes, share, generator)
        return chosen


@ALLOCATIONS.register
@dataclass(frozen=True)
class Uniform(Layerwise):
    """The same fraction of every layer."""

    def densities(self, layers: Layers, budget: int) -> dict[str, float]:
        """The network's density, everywhere."""
        return dict.fromkeys(layers, budget / sum(each.weights for each in layers.values()))


@ALLOCATIONS.register
@dataclass(frozen=True)
class ErdosRenyi(Layerwise):
    """More of small layers than of large ones, as in a random graph (Mocanu et al. 2018).

    The density of a layer is proportional to (inputs + outputs) / (inputs · outputs), and 1 where
    that would exceed it.
    """

    def densities(self, layers: Layers, budget: int) -> dict[str, float]:
        """Proportional to :meth:`weight_of`, layers that are full set aside."""
        weights = {name: self.weight_of(each.weight.shape) for name, each in layers.items()}
        full: set[str] = set()
        while True:
            left = budget - sum(layers[name].weights for name in full)
            open_layers = layers.keys() - full
            share = sum(weights[name] * layers[name].weights for name in open_layers)
            factor = left / share if share else 0.0
            overflowing = {name for name in open_layers if factor * weights[name] > 1}
            if not overflowing:
                return {name: 1.0 if name in full else factor * weights[name] for name in layers}
            full |= overflowing

    def weight_of(self, shape: tuple[int, ...]) -> float:
        """What a layer's density is proportional to."""
        outputs, inputs = shape[:2]
        return (inputs + outputs) / (inputs * outputs)


@ALLOCATIONS.register
@dataclass(frozen=True)
class ERK(ErdosRenyi):
    """Erdős–Rényi with the kernel's sides taken into account (Evci et al. 2020)."""

    def weight_of(self, shape: tuple[int, ...]) -> float:
        """(inputs + outputs + height + width) / (inputs · outputs · height · width)."""
        return sum(shape) / prod(shape)


def _common_size(layers: Layers) -> int | None:
    """The number of weights in every unit, or None if they differ."""
    sizes = {each.size for each in layers.values()}
    ragged = any(each.sizes is not None for each in layers.values())
    return None if ragged or len(sizes) > 1 else sizes.pop()


def _sizes(units: Units) -> Tensor:
    return torch.full((len(units.scores),), units.size) if units.sizes is None else units.sizes


def _keep_within(scores: Tensor, sizes: Tensor, budget: int, generator: torch.Generator) -> Tensor:
    """The highest-scoring units whose sizes add up to at most ``budget``, in order of score."""
    lots = torch.randperm(len(scores), generator=generator)
    order = lots[scores.cpu()[lots].argsort(descending=True, stable=True)]
    fitting = order[sizes[order].cumsum(0) <= budget].to(scores.device)
    return torch.zeros_like(scores, dtype=torch.bool).index_fill_(0, fitting, True)
