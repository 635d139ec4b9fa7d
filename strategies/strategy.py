"""The strategy: what the benchmark asks of a pruning method, of whatever kind it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from ..datasets import Task
from ..hyperparameters import Configured
from ..registry import Registry
from .evidence.context import Context
from .evidence.prunable import Prunable
from .training.sparse_training import SparseTraining


class Capabilities(NamedTuple):
    """What the benchmark has to know of a strategy before it runs.

    Attributes:
        removes: single weights; channels with all that belongs to them, so that the network can be
            made smaller; or nothing, the network being adapted to choose its channels for each
            input.
        training: whether a pruned network trains like any other under masks that stay as they are;
            or by rules of the method's own, so that nothing is pruned without training.
    """

    removes: Literal["weights", "channels", "nothing"] = "weights"
    training: Literal["masked", "own"] = "masked"


@dataclass(frozen=True)
class Strategy(Configured, ABC):
    """A pruning method.

    Most are :class:`.ScoredStrategy`, for which a method is normally one ``score``. Those that go
    through a network layer by layer are :class:`.LayerByLayer`. The fields are hyperparameters;
    they appear in listings, on the command line, in records and in the identity of an experiment.

    Attributes:
        search_space: the values of hyperparameters, their defaults among them, that are tried where
            a method is tuned; those that are not named keep their defaults.
    """

    search_space: ClassVar[Mapping[str, tuple[float, ...]]] = {}

    @property
    def capabilities(self) -> Capabilities:
        """What kind of strategy this is."""
        return Capabilities()

    def check(self, task: Task, model: nn.Module) -> None:
        """Make sure, before anything is trained, that this strategy can prune such a network.

        By default it can.

        Raises:
            UsageError: it cannot; the sentence says why.
        """
        return

    def scorable(self, model: nn.Module, names: Sequence[str]) -> list[str]:
        """Those of the weights ``names`` that this strategy can prune; by default all.

        What is prunable the experiment says, for all strategies alike: one that cannot prune some
        of it is refused before anything is trained.
        """
        return list(names)

    def removable(self, model: nn.Module, prunable: Prunable) -> list[str]:
        """Those of the prunable weights of ``model`` that may go; by default all.

        The others count as no weights of this strategy, as output layers do for methods that remove
        whole units.
        """
        return list(prunable.names)

    @abstractmethod
    def prune(self, context: Context, budget: int) -> SparseTraining:
        """Prune the model of ``context`` to ``budget`` weights, and say how it is to train on.

        Raises:
            UsageError: the method cannot do so.
        """

    def adapt(
        self, model: nn.Module, names: Sequence[str], density: float, generator: torch.Generator
    ) -> nn.Module:
        """The network that is pruned and trained in place of ``model``; by default itself.

        Args:
            model: the trained network, which is not to be changed.
            names: those of its weights that are to be pruned.
            density: fraction of the prunable weights that are to be kept in the end.
            generator: the source of randomness.
        """
        return model

    def smallest_budget(self, weights: Mapping[str, Tensor]) -> int:
        """The fewest of ``weights`` that this strategy can keep."""
        return 1

    def fewest_channels(self, channels: int) -> int:
        """The fewest of a group of channels that stay, where this strategy removes channels."""
        return 1

    def largest_budget(self, weights: Mapping[str, Tensor]) -> int:
        """The most of ``weights`` that this strategy can keep."""
        return sum(weight.numel() for weight in weights.values())


# What torch.nn.utils.prune calls them.
_ELSEWHERE = {
    "l1unstructured": ("GlobalMagnitude", "LayerMagnitude"),
    "globalunstructured": ("GlobalMagnitude",),
    "lnstructured": ("StructuredL1", "StructuredL2", "StructuredLInf"),
    "randomunstructured": ("LayerRandom", "Random"),
    "randomstructured": ("StructuredRandom",),
}

STRATEGIES: Registry[Strategy] = Registry(
    "strategy", "strategies", Strategy, home=__name__, elsewhere=_ELSEWHERE
)
register = STRATEGIES.register
