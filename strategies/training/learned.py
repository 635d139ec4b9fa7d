"""Methods that learn what to prune by backpropagation: thresholds, gates, scores of weights.

Each learns in the first part of the training that follows pruning, the network being as dense as
its method makes it; then the masks are fixed at exactly the budget, and training goes on. So they
take as many steps as every other method. Before anything is learned they rank by magnitude.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from math import log
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.optim import Optimizer

from ..axes.schedule import Cubic
from ..evidence.context import Context
from ..masks import Masks, kept
from ..scores.magnitude import GlobalMagnitude
from ..strategy import register
from .sparse_training import ReparametrisedTraining, SparseTraining, spread

# The stretch of the hard concrete distribution and its temperature (Louizos et al. 2018).
_LOW, _HIGH, _TEMPERATURE = -0.1, 1.1, 2 / 3


@dataclass(frozen=True)
class _Learned(GlobalMagnitude):
    """What the learned methods have in common: until when they learn."""

    until: Annotated[float, Field(gt=0, lt=1)] = 0.5

    search_space = {"until": (0.25, 0.5, 0.75)}


@register
@dataclass(frozen=True)
class STR(_Learned):
    """Learn a soft threshold for each layer together with the weights (Kusupati et al. 2020).

    Soft threshold reparametrisation. The thresholds grow as weight decay pulls at them; how sparse
    the network has become by then depends on the decay, and the final ranking sets it right.

    Formula: w = sign(θ)·max(|θ| − σ(s), 0) with a learned s for each layer; in the end the weights
        of lowest |θ| − σ(s) go.
    Source: Kusupati et al.: Soft Threshold Weight Reparameterization for Learnable Sparsity,
        ICML 2020, equations 3–5.
    Use: on a trained network or from initialisation, with several epochs of fine-tuning.
    Cost: no scoring passes; an elementwise function of all weights in each step.

    Args:
        until: fraction of the training in which thresholds are learned.
        initial: s before learning; the threshold is then 1 / (1 + exp(−s)).
        learning_rate: of s, by gradient descent with momentum 0.9.
        decay: weight decay of s, which is what makes thresholds grow from a negative s.
    """

    initial: Annotated[float, Field(lt=0)] = -6.0
    learning_rate: Annotated[float, Field(gt=0)] = 0.1
    decay: Annotated[float, Field(ge=0)] = 5e-3

    search_space = {"initial": (-8.0, -6.0, -4.0), "decay": (1e-3, 5e-3, 2e-2)}

    def training(self, context: Context, masks: Masks, budget: int) -> SparseTraining:
        """Training under thresholds, which become masks of exactly ``budget`` weights."""
        return _SoftThresholds(self, context, budget)


@register
@dataclass(frozen=True)
class HardConcrete(_Learned):
    """Learn for each weight a gate that is open at random, and pay for open gates (Louizos 2018).

    L0 regularisation: the expected number of open gates is added to the loss.

    Formula: w = θ·min(1, max(0, 1.2·σ((log u − log(1 − u) + log α)/β) − 0.1)), u ~ U(0, 1), with a
        learned log α for each weight; the loss gains λ/N·Σ P(gate open); in the end the weights of
        lowest log α go.
    Source: Louizos, Welling, Kingma: Learning Sparse Neural Networks through L0 Regularization,
        ICLR 2018, equations 10–13.
    Use: on a trained network or from initialisation, with several epochs of fine-tuning.
    Cost: no scoring passes; random numbers and elementwise functions of all weights in each step.

    Args:
        until: fraction of the training in which gates are learned.
        openness: probability at first that a gate is open.
        penalty: λ, the loss of a network all of whose gates are open.
        learning_rate: of log α, by Adam.
    """

    openness: Annotated[float, Field(gt=0, lt=1)] = 0.9
    penalty: Annotated[float, Field(ge=0)] = 1.0
    learning_rate: Annotated[float, Field(gt=0)] = 0.02

    search_space = {"until": (0.25, 0.5, 0.75), "penalty": (0.3, 1.0, 3.0)}

    def training(self, context: Context, masks: Masks, budget: int) -> SparseTraining:
        """Training under gates, which become masks of exactly ``budget`` weights."""
        return _Gates(self, context, budget)


@dataclass(frozen=True)
class _LearnedScores(_Learned):
    """Scores of weights that are learned as if the mask were the scores (straight through)."""

    updates: Annotated[int, Field(ge=1)] = 50

    @property
    def rate(self) -> float:
        """The learning rate of the scores."""
        return 1.0

    @abstractmethod
    def initial(self, weight: Tensor) -> Tensor:
        """The scores of a layer before anything is learned."""

    @abstractmethod
    def budgets(self, start: int, final: int) -> list[int]:
        """The number of weights kept at the start of training, and after each update."""

    def training(self, context: Context, masks: Masks, budget: int) -> SparseTraining:
        """Training in which the masks follow the scores, down to exactly ``budget`` weights."""
        return _Scores(self, context, budget)


@register
@dataclass(frozen=True)
class Movement(_LearnedScores):
    """Prune weights that training moves towards zero (Sanh et al. 2020).

    A weight counts by how far it is driven away from zero, not by where it stands. It may come back
    when its score recovers.

    Formula: −Σ w·∂L/∂w, summed over the steps of fine-tuning; the lowest go, on the cubic schedule.
    Source: Sanh, Wolf, Rush: Movement Pruning: Adaptive Sparsity by Fine-Tuning, NeurIPS 2020,
        equation 5.
    Use: when a pretrained network is fine-tuned on another task; weaker where nothing moves.
    Cost: no scoring passes; one multiply-add for each weight and step, a ranking at each update.

    Args:
        until: fraction of the training in which scores are summed and masks tightened.
        updates: how often the masks are drawn anew, at equal intervals.
    """

    def initial(self, weight: Tensor) -> Tensor:
        """Nothing has moved yet."""
        return torch.zeros_like(weight)

    def budgets(self, start: int, final: int) -> list[int]:
        """Down from ``start`` on the cubic schedule."""
        return [
            max(final, round(start * Cubic().density(final / start, number, self.updates)))
            for number in range(self.updates + 1)
        ]


@register
@dataclass(frozen=True)
class StraightThrough(_LearnedScores):
    """Learn a score for each weight by backpropagation through the mask (Ramanujan et al. 2020).

    Scores begin at |w|, and the highest are kept from the first step on. The weights learn, too.

    Formula: s ← s − η·w·∂L/∂(w·m) in each step, m being 1 for the highest s; the lowest go.
    Source: Ramanujan et al.: What's Hidden in a Randomly Weighted Neural Network?, CVPR 2020,
        equation 6.
    Use: from initialisation or on a trained network, with several epochs of fine-tuning.
    Cost: no scoring passes; one multiply-add for each weight and step, a ranking at each update.

    Args:
        until: fraction of the training in which scores are learned.
        updates: how often the masks are drawn anew, at equal intervals.
        learning_rate: of the scores (η).
    """

    learning_rate: Annotated[float, Field(gt=0)] = 1.0

    search_space = {"until": (0.25, 0.5, 0.75), "learning_rate": (0.1, 1.0, 10.0)}

    @property
    def rate(self) -> float:
        """The learning rate of the scores."""
        return self.learning_rate

    def initial(self, weight: Tensor) -> Tensor:
        """|w|, so that the first masks are those of magnitude."""
        return weight.abs()

    def budgets(self, start: int, final: int) -> list[int]:
        """``final`` all the time."""
        return [final] * (self.updates + 1)


class _SoftThresholds(ReparametrisedTraining):
    """Weights that are drawn towards zero by their layer's learned threshold."""

    changing = ("_thresholds", "_steps", "_generator")

    def __init__(self, method: STR, context: Context, budget: int) -> None:
        super().__init__(context.model, dict(context.masks), method.until)
        self._method, self._context, self._budget = method, context, budget
        self._generator = context.generator
        self._thresholds = {
            name: torch.tensor(method.initial, dtype=w.dtype, device=w.device, requires_grad=True)
            for name, w in context.weights.items()
        }
        self._steps = torch.optim.SGD(
            self._thresholds.values(),
            lr=method.learning_rate,
            momentum=0.9,
            weight_decay=method.decay,
        )

    def own(self) -> list[Tensor]:
        """One s for each layer."""
        return list(self._thresholds.values())

    def effective(self, latent: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """sign(θ)·max(|θ| − σ(s), 0)."""
        return {
            name: weight.sign() * (weight.abs() - self._thresholds[name].sigmoid()).relu()
            for name, weight in latent.items()
        }

    def learn(self) -> None:
        """One step for the thresholds."""
        self._steps.step()

    def settle(self, latent: Mapping[str, Tensor]) -> tuple[Masks, Mapping[str, Tensor]]:
        """Rank by how far weights are beyond their thresholds."""
        beyond = {
            name: weight.abs() - self._thresholds[name].detach().sigmoid()
            for name, weight in latent.items()
        }
        masks = self._method.ranked(self._context, beyond, self._budget)
        return masks, self.effective(latent)


class _Gates(ReparametrisedTraining):
    """Weights times gates of the hard concrete distribution."""

    changing = ("_alphas", "_steps", "_noise", "_generator")

    def __init__(self, method: HardConcrete, context: Context, budget: int) -> None:
        super().__init__(context.model, dict(context.masks), method.until)
        self._method, self._context, self._budget = method, context, budget
        self._generator = context.generator
        # P(open) = σ(log α − β·log(−low/high)), their equation 12.
        self._shift = _TEMPERATURE * log(-_LOW / _HIGH)
        first = log(method.openness / (1 - method.openness)) + self._shift
        self._alphas = {
            name: torch.full_like(weight, first).requires_grad_()
            for name, weight in context.weights.items()
        }
        self._prunable = kept(context.masks)
        self._steps = torch.optim.Adam(self._alphas.values(), lr=method.learning_rate)
        self._draw()

    def own(self) -> list[Tensor]:
        """log α of every weight."""
        return list(self._alphas.values())

    def effective(self, latent: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights times gates as they are drawn for this step."""
        return {
            name: weight * _stretched((self._alphas[name] + self._noise[name]) / _TEMPERATURE)
            for name, weight in latent.items()
        }

    def penalty(self) -> Tensor:
        """λ/N times the expected number of open gates among those in use."""
        counts = [
            ((alpha - self._shift).sigmoid() * self.masks[name]).sum()
            for name, alpha in self._alphas.items()
        ]
        return self._method.penalty / self._prunable * torch.stack(counts).sum()

    def learn(self) -> None:
        """One step for the gates, and new noise."""
        self._steps.step()
        self._draw()

    def settle(self, latent: Mapping[str, Tensor]) -> tuple[Masks, Mapping[str, Tensor]]:
        """Rank by log α; the weights are multiplied by their gates without noise."""
        alphas = {name: alpha.detach() for name, alpha in self._alphas.items()}
        masks = self._method.ranked(self._context, alphas, self._budget)
        weights = {name: weight * _stretched(alphas[name]) for name, weight in latent.items()}
        return masks, weights

    def _draw(self) -> None:
        """Logistic noise for each gate."""
        self._noise = {
            name: torch.logit(torch.rand(alpha.shape, generator=self._generator), eps=1e-6).to(
                alpha
            )
            for name, alpha in self._alphas.items()
        }


class _Scores(ReparametrisedTraining):
    """Weights under the masks of their learned scores."""

    changing = ("_scores", "_kept", "_generator")

    def __init__(self, method: _LearnedScores, context: Context, budget: int) -> None:
        super().__init__(context.model, dict(context.masks), method.until)
        self._method, self._context = method, context
        self._generator = context.generator
        self._scores = {
            name: method.initial(weight).requires_grad_()
            for name, weight in context.weights.items()
        }
        self._budgets = method.budgets(kept(context.masks), budget)
        self._kept = self._ranked(self._budgets[0])

    def start(self, optimizer: Optimizer, steps: int) -> None:
        """Lay the updates out over the time of learning."""
        super().start(optimizer, steps)
        due = spread(len(self._budgets) - 1, self._last)
        self._due = dict(zip(due, self._budgets[1:], strict=True))

    def own(self) -> list[Tensor]:
        """A score for every weight."""
        return list(self._scores.values())

    def effective(self, latent: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """w ⊙ m, in which m passes its gradient on to the scores as if it were them."""
        return {
            name: weight * (self._kept[name] + self._scores[name] - self._scores[name].detach())
            for name, weight in latent.items()
        }

    def learn(self) -> None:
        """One step of gradient descent for the scores, and new masks if it is time to."""
        for score in self._scores.values():
            if score.grad is not None:
                score.sub_(score.grad, alpha=self._method.rate)
        if (budget := self._due.get(self._step + 1)) is not None:
            self._kept = self._ranked(budget)

    def settle(self, latent: Mapping[str, Tensor]) -> tuple[Masks, Mapping[str, Tensor]]:
        """The masks of the moment stay."""
        return self._kept, latent

    def _ranked(self, budget: int) -> Masks:
        scores = {name: score.detach() for name, score in self._scores.items()}
        return self._method.ranked(self._context, scores, budget)


def _stretched(logits: Tensor) -> Tensor:
    """The gate: a sigmoid stretched beyond [0, 1] and cut off there (their equations 10 and 11)."""
    return (logits.sigmoid() * (_HIGH - _LOW) + _LOW).clamp(0, 1)
