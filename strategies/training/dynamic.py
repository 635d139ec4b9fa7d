"""Methods whose masks move while the network trains: pruned weights may come back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import cos, pi
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Optimizer

from ...precision import from_float64
from ..axes.allocation import ERK, Allocation
from ..axes.selection import keep_largest
from ..axes.structure import Structure, Unstructured
from ..evidence.context import Context
from ..masks import Masks
from ..scores.magnitude import GlobalMagnitude
from ..scores.random import Random
from ..strategy import register
from .sparse_training import ReparametrisedTraining, SparseTraining, spread, straight_through


@dataclass(frozen=True)
class _SparseToSparse(Random, ABC):
    """Random masks, of which some weights are exchanged for others now and then."""

    allocation: Allocation = ERK()
    structure: Structure = field(default=Unstructured(), init=False)  # single weights are exchanged
    updates: Annotated[int, Field(ge=1)] = 50
    until: Annotated[float, Field(gt=0, le=1)] = 0.75
    fraction: Annotated[float, Field(gt=0, le=1)] = 0.3

    search_space = {"until": (0.5, 0.75), "fraction": (0.1, 0.3, 0.5)}

    @abstractmethod
    def growth(self, weight: nn.Parameter, generator: torch.Generator) -> Tensor:
        """How much each weight of a layer deserves to come back; the highest do."""

    def training(self, context: Context, masks: Masks, budget: int) -> SparseTraining:
        """Training under masks of which the smallest weights are exchanged now and then."""
        return _Exchange(
            context.model,
            masks,
            allowed=context.masks,
            updates=self.updates,
            until=self.until,
            fraction=self.fraction,
            growth=self.growth,
            generator=context.generator,
        )


@register
@dataclass(frozen=True)
class SET(_SparseToSparse):
    """Train sparsely, exchanging the smallest weights for random others (Mocanu et al. 2018).

    Sparse evolutionary training: the network begins with a random mask, and is as sparse in
    training as it is in the end. Weights that come back start at zero.

    Formula: of each layer's n kept weights those ⌈α/2·(1 + cos(πt/T))·n⌋ of smallest |w| go, and as
        many that are not kept come, at random.
    Source: Mocanu et al.: Scalable training of artificial neural networks with adaptive sparse
        connectivity inspired by network science, Nature Communications 2018; with the annealing of
        Evci et al. 2020.
    Use: from initialisation (``start_epoch: 0``), with a fine-tuning recipe as long as a training.
    Cost: no scoring; a partial sort of each layer at each update.

    Args:
        updates: how often weights are exchanged, at equal intervals.
        until: fraction of the training (T) after which the masks stay as they are.
        fraction: share of each layer's kept weights (α) that the first update exchanges.
    """

    def growth(self, weight: nn.Parameter, generator: torch.Generator) -> Tensor:
        """Random numbers."""
        drawn = torch.rand(weight.shape, generator=generator, dtype=torch.float64)
        return from_float64(drawn, weight.device)


@register
@dataclass(frozen=True)
class RigL(_SparseToSparse):
    """Train sparsely, exchanging the smallest weights for those of largest gradient (Evci 2020).

    The rigged lottery: the network begins with a random mask, and is as sparse in training as it is
    in the end. Weights that come back start at zero.

    Formula: of each layer's n kept weights those ⌈α/2·(1 + cos(πt/T))·n⌋ of smallest |w| go, and as
        many that are not kept come, those of largest |∂L/∂w| on the batch of that step.
    Source: Evci, Gale, Menick, Castro, Elsen: Rigging the Lottery: Making All Tickets Winners,
        ICML 2020, algorithm 1.
    Use: from initialisation (``start_epoch: 0``), with a fine-tuning recipe as long as a training.
    Cost: no scoring; a partial sort of each layer at each update.

    Args:
        updates: how often weights are exchanged, at equal intervals.
        until: fraction of the training (T) after which the masks stay as they are.
        fraction: share of each layer's kept weights (α) that the first update exchanges.
    """

    def growth(self, weight: nn.Parameter, generator: torch.Generator) -> Tensor:
        """|∂L/∂w| of the step's own batch, pruned weights included."""
        return torch.zeros_like(weight) if weight.grad is None else weight.grad.abs()


@register
@dataclass(frozen=True)
class DynamicNetworkSurgery(GlobalMagnitude):
    """Prune the smallest |w| again and again, letting pruned weights grow back (Guo et al. 2016).

    Pruned weights go on learning unseen, and return when they have grown beyond those that are
    kept. Where the paper compares with two thresholds, the number of kept weights is exact here,
    and ``margin`` plays the part of the distance between the thresholds.

    Formula: |w| of the unseen weights, times 1 + margin where the weight is kept at present.
    Source: Guo, Yao, Chen: Dynamic Network Surgery for Efficient DNNs, NeurIPS 2016, equations 2–4.
    Use: on a trained network, with a fine-tuning recipe that is long enough to make up for errors.
    Cost: no scoring passes; a ranking of all weights at each update.

    Args:
        updates: how often the masks are drawn anew, at equal intervals.
        until: fraction of the training after which the masks stay as they are.
        margin: by how much, relatively, a pruned weight must exceed a kept one to replace it.
    """

    updates: Annotated[int, Field(ge=1)] = 50
    until: Annotated[float, Field(gt=0, le=1)] = 0.75
    margin: Annotated[float, Field(ge=0)] = 0.1

    search_space = {"until": (0.5, 0.75), "margin": (0.0, 0.1, 0.3)}

    def training(self, context: Context, masks: Masks, budget: int) -> SparseTraining:
        """Training of unseen weights, of which the largest are seen."""

        def rank(latent: Mapping[str, Tensor], kept: Masks) -> Masks:
            scores = {
                name: weight.abs() * (1 + self.margin * kept[name])
                for name, weight in latent.items()
            }
            return self.ranked(context, scores, budget)

        return _Surgery(context, masks, rank, self.updates, self.until)


class _Exchange(SparseTraining):
    """Drop the smallest weights of each layer and grow others, at intervals, ever fewer."""

    changing = ("_step", "_waiting", "_generator")

    def __init__(
        self,
        model: nn.Module,
        masks: Masks,
        *,
        allowed: Mapping[str, Tensor],
        updates: int,
        until: float,
        fraction: float,
        growth: Callable[[nn.Parameter, torch.Generator], Tensor],
        generator: torch.Generator,
    ) -> None:
        super().__init__(model, masks)
        self._allowed, self._growth, self._generator = allowed, growth, generator
        self._updates, self._until, self._fraction = updates, until, fraction
        self._step, self._waiting = 0, False

    def start(self, optimizer: Optimizer, steps: int) -> None:
        """Lay the exchanges out over the training."""
        super().start(optimizer, steps)
        self._end = steps * self._until
        self._due = spread(self._updates, self._end)

    def after_step(self) -> None:
        """Exchange weights if it is time to, by the gradients of the next step that is taken."""
        super().after_step()
        self._step += 1
        self._waiting = self._waiting or self._step in self._due
        if self._waiting and not self.skipped:
            self._waiting = False
            share = self._fraction / 2 * (1 + cos(pi * self._step / self._end))
            self._exchange(share)

    @torch.no_grad()
    def _exchange(self, share: float) -> None:
        parameters = dict(self.model.named_parameters())
        masks, returned = {}, {}
        for name, mask in self.masks.items():
            kept = int(mask.sum())
            candidates = int(self._allowed[name].sum()) - kept
            count = min(round(share * kept), candidates)
            weight = parameters[name]
            stay = keep_largest(
                weight.abs().masked_fill(~mask, -torch.inf), kept - count, self._generator
            )
            open_places = self._allowed[name] & ~stay
            worth = self._growth(weight, self._generator).masked_fill(~open_places, -torch.inf)
            grown = keep_largest(worth, count, self._generator)
            masks[name], returned[name] = stay | grown, grown & ~mask
        self._set(masks)
        self.apply()
        self._forget(returned)


class _Surgery(ReparametrisedTraining):
    """The model runs on those of the latent weights that the masks of the moment keep."""

    changing = ("_kept", "_generator")

    def __init__(
        self,
        context: Context,
        masks: Masks,
        rank: Callable[[Mapping[str, Tensor], Masks], Masks],
        updates: int,
        until: float,
    ) -> None:
        super().__init__(context.model, dict(context.masks), until)
        self._kept, self._rank, self._updates = masks, rank, updates
        self._generator = context.generator

    def start(self, optimizer: Optimizer, steps: int) -> None:
        """Lay the surgeries out over the training."""
        super().start(optimizer, steps)
        self._due = spread(self._updates, self._last)

    def effective(self, latent: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """w ⊙ m, the gradient of which goes to all latent weights as if the mask were not there."""
        return {name: straight_through(weight, self._kept[name]) for name, weight in latent.items()}

    def learn(self) -> None:
        """Draw the masks anew if it is time to."""
        if self._step + 1 in self._due:
            self._kept = self._rank(self._latent, self._kept)

    def settle(self, latent: Mapping[str, Tensor]) -> tuple[Masks, Mapping[str, Tensor]]:
        """The masks of the moment stay."""
        return self._kept, latent
