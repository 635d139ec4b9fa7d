"""The conformance kit: the rules that every strategy keeps, and how one is caught breaking them.

Each check runs a strategy on small seeded networks in which a certain mistake shows, and says in
words what is wrong. Our own strategies pass all checks; ``prunebench check`` runs them on anybody's.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..datasets import Batch, Split, Task
from ..seeding import generator, seeded
from ..strategies import (
    Context,
    Global,
    MaskedWeights,
    Masks,
    Strategy,
    full_masks,
    kept,
    output_weight,
)

_INPUTS, _CLASSES, _HIDDEN = 36, 4, 24
_DENSITIES = (0.5, 0.2, 0.05)


@dataclass(frozen=True)
class Check:
    """A rule, and the function that finds where a strategy breaks it.

    Attributes:
        rule: what a strategy does, as the end of a sentence that begins with its name.
        find: gives a sentence for each violation.
    """

    rule: str
    find: Callable[[Strategy], Iterator[str]]

    def violations(self, strategy: Strategy) -> list[str]:
        """What ``strategy`` does against the rule; empty if it keeps it."""
        try:
            return list(self.find(strategy))
        except Exception as error:  # whatever a user's code raises is a finding, not our failure
            return [f"raises {type(error).__name__}: {error}"]


def _fits_the_weights(strategy: Strategy) -> Iterator[str]:
    for title, model in _networks().items():
        context = _context(strategy, model)
        scores = strategy.score(context)
        if set(scores) != set(context.weights):
            names = ", ".join(sorted(set(scores) ^ set(context.weights)))
            yield f"{title}: score() must have the names of context.weights; it differs in {names}"
            continue
        for name, weight in context.weights.items():
            if scores[name].shape != weight.shape:
                wrong, right = tuple(scores[name].shape), tuple(weight.shape)
                yield f"{title}: the score of {name} has shape {wrong}, its weight {right}"
            elif scores[name].isnan().any():
                yield f"{title}: the score of {name} contains NaN"
        for name, mask in _masks(strategy, model, 0.5).items():
            weight = context.weights[name]
            if mask.dtype != torch.bool or mask.shape != weight.shape:
                yield (
                    f"{title}: the mask of {name} must be bool of shape {tuple(weight.shape)}; "
                    f"it is {mask.dtype} of shape {tuple(mask.shape)}"
                )


def _keeps_the_budget(strategy: Strategy) -> Iterator[str]:
    for title, model in _networks().items():
        for density in _DENSITIES:
            yield from _wrong_count(strategy, model, density, f"{title} at density {density}")


def _keeps_the_budget_on_ties(strategy: Strategy) -> Iterator[str]:
    for title, value in (("all weights equal", 0.5), ("all weights zero", 0.0)):
        model = _perceptron()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(value)
        for density in _DENSITIES:
            yield from _wrong_count(strategy, model, density, f"{title}, density {density}")


def _keeps_everything_or_next_to_nothing(strategy: Strategy) -> Iterator[str]:
    for title, model in _networks().items():
        weights = _context(strategy, model).weights
        every = sum(weight.numel() for weight in weights.values())
        if kept(_masks(strategy, model, 1.0)) != every:
            yield f"{title}: prunes although all {every} weights are to be kept"
        fewest = strategy.smallest_budget(weights)
        yield from _wrong_count(strategy, model, fewest / every, f"{title}, {fewest} to be kept")


def _gives_nothing_back(strategy: Strategy) -> Iterator[str]:
    for title, model in _networks().items():
        for first, second in ((0.5, 0.2), (0.2, 0.5)):
            masks = _masks(strategy, model, first)
            MaskedWeights(model, masks).apply()
            later = _masks(strategy, model, second, masks)
            back = sum(int((later[name] & ~mask).sum()) for name, mask in masks.items())
            if back:
                yield (
                    f"{title}: pruned to density {first} and then to {second}, {back} weights "
                    "that were pruned are kept again; leave what context.masks has pruned"
                )


def _stays_zero_in_training(strategy: Strategy) -> Iterator[str]:
    for title, model in _networks().items():
        first = _masks(strategy, model, 0.5)
        _train(model, first)
        _train(model, _masks(strategy, model, 0.25, first))
        weights = dict(model.named_parameters())
        alive = sum(int(weights[name][~mask].count_nonzero()) for name, mask in first.items())
        if alive:
            yield f"{title}: {alive} weights pruned in the first round are not zero in the end"


def _repeats_itself(strategy: Strategy) -> Iterator[str]:
    for title, model in _networks().items():
        masks = []
        for state in (1, 2):
            _seed_all(state)
            masks.append(_masks(strategy, copy.deepcopy(model), 0.3))
        if not _equal(*masks):
            yield f"{title}: two runs differ; draw random numbers from context.generator only"


def _leaves_no_trace(strategy: Strategy) -> Iterator[str]:
    for title, model in _networks().items():
        model.train()
        next(model.children()).eval()
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        before = _observed(model)
        _masks(strategy, model, 0.3)
        after = _observed(model)
        changed = [name for name in before if not _same(before[name], after[name])]
        if changed:
            yield f"{title}: scoring changes {', '.join(changed)}"


def _ignores_the_sign_of_units(strategy: Strategy) -> Iterator[str]:
    model = _perceptron()
    mirrored = copy.deepcopy(model)
    flipped = slice(0, _HIDDEN, 2)
    with torch.no_grad():  # tanh is odd: the network computes the same function
        for parameter in (mirrored.first.weight, mirrored.first.bias):
            parameter[flipped] *= -1
        mirrored.last.weight[:, flipped] *= -1
    one, other = _masks(strategy, model, 0.3), _masks(strategy, mirrored, 0.3)
    differing = sum(int((mask != other[name]).sum()) for name, mask in one.items())
    if differing > 0.05 * sum(mask.numel() for mask in one.values()):
        yield (
            f"turning the sign of hidden units, which changes nothing that the network computes, "
            f"changes {differing} entries of the masks; is an absolute value missing?"
        )


def _prunes_the_useless_first(strategy: Strategy) -> Iterator[str]:
    model = _perceptron()
    useless = slice(0, _HIDDEN // 2)
    with torch.no_grad():
        model.first.weight[useless] *= 1e-3
        model.first.bias[useless] = 0
        model.last.weight[:, useless] *= 1e-3
    masks = _masks(strategy, model, 0.5)
    parts = []
    if "first.weight" in masks:
        parts.append(masks["first.weight"][useless].flatten())
    if "last.weight" in masks:
        parts.append(masks["last.weight"][:, useless].flatten())
    share = torch.cat(parts).float().mean().item()
    if share > 0.75:
        yield (
            f"half of the weights are to be kept, and {share:.0%} of those are that hardly touch "
            "the output; does score() give low values to what matters?"
        )


CHECKS = (
    Check("scores and masks fit the weights", _fits_the_weights),
    Check("keeps exactly the budget", _keeps_the_budget),
    Check("keeps exactly the budget where scores tie", _keeps_the_budget_on_ties),
    Check("copes with extreme budgets", _keeps_everything_or_next_to_nothing),
    Check("never gives back what was pruned", _gives_nothing_back),
    Check("pruned weights stay zero through training", _stays_zero_in_training),
    Check("the same seed gives the same masks", _repeats_itself),
    Check("scoring leaves model and random state as they were", _leaves_no_trace),
    Check("does not depend on the sign of a weight", _ignores_the_sign_of_units),
    Check("prunes what is useless before what matters", _prunes_the_useless_first),
)
"""All checks, in the order in which they make sense to read."""


class _Synthetic(Task):
    """Random inputs whose class is decided by a random linear function: enough for gradients."""

    input_shape = (_INPUTS,)
    classes = _CLASSES
    quality = "Accuracy"

    def __init__(self, examples: int = 256) -> None:
        rng = generator(0, "conformance")
        self._inputs = torch.randn(examples, _INPUTS, generator=rng)
        self._labels = (self._inputs @ torch.randn(_INPUTS, _CLASSES, generator=rng)).argmax(1)

    def size(self, split: Split) -> int:
        return len(self._labels)

    def batches(
        self, split: Split, batch_size: int, generator: torch.Generator | None = None
    ) -> Iterator[Batch]:
        order = torch.arange(len(self._labels))
        if generator is not None:
            order = torch.randperm(len(order), generator=generator)
        for index in order.split(batch_size):
            yield self._inputs[index], self._labels[index]

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        return F.cross_entropy(model(batch[0]), batch[1])

    def inputs(self, batch_size: int) -> Tensor:
        return self._inputs[torch.arange(batch_size) % len(self._inputs)]


class _Perceptron(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(_INPUTS, _HIDDEN)
        self.last = nn.Linear(_HIDDEN, _CLASSES)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.last(torch.tanh(self.first(inputs)))


class _Convolutional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 6, 3)
        self.norm = nn.BatchNorm2d(6)
        self.second = nn.Conv2d(6, 8, 3)
        self.dropout = nn.Dropout(0.5)
        self.last = nn.Linear(32, _CLASSES)

    def forward(self, inputs: Tensor) -> Tensor:
        x = F.relu(self.norm(self.first(inputs.view(-1, 1, 6, 6))))
        return self.last(self.dropout(F.relu(self.second(x)).flatten(1)))


class _Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(_INPUTS, _INPUTS)
        self.again = nn.Linear(_INPUTS, _INPUTS)
        self.again.weight = self.first.weight
        self.last = nn.Linear(_INPUTS, _CLASSES)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.last(torch.tanh(self.again(torch.tanh(self.first(inputs)))))


class _Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(6, 8, batch_first=True)
        self.last = nn.Linear(8, _CLASSES)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs, _ = self.lstm(inputs.view(-1, 6, 6))
        return self.last(outputs[:, -1])


class _PartlyZero(_Perceptron):
    """A perceptron of which one layer is all zeros already."""

    def __init__(self) -> None:
        super().__init__()
        nn.init.zeros_(self.first.weight)


def _networks() -> dict[str, nn.Module]:
    """Fresh networks, the same ones at each call, under the names used in findings."""
    kinds = {
        "perceptron": _Perceptron,
        "convolutional network with batch normalisation": _Convolutional,
        "network with tied weights": _Tied,
        "LSTM": _Recurrent,
        "network with an all-zero layer": _PartlyZero,
    }
    with seeded(0, "conformance"):
        return {title: kind() for title, kind in kinds.items()}


def _perceptron() -> _Perceptron:
    with seeded(0, "conformance"):
        return _Perceptron()


def _context(
    strategy: Strategy, model: nn.Module, masks: Mapping[str, Tensor] | None = None
) -> Context:
    weights = dict(model.named_parameters())
    if masks is None:
        masks = full_masks({name: weights[name] for name in strategy.prunable(model)})
    return Context(
        model=model,
        task=_Synthetic(),
        masks=masks,
        output=output_weight(model),
        generator=generator(0, "conformance", "scoring"),
    )


def _masks(
    strategy: Strategy,
    model: nn.Module,
    density: float,
    before: Mapping[str, Tensor] | None = None,
) -> Masks:
    context = _context(strategy, model, before)
    total = sum(mask.numel() for mask in context.masks.values())
    return strategy.masks(context, round(density * total))


def _wrong_count(strategy: Strategy, model: nn.Module, density: float, where: str) -> Iterator[str]:
    """A sentence if more or fewer weights are kept than the density says.

    Exactly so many where single weights are ranked together; where layers are rounded one by one
    or whole units are removed, one unit in each layer is what rounding can amount to.
    """
    masks = _masks(strategy, model, density)
    units = [strategy.structure.units(mask).shape[1] for mask in masks.values()]
    exact = isinstance(strategy.allocation, Global) and set(units) == {1}
    tolerance = 0 if exact else sum(units)
    budget = round(density * sum(mask.numel() for mask in masks.values()))
    if abs(kept(masks) - budget) > tolerance:
        yield f"{where}: keeps {kept(masks)} weights, {budget} are to be kept"


def _train(model: nn.Module, masks: Masks, steps: int = 4) -> None:
    """A few steps with momentum and weight decay, as the loop takes them."""
    masked = MaskedWeights(model, masks)
    masked.apply()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    task = _Synthetic()
    model.train()
    with seeded(0, "conformance", "training"):
        for batch, _ in zip(task.batches("train", 64), range(steps), strict=False):
            optimizer.zero_grad()
            task.loss(model, batch).backward()
            optimizer.step()
            masked.apply()


def _observed(model: nn.Module) -> dict[str, object]:
    """All that scoring must not change, under the names used in findings."""
    return {
        "parameters": [parameter.detach().clone() for parameter in model.parameters()],
        "buffers such as normalisation statistics": [b.clone() for b in model.buffers()],
        "gradients": [p.grad.clone() for p in model.parameters() if p.grad is not None],
        "training or evaluation mode": [module.training for module in model.modules()],
        "requires_grad": [parameter.requires_grad for parameter in model.parameters()],
        "torch's random state": [torch.get_rng_state()],
        "numpy's random state": [torch.from_numpy(np.random.get_state()[1].astype(np.int64))],  # type: ignore[index,union-attr]
        "Python's random state": [random.getstate()],
    }


def _same(one: object, other: object) -> bool:
    assert isinstance(one, list)
    assert isinstance(other, list)
    return len(one) == len(other) and all(
        torch.equal(a, b) if isinstance(a, Tensor) else a == b
        for a, b in zip(one, other, strict=True)
    )


def _equal(one: Masks, other: Masks) -> bool:
    return all(torch.equal(mask, other[name]) for name, mask in one.items())


def _seed_all(state: int) -> None:
    torch.manual_seed(state)
    np.random.seed(state)
    random.seed(state)
