"""How a pruned network trains on: its masks are kept up, tightened, or redrawn while it learns.

The benchmark has one training loop; it calls a :class:`SparseTraining` at three points of each
step. Methods with a life of their own during training are subclasses, and need no loop.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from math import ceil
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..masks import MaskedWeights, Masks


class SparseTraining:
    """Training under masks that stay as they are.

    Attributes:
        changing: names of the attributes that a class adds and changes while it trains: numbers,
            tensors, dictionaries of tensors, generators and optimizers. Checkpoints have them. A
            subclass that does not say which it has gets none, and begins anew when interrupted.
        model: the network that trains.
        masks: parameter name → bool tensor, which weights are kept now. Replaced, never changed.
        skipped: whether the optimizer has left the weights as they were in the step that was taken
            last, as happens in float16: nothing can be learned from its gradients.
        notes: plain data that are written down while the masks change. Checkpoints have them.
    """

    changing: ClassVar[tuple[str, ...]] = ()

    def __init__(self, model: nn.Module, masks: Mapping[str, Tensor]) -> None:
        self.model = model
        self.skipped = False
        self.notes: list[Any] = []
        self._optimizer: Optimizer | None = None
        self._set(masks)

    @property
    def settled(self) -> bool:
        """Whether the masks hold the number of weights that the round is to end with."""
        return True

    def apply(self) -> None:
        """Set the pruned weights to zero."""
        self._masked.apply()

    def start(self, optimizer: Optimizer, steps: int) -> None:
        """Training is about to begin and will take so many steps."""
        self._optimizer = optimizer

    def after_backward(self) -> None:
        """The gradients of a step are there, the optimizer has not used them yet."""

    def counted_gradients(self) -> list[Tensor]:
        """The gradients whose norm is that of the step, after :meth:`after_backward`.

        Those of pruned weights are zero here, since they change nothing, and stay where they are in
        the model, for methods that choose by them which weights come back.
        """
        return [
            weight.grad.where(self.masks[name], 0.0) if name in self.masks else weight.grad
            for name, weight in self.model.named_parameters()
            if weight.grad is not None
        ]

    def after_step(self) -> None:
        """The optimizer has changed the weights."""
        self._masked.apply()

    def restore(self, masks: Mapping[str, Tensor]) -> None:
        """Go back to masks of an earlier epoch, the weights of which have been loaded."""
        self._set(masks)

    @property
    def resumable(self) -> bool:
        """Whether this class and those it is made of say what changes while they train."""
        classes = type(self).__mro__
        return all("changing" in vars(each) for each in classes if issubclass(each, SparseTraining))

    def state(self) -> dict[str, Any]:
        """What a training that is interrupted needs to go on, as tensors and numbers."""
        return {name: _saved(value) for name, value in self._changing().items()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from a :meth:`state`, after :meth:`start`; the weights have been loaded."""
        device = next(self.model.parameters()).device
        for name, value in self._changing().items():
            setattr(self, name, _loaded(value, state[name], device))
        self._set(self.masks)

    def _changing(self) -> dict[str, Any]:
        names = [name for each in type(self).__mro__ for name in vars(each).get("changing", ())]
        return {name: getattr(self, name) for name in ("masks", *names)}

    def _set(self, masks: Mapping[str, Tensor]) -> None:
        self.masks = masks
        self._masked_weights: MaskedWeights | None = None

    @property
    def _masked(self) -> MaskedWeights:
        """The masked weights, made when they are first to be set to zero."""
        if self._masked_weights is None:
            self._masked_weights = MaskedWeights(self.model, self.masks)
        return self._masked_weights

    def _forget(self, fresh: Mapping[str, Tensor]) -> None:
        """Clear what the optimizer remembers of weights that start anew, momentum for one."""
        if self._optimizer is None:
            return
        parameters = dict(self.model.named_parameters())
        for name, returned in fresh.items():
            for remembered in self._optimizer.state.get(parameters[name], {}).values():
                if isinstance(remembered, Tensor) and remembered.shape == returned.shape:
                    remembered.masked_fill_(returned, 0.0)


class GradualTraining(SparseTraining):
    """Training during which the masks are tightened again and again (Zhu & Gupta 2018).

    Args:
        model: the network that trains.
        masks: those with which training begins.
        tighten: gives the masks of pruning number k = 1 … ``prunings`` from those before.
        prunings: how many there are.
        begin: fraction of the training after which pruning begins.
        end: fraction of the training after which the last pruning has been done.
    """

    changing = ("_done", "_step")

    def __init__(
        self,
        model: nn.Module,
        masks: Masks,
        tighten: Callable[[int, Masks], Masks],
        prunings: int,
        begin: float,
        end: float,
    ) -> None:
        super().__init__(model, masks)
        self._tighten = tighten
        self._prunings, self._begin, self._end = prunings, begin, end
        self._done = self._step = 0

    @property
    def settled(self) -> bool:
        """Whether the last pruning has been done."""
        return self._done == self._prunings

    def start(self, optimizer: Optimizer, steps: int) -> None:
        """Lay the prunings out over the training."""
        super().start(optimizer, steps)
        first, last = steps * self._begin, steps * self._end
        self._due = [int(first) + step for step in spread(self._prunings, last - int(first))]

    def after_step(self) -> None:
        """Prune if it is time to, more than once where steps are few."""
        super().after_step()
        self._step += 1
        while not self.settled and self._step >= self._due[self._done]:
            self._done += 1
            self._set(self._tighten(self._done, self.masks))
            self.apply()


class ReparametrisedTraining(SparseTraining, ABC):
    """Training of weights that are computed from latent ones, until the masks are settled.

    The model holds the computed weights whenever it runs, and the latent ones whenever the
    optimizer steps; so that any module and any optimizer will do, and the model stays a plain
    model. Gradients go through :meth:`effective` by autograd.

    Args:
        model: the network that trains.
        masks: weights that may be used at all; the others stay zero. So while masks are learned the
            gradients of all latent weights count that may be used.
        until: fraction of the training after which :meth:`settle` fixes the masks for good.
    """

    changing: ClassVar[tuple[str, ...]] = ("_step", "_learning", "_latent")

    def __init__(self, model: nn.Module, masks: Masks, until: float) -> None:
        super().__init__(model, masks)
        self._until = until
        self._step, self._learning = 0, True

    @abstractmethod
    def effective(self, latent: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights with which the model runs, differentiable in ``latent`` and :meth:`own`."""

    @abstractmethod
    def settle(self, latent: Mapping[str, Tensor]) -> tuple[Masks, Mapping[str, Tensor]]:
        """The masks for the rest of the training, and the weights from which it goes on."""

    def own(self) -> list[Tensor]:
        """Tensors that are learned beside the latent weights.

        Their ``grad`` is set each step; None says that it was skipped.
        """
        return []

    def penalty(self) -> Tensor | None:
        """A scalar of :meth:`own` that is to become small, added to the loss."""
        return None

    def learn(self) -> None:
        """Change :meth:`own` by its gradients, after each step of the optimizer."""

    @property
    def settled(self) -> bool:
        """Whether the learning of masks has ended."""
        return not self._learning

    def start(self, optimizer: Optimizer, steps: int) -> None:
        """Take the model's weights as the latent ones."""
        super().start(optimizer, steps)
        self._last = min(max(1, ceil(steps * self._until)), steps)
        self._weights = {
            name: parameter
            for name, parameter in self.model.named_parameters()
            if name in self.masks
        }
        self._latent = {name: w.detach().clone() for name, w in self._weights.items()}
        self._run_on(self._computed())

    def after_backward(self) -> None:
        """Turn the gradients of the model's weights into those of the latent ones."""
        if not self._learning:
            return
        gradients = [
            torch.zeros_like(w) if w.grad is None else w.grad for w in self._weights.values()
        ]
        latent = {name: w.requires_grad_() for name, w in self._latent.items()}
        inputs = [*latent.values(), *self.own()]
        with torch.enable_grad():
            outputs = list(self.effective(latent).values())
            if (penalty := self.penalty()) is not None:
                outputs, gradients = [*outputs, penalty], [*gradients, torch.ones_like(penalty)]
        through = torch.autograd.grad(outputs, inputs, gradients, materialize_grads=True)
        with torch.no_grad():
            for (name, weight), gradient in zip(self._weights.items(), through, strict=False):
                weight.copy_(latent[name].requires_grad_(False))
                weight.grad = gradient
        for tensor, gradient in zip(self.own(), through[len(latent) :], strict=True):
            tensor.grad = gradient

    @torch.no_grad()
    def after_step(self) -> None:
        """Take the latent weights back from the optimizer, and compute the next ones."""
        if not self._learning:
            super().after_step()
            return
        for name, weight in self._weights.items():
            self._latent[name].copy_(weight)
        if self.skipped:
            for tensor in self.own():
                tensor.grad = None
        self.learn()
        self._step += 1
        if self._step == self._last:
            self._learning = False
            masks, weights = self.settle(self._latent)
            self._run_on(weights)
            self._set(masks)
            self.apply()
            self._latent = {}
        else:
            self._run_on(self._computed())

    @torch.no_grad()
    def _computed(self) -> dict[str, Tensor]:
        return self.effective(self._latent)

    @torch.no_grad()
    def _run_on(self, weights: Mapping[str, Tensor]) -> None:
        for name, weight in weights.items():
            self._weights[name].copy_(weight)


def spread(count: int, end: float) -> list[int]:
    """``count`` steps at equal intervals, up to ``end``; some coincide where steps are few."""
    return [max(1, int(end * number / count)) for number in range(1, count + 1)]


def _saved(value: Any) -> Any:
    if isinstance(value, torch.Generator):
        return value.get_state()
    if isinstance(value, Mapping):
        return dict(value)  # of masks that are packed too: checkpoints know no class of ours
    return value.state_dict() if isinstance(value, Optimizer) else value


def _loaded(value: Any, saved: Any, device: torch.device) -> Any:
    """``value`` as it was when it was saved; what others hold on to is changed in place."""
    if isinstance(value, torch.Generator):
        return value.set_state(saved)
    if isinstance(value, Optimizer):
        value.load_state_dict(saved)
        return value
    if isinstance(value, Mapping):
        return {name: _loaded(value.get(name), each, device) for name, each in saved.items()}
    if isinstance(value, Tensor) and value.requires_grad:
        with torch.no_grad():
            return value.copy_(saved)  # a parameter, which an optimizer may have
    return saved.to(device) if isinstance(saved, Tensor) else saved


def straight_through(weight: Tensor, mask: Tensor) -> Tensor:
    """w ⊙ m in value, and w in gradient: what is not kept learns as if it were (Bengio 2013)."""
    return weight * mask + (weight - weight.detach()) * ~mask
