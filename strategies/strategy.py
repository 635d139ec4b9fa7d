"""The strategy: a score, bound to an allocation and a structure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..datasets import Task
from ..errors import UsageError
from ..registry import Configured, Registry
from .allocation import Allocation, Global, Units
from .context import Context, prunable_weights, weight_class
from .coupled import coupled_masks
from .coupling import Coupling, couple
from .masks import Masks
from .sparse_training import SparseTraining
from .structure import CoupledChannels, Structure, Unstructured
from .untouched import left_untouched

Scores = Mapping[str, Tensor]


@dataclass(frozen=True)
class Strategy(Configured, ABC):
    """A pruning method: how weights are scored, and thereby which ones are removed.

    A new method is normally one :meth:`score`. The fields are its hyperparameters; they appear in
    listings, on the command line, in records and in the identity of an experiment.

    Attributes:
        dynamic: whether the masks change while the network trains, so that pruned weights may come
            back, and nothing is pruned without training.
        gates: whether the network is adapted to choose its channels for each input, and keeps all
            weights.
    """

    dynamic: ClassVar[bool] = False
    gates: ClassVar[bool] = False

    allocation: Allocation = Global()
    structure: Structure = Unstructured()

    def check(self, task: Task, model: nn.Module) -> None:
        """Make sure, before anything is trained, that this strategy can prune such a network.

        By default it can.

        Raises:
            UsageError: it cannot; the sentence says why.
        """
        return

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
        if self.couples:
            return self.ranked(context, self.score(context), budget)
        # The scores are as large as the network, and not held here while masks are made of them.
        return self._chosen(context, self._layers(context, self.score(context)), budget)

    def ranked(self, context: Context, scores: Scores, budget: int) -> Masks:
        """The masks that keep the ``budget`` weights of highest score; see :meth:`masks`."""
        if self.couples:
            self._check(scores, context.weights)
            return coupled_masks(self, context, self._coupling(context), scores, budget)
        return self._chosen(context, self._layers(context, scores), budget)

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
        """Prune the model of ``context``, and say how it is to train on.

        Raises:
            UsageError: as :meth:`masks`; or scoring changed what it was to look at.
        """
        with left_untouched(context, type(self).__name__):
            masks = self.masks(context, budget)
            if self.couples:
                # To a channel belong biases and more, which are no prunable weights.
                coupling = self._coupling(context)
                masks = masks | coupling.masks(context.model, coupling.kept(masks))
            updated = self.update(context, masks)
        parameters = dict(context.model.named_parameters())
        with torch.no_grad():
            for name, weight in updated.items():
                parameters[name].copy_(weight)
        training = self.training(context, masks, budget)
        training.apply()
        return training

    def adapt(self, model: nn.Module, density: float, generator: torch.Generator) -> nn.Module:
        """The network that is pruned and trained in place of ``model``; by default itself.

        Args:
            model: the trained network, which is not to be changed.
            density: fraction of the prunable weights that are to be kept in the end.
            generator: the source of randomness.
        """
        return model

    def prunable(self, model: nn.Module, *, classifier: bool = True) -> list[str]:
        """Names of the parameters of ``model`` that this strategy prunes."""
        spared = self.structure.spares_output
        return prunable_weights(model, classifier=classifier and not spared)

    @property
    def couples(self) -> bool:
        """Whether channels go with all that belongs to them, so that the network can be shrunk."""
        return isinstance(self.structure, CoupledChannels)

    @property
    def trains_plainly(self) -> bool:
        """Whether a pruned network trains like any other, its masks staying as they are."""
        return type(self).training is Strategy.training and not self.gates

    def coupling(self, model: nn.Module, example: Tensor) -> Coupling:
        """The channels of ``model`` that this strategy may remove; see :func:`.coupling.couple`."""
        return couple(model, example, self.prunable(model))

    def smallest_budget(self, weights: Mapping[str, Tensor]) -> int:
        """The fewest of ``weights`` that this strategy can keep."""
        return self.allocation.smallest(
            {name: self.structure.units(weight) for name, weight in weights.items()}
        )

    def largest_budget(self, weights: Mapping[str, Tensor]) -> int:
        """The most of ``weights`` that this strategy can keep."""
        return sum(map(self.structure.most, weights.values()))

    def _coupling(self, context: Context) -> Coupling:
        def traced() -> Coupling:
            return couple(context.model, context.task.inputs(1), list(context.masks))

        return context.remember("coupling", traced)

    def _layers(self, context: Context, scores: Scores) -> dict[str, tuple[Units, Tensor]]:
        """For each layer its units, and a mask of the weights that may be kept."""
        self._check(scores, context.weights)
        return {name: self._units(context, name, scores[name]) for name in context.masks}

    def _units(self, context: Context, name: str, score: Tensor) -> tuple[Units, Tensor]:
        weight = context.weights[name]
        allowed = self.structure.admissible(score, context.masks[name])
        rows = self.structure.units(score)
        scores = self.unit_scores(rows)
        if not allowed.all():
            # What is gone ranks below everything else, below a score of -inf too.
            alive = self.structure.units(allowed).any(1)
            scores = scores.clamp(min=torch.finfo(scores.dtype).min).masked_fill(~alive, -torch.inf)
        units = Units(
            scores=scores,
            size=rows.shape[1],
            weight=weight,
            weight_class=weight_class(context.model, name),
            is_output=name == context.output,
            sizes=self.structure.sizes(weight),
        )
        return units, allowed

    def _chosen(
        self, context: Context, layers: dict[str, tuple[Units, Tensor]], budget: int
    ) -> Masks:
        """The masks that the allocation makes of the layers, which are forgotten on the way."""
        allowed = {name: mask for name, (_, mask) in layers.items()}
        units = {name: each for name, (each, _) in layers.items()}
        chosen = self.allocation.keep(units, budget, context.generator)
        units.clear()
        layers.clear()
        return {
            name: self.structure.expand(chosen.pop(name), mask) for name, mask in allowed.items()
        }

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


# What torch.nn.utils.prune calls them.
_ELSEWHERE = {
    "l1unstructured": ("GlobalMagnitude", "LayerMagnitude"),
    "globalunstructured": ("GlobalMagnitude",),
    "lnstructured": ("StructuredL1", "StructuredL2", "StructuredLInf"),
    "randomunstructured": ("LayerRandom", "Random"),
    "randomstructured": ("StructuredRandom",),
}

STRATEGIES: Registry[Strategy] = Registry(
    "strategy", "strategies", Strategy, home=__package__ or "", elsewhere=_ELSEWHERE
)
register = STRATEGIES.register
