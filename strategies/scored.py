"""Strategies that score every weight of the network, bound to an allocation and a structure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..errors import UsageError
from .axes.allocation import Allocation, Global, Shuffled
from .axes.ranking import Ranking
from .axes.structure import NM, Structure, Unstructured
from .evidence.context import Context
from .evidence.prunable import Prunable
from .evidence.scorings import Scores as Scores
from .evidence.untouched import left_untouched
from .masks import Masks
from .strategy import Capabilities, Strategy
from .training.sparse_training import SparseTraining


@dataclass(frozen=True)
class ScoredStrategy(Strategy, ABC):
    """A method that says how much each weight matters, and prunes those that matter least.

    A new method is normally one :meth:`score`.
    """

    allocation: Allocation = Global()
    structure: Structure = Unstructured()

    def __post_init__(self) -> None:
        if isinstance(self.allocation, Shuffled) and isinstance(self.structure, NM):
            raise UsageError(
                f"strategy {type(self).__name__}: allocation: {self.allocation} is not allowed: "
                f"which weights may stay under structure={self.structure} is said by scores, so "
                "that there is nothing left to shuffle"
            )

    @property
    def capabilities(self) -> Capabilities:
        """It removes what its structure does, and trains as :meth:`training` says."""
        trains_as_usual = type(self).training is ScoredStrategy.training
        return Capabilities(self.structure.removes, "masked" if trains_as_usual else "own")

    @abstractmethod
    def score(self, context: Context) -> Scores:
        """How much each prunable weight matters; the lowest scores are pruned first.

        Returns:
            For each name in ``context.weights`` a floating-point tensor of the weight's shape,
            without NaN.
        """

    def unit_scores(self, scores: Tensor) -> Tensor:
        """Scores of units (one-dimensional) from the scores of their weights (units × weights).

        By default their sum.
        """
        return scores.squeeze(1) if scores.shape[1] == 1 else scores.sum(1)

    def masks(self, context: Context, budget: int) -> Masks:
        """The masks that keep ``budget`` of the prunable weights, all of them kept before.

        Raises:
            UsageError: the scores do not fit the weights, or are no numbers to rank by.
        """
        return self._ranked(context, dict(context.scored(self.score)), budget)

    def ranked(self, context: Context, scores: Scores, budget: int) -> Masks:
        """The masks that keep the ``budget`` weights of highest score; see :meth:`masks`."""
        return self._ranked(context, dict(scores), budget)

    def update(self, context: Context, masks: Masks) -> Mapping[str, Tensor]:
        """New values of weights that are kept, where they make up for those that go.

        Called after :meth:`masks` with the same context. By default nothing is changed.

        Returns:
            Tensors by the names of prunable weights; those not named stay as they are.
        """
        return {}

    def training(self, context: Context, masks: Masks, budget: int) -> SparseTraining:
        """How the network trains after it was pruned; by default under ``masks`` as they are.

        Args:
            context: that of :meth:`masks`, whose ``masks`` are those before this round.
            masks: what :meth:`masks` gave.
            budget: the number of weights that the round is to end with.
        """
        return SparseTraining(context.model, masks)

    def prune(self, context: Context, budget: int) -> SparseTraining:
        """Score, rank, and set what goes to zero; see :meth:`Strategy.prune`.

        Raises:
            UsageError: as :meth:`masks`; or scoring changed what it was to look at.
        """
        with left_untouched(context, type(self).__name__):
            masks = self.masks(context, budget)
            masks = {**masks, **self.structure.further_masks(context, masks)}
            updated = self.update(context, masks)
        parameters = dict(context.model.named_parameters())
        with torch.no_grad():
            for name, weight in updated.items():
                parameters[name].copy_(weight)
        training = self.training(context, masks, budget)
        training.apply()
        return training

    def removable(self, model: nn.Module, prunable: Prunable) -> list[str]:
        """All but the output layers where a unit of them is a class."""
        spared = prunable.outputs if self.structure.spares_output else ()
        return [name for name in prunable.names if name not in spared]

    def smallest_budget(self, weights: Mapping[str, Tensor]) -> int:
        """What the allocation keeps at least of the structure's units."""
        return self.allocation.smallest(
            {name: self.structure.units(weight) for name, weight in weights.items()}
        )

    def fewest_channels(self, channels: int) -> int:
        """What the allocation keeps at least of them, and one."""
        return max(1, self.allocation.least(channels))

    def largest_budget(self, weights: Mapping[str, Tensor]) -> int:
        """What the structure can keep at most."""
        return sum(map(self.structure.most, weights.values()))

    def _ranked(self, context: Context, scores: dict[str, Tensor], budget: int) -> Masks:
        """The masks; the scores, which are as large as the network, are taken out on the way."""
        self._check(scores, context.weights)
        ranking = Ranking(context, self.allocation, self.unit_scores, budget)
        return self.structure.masks(ranking, scores)

    def _check(self, scores: Scores, weights: Mapping[str, Tensor]) -> None:
        name = type(self).__name__
        if set(scores) != set(weights):
            differing = sorted(set(scores) ^ set(weights))
            raise UsageError(
                f"strategy {name}: score() must return a tensor for each of context.weights and "
                f"no other; it differs in {', '.join(differing)}"
            )
        for layer, weight in weights.items():
            if scores[layer].shape != weight.shape:
                raise UsageError(
                    f"strategy {name}: the score of {layer} has shape "
                    f"{tuple(scores[layer].shape)}, its weight {tuple(weight.shape)}"
                )
            if not scores[layer].is_floating_point():
                raise UsageError(
                    f"strategy {name}: the score of {layer} must be of a floating-point type, "
                    f"not {scores[layer].dtype}"
                )
            if scores[layer].isnan().any():
                raise UsageError(f"strategy {name}: the score of {layer} contains NaN")
