"""Recoveries: from which weights a pruned network trains on, if it does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Annotated, ClassVar, Protocol

import torch
from pydantic import Field
from torch import Tensor, nn

from ...errors import UsageError
from ...hyperparameters import Configured
from ...registry import Registry

State = Mapping[str, Tensor]


class History(Protocol):
    """The states in which the network has been or could be; each maps names to tensors."""

    def at_epoch(self, epoch: int) -> State:
        """After ``epoch`` epochs of pretraining; 0 is the initialisation."""

    def fresh(self) -> State:
        """A new random initialisation."""

    @property
    def is_last_round(self) -> bool:
        """Whether no more pruning follows."""


@dataclass(frozen=True)
class Recovery(Configured, ABC):
    """What happens between pruning and measuring.

    Attributes:
        trains: whether the network is trained after pruning.
        adapts: whether the network is trained in another form, in which it keeps its masks by
            itself; see :meth:`adapting`.
    """

    trains: ClassVar[bool] = True
    adapts: ClassVar[bool] = False

    @property
    def goes_back(self) -> bool:
        """Whether it sets the weights to what they were once."""
        return False

    @property
    def epochs_needed(self) -> int:
        """How many epochs of pretraining this recovery goes back to at the latest."""
        return 0

    @property
    def draws_weights(self) -> bool:
        """Whether it asks for a new random initialisation."""
        return False

    @property
    def schedule_epoch(self) -> int | None:
        """The epoch to which the pretraining recipe is wound back to train by it once more.

        None, as by default: training follows the fine-tuning recipe.
        """
        return None

    @abstractmethod
    def start(self, history: History) -> State | None:
        """The state from which training goes on, to be masked; None leaves the pruned one."""

    def check(self, model: nn.Module, names: Iterable[str]) -> None:
        """Make sure, before anything is trained, that this recovery is possible; by default it is.

        Args:
            model: the network.
            names: those of its weights that are pruned.

        Raises:
            UsageError: it is not; the sentence says why.
        """
        return

    def adapting(
        self, model: nn.Module, masks: Mapping[str, Tensor], generator: torch.Generator
    ) -> AbstractContextManager[None]:
        """While it lasts, ``model`` has the form in which it is trained; by default its own.

        Args:
            model: the pruned network, which is a plain one again afterwards.
            masks: which of its weights are kept.
            generator: the source of randomness.
        """
        return nullcontext()


RECOVERIES: Registry[Recovery] = Registry("recovery", "recoveries", Recovery, home=__name__)


@RECOVERIES.register
@dataclass(frozen=True)
class FineTune(Recovery):
    """Train on from the weights that are left (Han et al. 2015)."""

    def start(self, history: History) -> State | None:
        """The pruned weights as they are."""
        return None


@RECOVERIES.register
@dataclass(frozen=True)
class Rewind(Recovery):
    """Set the weights that are left back to an epoch of pretraining, then train (Frankle 2019).

    Args:
        epoch: after how many epochs of pretraining; 0 is the initialisation.
    """

    goes_back = True

    epoch: Annotated[int, Field(ge=0)] = 0

    @property
    def epochs_needed(self) -> int:
        """The epoch to which the weights are set back."""
        return self.epoch

    def start(self, history: History) -> State | None:
        """The weights of that epoch."""
        return history.at_epoch(self.epoch)


@RECOVERIES.register
@dataclass(frozen=True)
class RewindLearningRate(FineTune):
    """Keep the weights, but train by the pretraining recipe from an epoch of it (Renda 2020).

    Its learning-rate schedule is wound back; the fine-tuning recipe is not used.

    Args:
        epoch: the epoch of pretraining after which the recipe is taken up; 0 repeats all of it.
    """

    epoch: Annotated[int, Field(ge=0)] = 0

    @property
    def epochs_needed(self) -> int:
        """One more than those that are skipped, since at least one is to be trained."""
        return self.epoch + 1

    @property
    def schedule_epoch(self) -> int:
        """The epoch to which the recipe is wound back."""
        return self.epoch


@RECOVERIES.register
@dataclass(frozen=True)
class Reinitialise(Recovery):
    """Draw the weights that are left anew, then train: what the mask alone is worth."""

    goes_back = True

    @property
    def draws_weights(self) -> bool:
        """True: it starts from a new initialisation."""
        return True

    def start(self, history: History) -> State | None:
        """A new random initialisation."""
        return history.fresh()


@RECOVERIES.register
@dataclass(frozen=True)
class LastRound(Recovery):
    """One recovery after the last round, another one after those before it.

    ``LastRound(last=Reinitialise(), before=Rewind())`` is the control of the lottery ticket
    hypothesis (Frankle & Carbin 2019): the winning ticket's mask with other weights.

    Args:
        last: the recovery after the last round.
        before: the recovery after all earlier rounds.
    """

    last: Recovery = Reinitialise()
    before: Recovery = Rewind()

    def __post_init__(self) -> None:
        for name, part in (("last", self.last), ("before", self.before)):
            if not part.trains or part.schedule_epoch is not None or part.adapts:
                raise UsageError(
                    f"recovery LastRound: {name}: {part} is not allowed: only recoveries that "
                    "train all weights by the fine-tuning recipe are"
                )

    @property
    def epochs_needed(self) -> int:
        """What the more demanding of the two needs."""
        return max(self.last.epochs_needed, self.before.epochs_needed)

    @property
    def goes_back(self) -> bool:
        """Whether one of the two does."""
        return self.last.goes_back or self.before.goes_back

    @property
    def draws_weights(self) -> bool:
        """Whether one of the two does."""
        return self.last.draws_weights or self.before.draws_weights

    def start(self, history: History) -> State | None:
        """What the recovery of this round says."""
        return (self.last if history.is_last_round else self.before).start(history)


@RECOVERIES.register
@dataclass(frozen=True)
class NoRecovery(Recovery):
    """Measure the network as pruning left it, without any training."""

    trains = False

    def start(self, history: History) -> State | None:
        """The pruned weights as they are."""
        return None
