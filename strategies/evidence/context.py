"""What a score may look at: the model, the task, the masks so far, gradients, random numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ...datasets import Batch, Task
from ..channels.coupling import Coupling
from .derivatives import gradients
from .examples import Pass, noted
from .scorings import Scores, SharedScoring

T = TypeVar("T")
Way = Callable[[Sequence[Batch]], None]
_PASSES = "passes over scoring batches"


@dataclass(frozen=True)
class Context:
    """A model about to be pruned, and all that a strategy may base its scores on.

    Attributes:
        model: the model with its present weights, those already pruned being zero.
        task: batches and loss of what is looked at, which the experiment may choose apart from what
            the network learns; only the training split may be used.
        masks: parameter name → bool tensor, False where a weight has been pruned already. Their
            names are those of the prunable weights.
        outputs: names of the output layers' weights (the classifier's), prunable or not.
        generator: the source of all randomness in scores.
        cost: where whole channels go, what those cost that stay, in units of the budget: of the
            channels, and of whether each stays. None is the number of prunable weights.
        scoring: scores that others have of the same network too, if there are any.
        fixed: scoring batches by their number and size, where they are to be the same again and
            again; None draws others each time.
        way: sends such batches to the layers in ``masks`` on a shorter way than through the whole
            network, if there is one.
    """

    model: nn.Module
    task: Task
    masks: Mapping[str, Tensor]
    outputs: Sequence[str]
    generator: torch.Generator
    cost: Callable[[Coupling, Tensor], float] | None = None
    scoring: SharedScoring | None = None
    fixed: dict[tuple[int, int], list[Batch]] | None = None
    way: Way | None = None
    _memory: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @cached_property
    def weights(self) -> dict[str, Tensor]:
        """The prunable weights by parameter name, detached, not to be changed."""
        parameters = dict(self.model.named_parameters())
        return {name: parameters[name].detach() for name in self.masks}

    def batches(self, count: int, size: int) -> Iterator[Batch]:
        """``count`` batches of ``size`` random training examples, from the start again if short."""
        drawn = noted(self._drawn(count, size), self.passes)
        if self.fixed is None:
            return drawn
        if (count, size) not in self.fixed:
            self.fixed[count, size] = list(drawn)
        return iter(self.fixed[count, size])

    def send(self, count: int, size: int) -> None:
        """Send scoring batches forward, for hooks of the layers in ``masks`` to see."""
        batches = self.batches(count, size)
        if self.way is not None and self.fixed is not None:
            self.way(self.fixed[count, size])
        else:
            for batch in batches:
                self.task.loss(self.model, batch)

    @property
    def passes(self) -> list[Pass]:
        """The passes over scoring batches so far; where scores were made before, those of then."""
        return self.remember(_PASSES, list)

    def layers(self, ways: Mapping[str, Way | None]) -> Iterator[Context]:
        """A context for each of these layers alone, with the same scoring batches for all."""
        fixed: dict[tuple[int, int], list[Batch]] = {}
        for name, way in ways.items():
            masks = {name: self.masks[name]}
            layer = replace(self, masks=masks, scoring=None, fixed=fixed, way=way)
            layer._memory[_PASSES] = self.passes
            yield layer

    def with_masks(self, masks: Mapping[str, Tensor]) -> Context:
        """The same with other masks, and with all that is remembered."""
        other = replace(self, masks=masks)
        other._memory.update(self._memory)
        return other

    def _drawn(self, count: int, size: int) -> Iterator[Batch]:
        remaining = count
        while remaining > 0:
            for batch in self.task.batches("train", size, self.generator):
                yield batch
                remaining -= 1
                if remaining == 0:
                    return

    def gradients(self, batches: int, batch_size: int) -> dict[str, Tensor]:
        """∂L/∂w for each prunable weight, the loss L averaged over the scoring batches.

        Taken in evaluation mode: dropout is off and normalisation statistics stay as they are.
        The parameters' ``grad`` is not touched. See :mod:`.derivatives` for other losses and modes.
        """
        chosen, task = self.batches(batches, batch_size), self.task
        return gradients(self.model, self.masks, chosen, task.loss, task.examples)

    def scored(self, score: Callable[[Context], Scores]) -> Scores:
        """The scores that ``score`` gives of this, made now or before."""
        if self.scoring is None:
            return score(self)
        return self.scoring.scores(lambda: score(self), self._memory, self.generator)

    def remember(self, key: str, make: Callable[[], T]) -> T:
        """What ``make`` gave when it was first called under ``key``, for as long as this lives.

        For what is dear and wanted twice, by scores and by :meth:`Strategy.update`.
        """
        if key not in self._memory:
            self._memory[key] = make()
        made: T = self._memory[key]
        return made
