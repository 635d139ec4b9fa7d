"""Networks of one shape that train together: each operation is called once for all of them.

Where calls cost more than what they compute, as with small networks on a GPU or small perceptrons
on a CPU, that is several times as fast. Sums are added up in another order, so that results agree
with those of separate trainings up to rounding, which training magnifies like any other noise.
"""

from __future__ import annotations

import copy
import hashlib
import pickle
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from ...datasets import Batch
from ...devices import finish
from ...seeding import generator, seeded
from ...strategies import GradualTraining, SparseTraining
from . import distributed
from .epochs import EpochDone, Training, TrainingSteps, batches_of_epoch, clip_gradients
from .interrupts import raise_interrupt
from .optimisation import WeightAverage, make_optimizer, make_scheduler
from .progress import advance
from .training import BestEpoch, Trained, train

WORTHWHILE = 1.3
"""How many times as fast as one after the other networks must train together to do so."""

_STEPS_TIMED = 4

_speedups: dict[Hashable, float] = {}


def train_all(trainings: Sequence[Training]) -> list[Trained | BaseException]:
    """Do trainings, those together that are alike where that is :data:`WORTHWHILE`.

    Returns:
        Of each what it leaves, or what ended it.
    """
    groups: dict[Hashable, list[int]] = {}
    for number, training in enumerate(trainings):
        groups.setdefault(_kind(training) or number, []).append(number)
    done: dict[int, Trained | BaseException] = {}
    for kind, numbers in groups.items():
        alike = [trainings[number] for number in numbers]
        if len(alike) > 1 and _speedup(kind, alike) >= WORTHWHILE:
            found = _outcomes(train_together, alike)
        else:
            found = [_outcomes(_train_alone, [each])[0] for each in alike]
        done |= zip(numbers, found, strict=True)
    return [done[number] for number in range(len(trainings))]


def _outcomes(
    way: Callable[[Sequence[Training]], list[Trained]], trainings: Sequence[Training]
) -> Sequence[Trained | BaseException]:
    try:
        return way(trainings)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a user's code may raise anything, SystemExit too
        raise_interrupt()
        return [error] * len(trainings)


def _train_alone(trainings: Sequence[Training]) -> list[Trained]:
    return [train(each) for each in trainings]


def train_together(trainings: Sequence[Training]) -> list[Trained]:
    """Train networks of one shape at once, as :func:`train` does each of them.

    Nothing of it is checkpointed.

    Args:
        trainings: of one kind: with the same task, recipe, purpose and first epoch.
    """
    start = time.perf_counter()
    _, task, recipe, purpose, _, first_epoch, _ = trainings[0]
    best = [BestEpoch(each) for each in trainings]
    with _Stack(trainings) as stack:
        for epoch in range(first_epoch, recipe.epochs + 1):
            order = generator(purpose.seed, purpose.name, "order", epoch)
            # Networks that draw train alone; batches may.
            with seeded(purpose.seed, purpose.name, "noise", epoch, device=task.device):
                for batch in batches_of_epoch(task, recipe.batch_size, order):
                    stack.step(batch)
                    advance(len(trainings) / task.steps(recipe.batch_size))
            with stack.averaged():
                for each, loss in zip(best, stack.mean_losses(), strict=True):
                    each.look(EpochDone(epoch, loss))
    seconds = (time.perf_counter() - start) / len(trainings)
    return [each.taken(seconds, len(trainings)) for each in best]


def _kind(training: Training) -> Hashable:
    """What trainings that can be done together have in common; None where one cannot."""
    recipe, sparsity, checkpoint = training.recipe, training.sparsity, training.checkpoint
    if (
        recipe.epochs == 0
        or recipe.accumulation > 1
        or recipe.compiled
        or recipe.penalty is not None
        or recipe.precision == "float16"
        or (sparsity is not None and type(sparsity) not in (SparseTraining, GradualTraining))
        or (checkpoint is not None and checkpoint.exists())
        or distributed.world_size() > 1
    ):
        return None
    attributes = _attributes(training.model)
    if attributes is None:
        return None
    tensors = training.model.state_dict(keep_vars=True).items()
    return (
        id(training.task),
        recipe.model_dump_json(),
        training.purpose,
        training.first_epoch,
        repr(training.model),
        attributes,
        tuple((name, each.shape, each.dtype, each.requires_grad) for name, each in tensors),
    )


def _attributes(model: nn.Module) -> bytes | None:
    """A digest of what modules have beside tensors and each other; None where there is none.

    The number of channels that a gate opens, for one, stands in no name and no shape.
    """
    compared = {"_parameters", "_buffers", "_modules", "training"}
    own = [
        {name: value for name, value in vars(module).items() if name not in compared}
        for module in model.modules()
    ]
    try:
        return hashlib.sha256(pickle.dumps(own)).digest()
    except Exception:  # whatever a user's network has
        return None


def _speedup(kind: Hashable, trainings: Sequence[Training]) -> float:
    """How many times as fast as one after the other these networks take steps together here.

    Timed once for each kind and number in a process, on copies. 0 where they cannot: where a
    network draws random numbers, for one, since each has to draw its own.
    """
    key = (kind, len(trainings), next(trainings[0].model.parameters()).device)
    if key not in _speedups:
        _speedups[key] = _measured_speedup(trainings)
    return _speedups[key]


def _measured_speedup(trainings: Sequence[Training]) -> float:
    task, recipe = trainings[0].task, trainings[0].recipe
    copies = [each._replace(model=copy.deepcopy(each.model), sparsity=None) for each in trainings]
    batch = next(iter(task.training_batches(recipe.batch_size, generator(0, "timing"))))
    try:
        with _Stack(copies) as stack:
            together = _seconds(lambda: stack.step(batch), task.device)
    except Exception:  # whatever a user's network does that torch.func cannot do
        return 0.0
    alone = [TrainingSteps(each, 0) for each in copies]

    def one_after_the_other() -> None:
        for each in alone:
            each.step(batch)

    return _seconds(one_after_the_other, task.device) / together


def _seconds(step: Callable[[], object], device: torch.device) -> float:
    """The least time of a step, of some after the first one."""
    times = []
    for _ in range(1 + _STEPS_TIMED):
        start = time.perf_counter()
        step()
        finish(device)
        times.append(time.perf_counter() - start)
    return min(times[1:])


class _Stack:
    """Networks of one shape, whose parameters and buffers are slices of common tensors meanwhile.

    Each stays a plain model: what masks, clips, averages or measures it knows of no other. When
    the ``with`` block ends, each has tensors of its own again.
    """

    def __init__(self, trainings: Sequence[Training]) -> None:
        first = trainings[0]
        self._task, self._recipe = first.task, first.recipe
        self._models = [each.model for each in trainings]
        self._sparsities = [each.sparsity for each in trainings]
        self._masked = [each for each in self._sparsities if each is not None]
        self._skeleton = _Skeleton(first.model)
        self._parameters = _joined([dict(each.named_parameters()) for each in self._models])
        self._buffers = _joined([dict(each.named_buffers()) for each in self._models])
        self._optimizer = make_optimizer(self._parameters.values(), self._recipe)
        steps, before = self._task.steps(self._recipe.batch_size), first.first_epoch - 1
        self._scheduler = make_scheduler(self._optimizer, self._recipe, steps, before * steps)
        for sparsity in self._masked:
            sparsity.restore(sparsity.masks)
            sparsity.start(self._optimizer, (self._recipe.epochs - before) * steps)
        self._averages = []
        if (decay := self._recipe.weight_averaging) is not None:
            self._averages = [WeightAverage(model, decay) for model in self._models]
        self._losses = torch.zeros(len(trainings), device=self._task.device)
        self._examples = 0

    def __enter__(self) -> _Stack:
        return self

    def __exit__(self, *error: object) -> None:
        for model in self._models:
            for tensor in (*model.parameters(), *model.buffers()):
                tensor.data = tensor.detach().clone()
        for sparsity in self._masked:
            sparsity.restore(sparsity.masks)

    def step(self, batch: Batch) -> None:
        """Change the weights of all networks once, by the same examples."""
        self._optimizer.zero_grad()
        losses = vmap(self._loss(batch), randomness="error")(self._parameters, self._buffers)
        losses.sum().backward()
        if self._recipe.gradient_clipping is not None:
            self._clip(self._recipe.gradient_clipping)
        self._optimizer.step()
        for sparsity in self._masked:
            sparsity.after_step()
        for average in self._averages:
            average.update()
        if self._scheduler is not None:
            self._scheduler.step()
        examples = self._task.examples(batch)
        self._losses.add_(losses.detach(), alpha=examples)
        self._examples += examples

    def mean_losses(self) -> list[float]:
        """Of each network the mean of what was minimised since this was asked last."""
        means: list[float] = (self._losses / self._examples).tolist()
        self._losses.zero_()
        self._examples = 0
        return means

    def averaged(self) -> AbstractContextManager[object]:
        """Within it the networks have their averaged weights, where the recipe averages them."""
        stack = ExitStack()
        for average in self._averages:
            stack.enter_context(average.in_place())
        return stack

    def _loss(self, batch: Batch) -> Callable[[Any, Any], Tensor]:
        recipe, skeleton = self._recipe, self._skeleton
        precision = getattr(torch, recipe.precision)
        half = torch.autocast(self._task.device.type, precision, enabled=precision != torch.float32)

        def loss(parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor]) -> Tensor:
            skeleton.tensors = parameters, buffers
            with half:
                if recipe.label_smoothing:
                    return self._task.smoothed_loss(skeleton, batch, recipe.label_smoothing)
                return self._task.loss(skeleton, batch)

        return loss

    def _clip(self, most: float) -> None:
        for number, model in enumerate(self._models):
            for name, parameter in model.named_parameters():
                gradient = self._parameters[name].grad
                parameter.grad = None if gradient is None else gradient[number]
        for model, sparsity in zip(self._models, self._sparsities, strict=True):
            clip_gradients(model, sparsity, most)


class _Skeleton(nn.Module):
    """A network that runs with tensors that it is given in the place of its own."""

    tensors: Any

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._network = copy.deepcopy(model).train()

    def forward(self, *inputs: Any) -> Any:
        return functional_call(self._network, self.tensors, inputs)


def _joined(networks: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """A tensor of each name for all networks, of which those that there were are slices now."""
    joined = {}
    for name, first in networks[0].items():
        own = [network[name] for network in networks]
        slices = [each.detach() for each in own]
        if first.ndim == 4 and first.is_contiguous(memory_format=torch.channels_last):
            stack = torch.stack([each.permute(0, 2, 3, 1) for each in slices])
            stack = stack.permute(0, 1, 4, 2, 3)
        else:
            stack = torch.stack(slices)
        for tensor, part in zip(own, stack, strict=True):
            tensor.data = part
        joined[name] = stack.requires_grad_(first.requires_grad)
    return joined
