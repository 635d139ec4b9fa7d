"""Allocations: how a number of weights to keep is divided among the layers.

An allocation sees the scores of *units*, whatever the structure removes as a whole (a single
weight, a filter), and chooses units so that the given number of weights stays.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil, prod
from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from ...errors import UsageError, suggestion
from ...hyperparameters import Configured
from ...precision import from_float64, in_float64
from ...registry import Registry
from .selection import keep_largest, keep_largest_of_all

# So many scores are sorted at once.
_ENTRIES = 2**17


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

    Where a layer would be left less than ``minimum`` or ``minimum_density`` allow, pruning stops in
    that layer, and the others give more.

    Args:
        minimum: units that every layer keeps at least, whatever their scores. At 0 a layer may be
            emptied, which the benchmark detects and records as a collapse.
        minimum_density: fraction of its units that every layer keeps at least.
    """

    minimum: Annotated[int, Field(ge=0)] = 0
    minimum_density: Annotated[float, Field(ge=0, le=1)] = field(default=0.0, kw_only=True)

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

    def smallest(self, layers: Mapping[str, Tensor]) -> int:
        """The fewest weights that can be kept of layers, each a matrix (units × weights)."""
        needed = sum(self.least(len(each)) * each.shape[1] for each in layers.values())
        return max(needed, 1)

    def least(self, units: int) -> int:
        """How many of a layer's ``units`` stay at least."""
        # Not the next one for an error of the last bit.
        share = ceil(self.minimum_density * units - 1e-6)
        return min(units, max(self.minimum, share))


ALLOCATIONS: Registry[Allocation] = Registry("allocation", "allocations", Allocation, home=__name__)


@ALLOCATIONS.register
@dataclass(frozen=True)
class Global(Allocation):
    """One ranking over the whole network: the lowest scores go, wherever they are."""

    def keep(self, layers: Layers, budget: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Keep the highest scores of all layers together; see :meth:`Allocation.keep`.

        Where units differ in size, they are kept in the order of their scores for as long as the
        next one fits, so that the budget is missed by less than one unit and never exceeded.
        """
        scores = [self._protected(each.scores, generator) for each in layers.values()]
        if (size := _common_size(layers)) is not None:
            chosen = keep_largest_of_all(scores, budget // size, generator)
        else:
            sizes = torch.cat([_sizes(each) for each in layers.values()])
            pooled = _keep_within(torch.cat(scores), sizes, budget, generator)
            chosen = list(pooled.split([len(each) for each in scores]))
        return dict(zip(layers, chosen, strict=True))

    def _protected(self, scores: Tensor, generator: torch.Generator) -> Tensor:
        """The scores of a layer, those that stay at least raised above all others."""
        if (least := self.least(len(scores))) == 0:
            return scores
        best = keep_largest(scores, least, generator) & (scores > -torch.inf)
        return scores.masked_fill(best, torch.inf)


@dataclass(frozen=True)
class Layerwise(Allocation):
    """The base of allocations that give each layer a density before any score is looked at.

    What the densities come to is rounded so that the budget is met, exactly where all units are of
    one size. A layer keeps less than its share where less of it is left, or may be kept.
    """

    minimum: Annotated[int, Field(ge=0)] = 1

    @abstractmethod
    def layer_densities(self, layers: Layers, budget: int) -> dict[str, float]:
        """The fraction of each layer to keep, so that ``budget`` weights are kept in all."""

    def keep(self, layers: Layers, budget: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Keep each layer's highest scores; see :meth:`Allocation.keep`."""
        shares = self.shares(layers, budget)
        return {name: self.best(each, shares[name], generator) for name, each in layers.items()}

    def shares(self, layers: Layers, budget: int) -> dict[str, int]:
        """How many weights each layer keeps, whatever its scores."""
        densities = self.layer_densities(layers, budget)
        counts = self.counts(layers, densities, budget)
        shares = {}
        for name, each in layers.items():
            if each.sizes is None:
                shares[name] = counts[name] * each.size
            else:
                least = self.least(len(each.scores)) * each.size
                shares[name] = max(round(densities[name] * each.weights), least)
        return shares

    @property
    def within(self) -> Layerwise:
        """The allocation of what a layer keeps within that layer alone."""
        return Uniform(self.minimum, minimum_density=self.minimum_density)

    def best(self, layer: Units, share: int, generator: torch.Generator) -> Tensor:
        """Choose a layer's units of highest score that have ``share`` weights together."""
        if layer.sizes is None:
            return keep_largest(layer.scores, share // layer.size, generator)
        return _keep_within(layer.scores, layer.sizes, share, generator)

    def counts(self, layers: Layers, densities: Mapping[str, float], budget: int) -> dict[str, int]:
        """How many units each layer keeps, so that ``budget`` weights are kept in all."""
        if (size := _common_size(layers)) is None:
            return self.rounded(layers, densities)
        least = {name: self.least(len(each.scores)) for name, each in layers.items()}
        most = {name: int((each.scores > -torch.inf).sum()) for name, each in layers.items()}
        dense = {name: most[name] if densities[name] >= 1 else least[name] for name in layers}
        least = dense if sum(dense.values()) <= budget // size else least
        shares = {name: densities[name] * len(each.scores) for name, each in layers.items()}
        return _apportioned(shares, least, most, budget // size)

    def rounded(self, layers: Layers, densities: Mapping[str, float]) -> dict[str, int]:
        """How many units each layer keeps, rounded in each by itself.

        Of n units round((1 − density)·n) are removed.
        """
        removed = {name: round((1 - densities[name]) * len(layers[name].scores)) for name in layers}
        return {
            name: max(self.least(len(each.scores)), len(each.scores) - removed[name])
            for name, each in layers.items()
        }


@ALLOCATIONS.register
@dataclass(frozen=True)
class Uniform(Layerwise):
    """The same fraction of every layer.

    It is rounded in each layer, so that the total may differ from the budget by half a unit a
    layer, and be more where ``minimum`` or ``minimum_density`` keeps what would have gone.
    """

    @property
    def within(self) -> Layerwise:
        """This one."""
        return self

    def layer_densities(self, layers: Layers, budget: int) -> dict[str, float]:
        """The network's density, everywhere."""
        return dict.fromkeys(layers, budget / sum(each.weights for each in layers.values()))

    def counts(self, layers: Layers, densities: Mapping[str, float], budget: int) -> dict[str, int]:
        """The rounded fraction of each layer."""
        return self.rounded(layers, densities)


@ALLOCATIONS.register
@dataclass(frozen=True)
class PerOutput(Uniform):
    """The same fraction of every output of every layer: single weights compete with their row's.

    The comparison group of ``Wanda`` as it was published. What the fraction of a row is beyond a
    whole number of weights goes to the rows whose next weights have the highest scores, so that a
    layer keeps as many as with ``Uniform``.

    Args:
        minimum: weights that every layer keeps at least.
    """

    def best(self, layer: Units, share: int, generator: torch.Generator) -> Tensor:
        """Choose from all rows alike; see :meth:`Layerwise.best`."""
        if len(layer.scores) != layer.weights:
            raise UsageError(
                "allocation PerOutput: a structure of more than single weights is not allowed: "
                "use Unstructured or NM"
            )
        rows = layer.scores.reshape(len(layer.weight), -1)
        ranks = _ranks(rows, generator)
        reached = (rows > -torch.inf).sum(1).bincount(minlength=rows.shape[1] + 1)
        # How many rows have a weight left of each rank, and how many weights there are up to it.
        together = (len(rows) - reached.cumsum(0))[:-1].cumsum(0)
        full = int((together <= share).sum())
        rest = share - (int(together[full - 1]) if full else 0)
        last = rows.masked_fill(ranks != full, -torch.inf)
        chosen = (ranks < full) | keep_largest(last, rest, generator)
        return (chosen & (rows > -torch.inf)).flatten()


@ALLOCATIONS.register
@dataclass(frozen=True)
class ErdosRenyi(Layerwise):
    """More of small layers than of large ones, as in a random graph (Mocanu et al. 2018).

    The density of a layer is proportional to (inputs + outputs) / (inputs · outputs), and 1 where
    that would exceed it.

    Args:
        minimum: units that every layer keeps at least.
    """

    def layer_densities(self, layers: Layers, budget: int) -> dict[str, float]:
        """Proportional to :meth:`weight_of`, layers that are full set aside."""
        shares = {name: self.weight_of(each.weight.shape) for name, each in layers.items()}
        return _in_proportion(layers, shares, budget)

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


@ALLOCATIONS.register
@dataclass(frozen=True)
class UniformPlus(Layerwise):
    """The same fraction of every layer, sparing the first and the last (Gale et al. 2019).

    The first layer stays dense, and of the output layer at least a fifth is kept; the others make
    up for it.

    Args:
        minimum: units that every layer keeps at least.
        output: the least density of the output layer.
    """

    output: Annotated[float, Field(ge=0, le=1)] = 0.2

    def smallest(self, layers: Mapping[str, Tensor]) -> int:
        """The first layer, a share of the last one, and what every other one keeps at least."""
        first, *others = layers.values()
        needed = [self.least(len(each)) for each in others]
        if others:
            needed[-1] = max(needed[-1], ceil(self.output * len(others[-1])))
        sizes = [each.shape[1] for each in others]
        return first.numel() + sum(n * size for n, size in zip(needed, sizes, strict=True))

    def layer_densities(self, layers: Layers, budget: int) -> dict[str, float]:
        """1 for the first layer, at least ``output`` for the last, what is left for the others."""
        first = next(iter(layers))
        fixed = {first: 1.0}
        rest = {name: each for name, each in layers.items() if name != first}
        left = budget - layers[first].weights
        uniform = left / max(1, sum(each.weights for each in rest.values()))
        for name, each in rest.items():
            if each.is_output and uniform < self.output and len(rest) > 1:
                fixed[name] = self.output
                left -= round(self.output * each.weights)
        others = [each.weights for name, each in rest.items() if name not in fixed]
        if left < 0 or (left > 0 and not others):
            raise UsageError(
                f"allocation UniformPlus: keeping {budget:,} weights is not possible: the first "
                f"layer stays dense and takes {layers[first].weights:,}"
            )
        uniform = left / max(1, sum(others))
        return {name: fixed.get(name, uniform) for name in layers}


@ALLOCATIONS.register
@dataclass(frozen=True)
class Explicit(Layerwise):
    """Densities in the proportions that are given for each layer, scaled to the target.

    ``Explicit(densities={'conv1': 0.66, 'linear1': 0.08})``: layers are named as in the model. What
    would exceed a layer goes to the others.

    Args:
        minimum: units that every layer keeps at least.
        densities: for each layer's name its density, or anything in proportion to it. A layer that
            is not named has 1.
    """

    densities: dict[str, Annotated[float, Field(ge=0)]] = field(kw_only=True)

    def layer_densities(self, layers: Layers, budget: int) -> dict[str, float]:
        """In proportion to those given."""
        names = {name.removesuffix(".weight"): name for name in layers}
        for given in self.densities:
            if given not in names and given not in layers:
                raise UsageError(
                    f"allocation Explicit: densities: {given!r} is not allowed: "
                    f"{suggestion(given, names)}"
                )
        shares = dict.fromkeys(layers, 1.0)
        shares |= {names.get(given, given): share for given, share in self.densities.items()}
        most = sum(each.weights for name, each in layers.items() if shares[name] > 0)
        if most < budget:
            raise UsageError(
                f"allocation Explicit: keeping {budget:,} weights is not possible: the layers that "
                f"have a density above 0 have {most:,}"
            )
        return _in_proportion(layers, shares, budget)


@ALLOCATIONS.register
@dataclass(frozen=True)
class ClassBlind(Global):
    """One ranking over all classes of weights (See et al. 2016): another name of ``Global``.

    Args:
        minimum: units that every layer keeps at least, whatever their scores.
    """


@ALLOCATIONS.register
@dataclass(frozen=True)
class ClassUniform(Allocation):
    """The same fraction of every class of weights, in one ranking for each (See et al. 2016).

    Classes are what the model declares as such; in a plain network each layer is one.

    Args:
        minimum: units that every layer keeps at least, whatever their scores.
    """

    def keep(self, layers: Layers, budget: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Keep each class's highest scores; see :meth:`Allocation.keep`."""
        density = budget / sum(each.weights for each in layers.values())
        classes: dict[str, dict[str, Units]] = {}
        for name, each in layers.items():
            classes.setdefault(each.weight_class, {})[name] = each
        chosen: dict[str, Tensor] = {}
        for members in classes.values():
            share = round(density * sum(each.weights for each in members.values()))
            # A class keeps more than its share where its layers may not have less.
            least = sum(self.least(len(each.scores)) * each.size for each in members.values())
            ranking = Global(minimum=self.minimum, minimum_density=self.minimum_density)
            chosen |= ranking.keep(members, max(share, least), generator)
        return {name: chosen[name] for name in layers}


@ALLOCATIONS.register
@dataclass(frozen=True)
class ClassDistribution(Global):
    """One ranking of scores in units of their class's standard deviation (See et al. 2016).

    With magnitudes: weights below λ·σ go, σ being the standard deviation of the class's weights and
    λ so that the budget is kept. Classes are what the model declares as such; in a plain network
    each layer is one.

    Args:
        minimum: units that every layer keeps at least, whatever their scores.
    """

    def keep(self, layers: Layers, budget: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Keep the highest scores relative to σ; see :meth:`Allocation.keep`."""
        deviations = _deviations(layers)
        relative = {
            name: each._replace(scores=each.scores / deviations[each.weight_class])
            for name, each in layers.items()
        }
        return super().keep(relative, budget, generator)


@ALLOCATIONS.register
@dataclass(frozen=True)
class Shuffled(Allocation):
    """As many units of each layer as another allocation keeps, but drawn at random.

    The sanity check of Frankle et al. 2021 and Su et al. 2020: a method whose masks can be shuffled
    within layers without loss has found how dense layers should be, and not which weights matter.

    Args:
        minimum: has no effect; that of the allocation in ``of`` has.
        minimum_density: has no effect either.
        of: the allocation that decides how many.
    """

    of: Allocation = Global()

    def smallest(self, layers: Mapping[str, Tensor]) -> int:
        """As few as the other allocation can keep."""
        return self.of.smallest(layers)

    def least(self, units: int) -> int:
        """As few as the other allocation keeps."""
        return self.of.least(units)

    def keep(self, layers: Layers, budget: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Shuffle what ``of`` keeps among the units that are left in each layer."""
        chosen = self.of.keep(layers, budget, generator)
        return {
            name: _redrawn(chosen[name], layers[name].scores > -torch.inf, generator)
            for name in layers
        }


def _ranks(rows: Tensor, generator: torch.Generator) -> Tensor:
    """The rank of each score in its row, 0 for the highest; lots decide among equals."""
    lots = torch.randperm(rows.shape[1], generator=generator).to(rows.device)
    numbers = torch.arange(rows.shape[1], dtype=torch.int32, device=rows.device)
    ranks = torch.empty(rows.shape, dtype=torch.int32, device=rows.device)
    height = max(1, _ENTRIES // rows.shape[1])
    for some, own in zip(rows.split(height), ranks.split(height), strict=True):
        order = some[:, lots].argsort(dim=1, descending=True, stable=True)
        own.scatter_(1, lots[order], numbers.expand_as(order))
    return ranks


def _in_proportion(layers: Layers, shares: Mapping[str, float], budget: int) -> dict[str, float]:
    """Densities in proportion to ``shares`` that keep ``budget`` weights, none above 1."""
    full: set[str] = set()
    while True:
        left = budget - sum(layers[name].weights for name in full)
        open_layers = [name for name in layers if name not in full]
        total = sum(shares[name] * layers[name].weights for name in open_layers)
        factor = left / total if total else 0.0
        overflowing = {name for name in open_layers if factor * shares[name] > 1}
        if not overflowing:
            return {name: 1.0 if name in full else factor * shares[name] for name in layers}
        full |= overflowing


def _apportioned(
    shares: Mapping[str, float], least: Mapping[str, int], most: Mapping[str, int], total: int
) -> dict[str, int]:
    """Whole numbers near ``shares``, within bounds, that add up to ``total`` if the bounds allow.

    Of the largest remainder: where rounding gives too many or too few, those change whose rounding
    was the largest.
    """
    if any(not least[name] <= share <= most[name] for name, share in shares.items()):
        shares = _within(shares, least, most, total)
    counts = {name: most[name] - round(most[name] - share) for name, share in shares.items()}
    while missing := total - sum(counts.values()):
        step = 1 if missing > 0 else -1
        movable = [name for name in counts if least[name] <= counts[name] + step <= most[name]]
        if not movable:
            break
        counts[max(movable, key=lambda name: step * (shares[name] - counts[name]))] += step
    return counts


def _within(
    shares: Mapping[str, float], least: Mapping[str, int], most: Mapping[str, int], total: int
) -> dict[str, float]:
    """``shares`` times one factor, within bounds, so that they add up to ``total``."""
    # What has no share is filled last, where all others are full.
    shares = {name: max(share, 1e-9) for name, share in shares.items()}

    def scaled(factor: float) -> dict[str, float]:
        return {
            name: min(max(factor * share, float(least[name])), float(most[name]))
            for name, share in shares.items()
        }

    low, high = 0.0, 1.0
    while sum(scaled(high).values()) < min(total, sum(most.values())) and high < 1e18:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if sum(scaled(middle).values()) < total else (low, middle)
    return scaled(high)


def _deviations(layers: Layers) -> dict[str, float]:
    """The standard deviation of each class's weights, those that are zero (pruned) left out."""
    pooled: dict[str, list[Tensor]] = {}
    for each in layers.values():
        pooled.setdefault(each.weight_class, []).append(in_float64(each.weight[each.weight != 0]))
    return {name: _deviation(torch.cat(weights)) for name, weights in pooled.items()}


def _deviation(weights: Tensor) -> float:
    """The standard deviation, or 1 where there is none to divide by."""
    deviation = float(weights.std(correction=0)) if len(weights) else 0.0
    return deviation or 1.0


def _redrawn(chosen: Tensor, alive: Tensor, generator: torch.Generator) -> Tensor:
    """As many units as ``chosen`` has, drawn at random from those ``alive``."""
    lots = torch.rand(len(chosen), generator=generator, dtype=torch.float64)
    lots = from_float64(lots, chosen.device)
    return keep_largest(lots.masked_fill(~alive, -torch.inf), int(chosen.sum()), generator)


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
