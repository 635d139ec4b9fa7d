"""What a recipe makes of gradients: optimizer, learning rate, and the average of weights."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    CosineAnnealingLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
)

from ..recipe import Recipe

_OPTIMIZERS: dict[str, Any] = {
    "SGD": torch.optim.SGD,
    "Adam": torch.optim.Adam,
    "AdamW": torch.optim.AdamW,
}


def make_optimizer(parameters: Iterable[Tensor], recipe: Recipe) -> Optimizer:
    """The recipe's optimizer of those parameters that are trained."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    settings = {
        "lr": recipe.learning_rate,
        "weight_decay": recipe.weight_decay,
        "fused": all(each.is_floating_point() for each in trained),  # complex ones cannot be
    }
    if recipe.optimizer == "SGD":
        settings |= {"momentum": recipe.momentum, "nesterov": recipe.nesterov}
    optimizer: Optimizer = _OPTIMIZERS[recipe.optimizer](trained, **settings)
    if recipe.momentum:
        for parameter in trained:
            # torch fills these only in a step of all parameters at once, which must not be skipped,
            # with the gradient: what is added to -0 stays what it is to the bit.
            optimizer.state[parameter]["momentum_buffer"] = torch.full_like(parameter, -0.0)
    return optimizer


def make_scheduler(
    optimizer: Optimizer, recipe: Recipe, steps_in_epoch: int, done: int
) -> LRScheduler | None:
    """The recipe's schedule of the learning rate, of which so many steps are ``done``."""
    steps = recipe.epochs * steps_in_epoch
    schedulers: list[LRScheduler] = []
    if recipe.learning_rate_schedule == "cosine":
        schedulers.append(CosineAnnealingLR(optimizer, T_max=steps))
    elif recipe.learning_rate_schedule == "linear":
        schedulers.append(LinearLR(optimizer, 1.0, 0.0, total_iters=steps))
    elif recipe.learning_rate_schedule == "step":
        drops = [round(steps * fraction) for fraction in recipe.learning_rate_drops]
        schedulers.append(MultiStepLR(optimizer, milestones=drops, gamma=0.1))
    if warmup := round(recipe.warmup_epochs * steps_in_epoch):
        schedulers.append(LinearLR(optimizer, 1 / (warmup + 1), 1.0, total_iters=warmup))
    if not schedulers:
        return None
    scheduler = ChainedScheduler(schedulers, optimizer) if schedulers[1:] else schedulers[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that no step of the optimizer lies between these
        for _ in range(done):
            scheduler.step()
    return scheduler


class WeightAverage:
    """The exponential moving average of a network's parameters (Polyak & Juditsky 1992).

    Buffers, such as the statistics of batch normalisation, stay those of the network itself. What
    a step adds is too little for half precision, so that averages are kept in float32 at least.

    Args:
        model: the network, whose weights now are the first of the average.
        decay: the share of the average so far in the next one.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._weights = [parameter.data for parameter in model.parameters()]
        self._decay = decay
        self.average = [
            weight.to(torch.promote_types(weight.dtype, torch.float32), copy=True)
            for weight in self._weights
        ]

    def update(self) -> None:
        """Take the weights as they are now into the average."""
        pairs = zip(self._weights, self.average, strict=True)
        weights = [weight.to(average.dtype) for weight, average in pairs]
        torch._foreach_lerp_(self.average, weights, 1 - self._decay)

    def restore(self, average: list[Tensor]) -> None:
        """Go on from an average that was saved."""
        _copy(average, self.average)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """While it lasts, the network has the averages for weights."""
        own = [weight.clone() for weight in self._weights]
        _copy(self.average, self._weights)
        try:
            yield
        finally:
            _copy(own, self._weights)


def _copy(sources: list[Tensor], targets: list[Tensor]) -> None:
    torch._foreach_copy_(targets, sources)
