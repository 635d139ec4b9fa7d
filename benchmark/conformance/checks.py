"""The conformance kit: the rules that every strategy keeps, and how one is caught breaking them.

Each check runs a strategy on small seeded networks on which a certain mistake shows, and says in
words what was expected, what happened and how to put it right. Our own strategies keep all rules;
``prunebench check`` holds anybody's to them, and so does a test of their own::

    @pytest.mark.parametrize("check", CHECKS, ids=str)
    def test_my_score_conforms(check):
        assert check.violations(MyScore()) == []
"""

from __future__ import annotations

import copy
import pickle
import random
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ...errors import UsageError, message_of
from ...seeding import generator, seeded
from ...strategies import (
    ERK,
    Allocation,
    Context,
    ErdosRenyi,
    Global,
    MaskedWeights,
    Masks,
    Prunable,
    ScoredStrategy,
    Strategy,
    Structure,
    Uniform,
    Unstructured,
    couple,
    find_prunable,
    full_masks,
    kept,
)
from ..cell.loop import threads
from .networks import (
    DEGENERATE,
    HIDDEN,
    ORDINARY,
    PERCEPTRON,
    Network,
    Perceptron,
    Synthetic,
)


@dataclass(frozen=True)
class Check:
    """A rule, and the function that finds where a strategy breaks it.

    Attributes:
        rule: what is always so, as a sentence.
        find: gives the strategy's violations, a sentence each.
    """

    rule: str
    find: Callable[[Strategy, Sequence[Network]], list[str]]

    def __str__(self) -> str:
        return self.rule

    def violations(self, strategy: Strategy, networks: Sequence[Network] = ()) -> list[str]:
        """What ``strategy`` does against the rule, in words; empty if it keeps it.

        It is tried on ``networks``, or on the kit's own where none are given. A rule that shows on
        one particular network is tried on that or not at all.

        Whatever the strategy raises is one of its violations. The global random states and
        torch's global settings are the same afterwards.
        """
        # On networks as small as these a second thread costs more than it gives.
        with threads(1), _global_state_restored():
            return self.find(strategy, networks)


_Finder = Callable[[Strategy, Sequence[Network]], list[str]]
_FinderOnOne = Callable[[Strategy, nn.Module], Iterator[str]]


def _on(*own: Network, others: bool = True) -> Callable[[_FinderOnOne], _Finder]:
    """Decorator: look for a violation on each network in turn, and tell the first one on each.

    A network in which the strategy finds nothing to prune, or which it refuses, is passed over.
    With ``others`` the networks that a caller gives take the place of the kit's own.
    """

    def decorate(find: _FinderOnOne) -> _Finder:
        def find_on_all(strategy: Strategy, given: Sequence[Network]) -> list[str]:
            titles: dict[str, list[str]] = {}
            for network in (given if others else ()) if given else own:
                sentence = _first_violation(find, strategy, network)
                if sentence is not None:
                    titles.setdefault(sentence, []).append(network.title)
            return [f"{', '.join(where)}: {what}" for what, where in titles.items()]

        return find_on_all

    return decorate


def _first_violation(find: _FinderOnOne, strategy: Strategy, network: Network) -> str | None:
    model = network.fresh()
    try:
        return next(find(strategy, model), None) if _has_work(strategy, model) else None
    except UsageError as error:
        return f"is refused: {error}"
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever a user's code raises is a finding, SystemExit too
        return f"raises {type(error).__name__}: {message_of(error)}{_place(error, strategy)}"


def _has_work(strategy: Strategy, model: nn.Module) -> bool:
    """Whether the strategy finds anything to prune: weights, and channels if it removes those."""
    task = Synthetic()
    names = _prunable(strategy, model).names
    if not names:
        return False
    with suppress(UsageError):  # it is refused, or cannot be traced
        strategy.check(task, model)
        removes_weights = strategy.capabilities.removes != "channels"
        return removes_weights or couple(model, task.inputs(1), names).channels > 0
    return False


def _place(error: BaseException, strategy: Strategy) -> str:
    """Where in the strategy's own file ``error`` arose, for the end of a sentence."""
    source = getattr(sys.modules[type(strategy).__module__], "__file__", None)
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == source
    ]
    return f" ({Path(str(source)).name}, line {lines[-1]})" if lines else ""


def _prunes_something(strategy: Strategy, given: Sequence[Network]) -> list[str]:
    """At least one of the networks has weights that the strategy prunes."""
    # An error of removable() or scorable() is a finding of every other check.
    with suppress(Exception, SystemExit):
        if not any(_has_work(strategy, network.fresh()) for network in given or ORDINARY):
            which = ", ".join(each.title for each in given) or "any network of the kit"
            return [
                f"removable() and scorable() leave no weights in {which}, or check() refuses it, "
                "so that nothing can be tried"
            ]
    return []


@_on(*ORDINARY, DEGENERATE[0])
def _fits_the_weights(strategy: Strategy, model: nn.Module) -> Iterator[str]:
    """Scores, where they are used, and masks have the names, shapes and types they must have."""
    context = _context(strategy, model)
    if isinstance(strategy, ScoredStrategy) and _is_ranked(strategy):
        yield from _unfit_scores(strategy.score(context), context.weights)
    yield from _unfit_masks(_masks(strategy, model, 0.5), context.weights)


@_on(*ORDINARY)
def _keeps_the_budget(strategy: Strategy, model: nn.Module) -> Iterator[str]:
    """Round by round, as many weights are left as were to be left."""
    masks = None
    for density in (0.5, 0.2, 0.05):
        context = _context(strategy, model, masks)
        budget = _budget(strategy, context, density)
        masks = _chosen(strategy, context, budget)
        yield from _miscounted(strategy, masks, budget)
        MaskedWeights(model, masks).apply()


@_on(*DEGENERATE)
def _keeps_the_budget_on_ties(strategy: Strategy, model: nn.Module) -> Iterator[str]:
    """The same where weights and thereby scores are equal; to refuse such a network is allowed."""
    with suppress(UsageError):
        for density in (0.5, 0.2, 0.05):
            context = _context(strategy, model)
            budget = _budget(strategy, context, density)
            yield from _miscounted(strategy, _chosen(strategy, context, budget), budget)


@_on(*ORDINARY, *DEGENERATE)
def _copes_with_extreme_budgets(strategy: Strategy, model: nn.Module) -> Iterator[str]:
    """All weights, and as few as the strategy says that it can keep; or a refusal."""
    context = _context(strategy, model)
    every = strategy.largest_budget(context.weights)
    with suppress(UsageError):
        left = kept(_masks(strategy, model, 1.0))
        if left != every:
            yield f"keeps {left} weights where all {every} are to be kept"
    with suppress(UsageError):
        fewest = _budget(strategy, context, 0.0)
        yield from _miscounted(strategy, _chosen(strategy, context, fewest), fewest)


@_on(*ORDINARY, DEGENERATE[1])
def _gives_nothing_back(strategy: Strategy, model: nn.Module) -> Iterator[str]:
    """A second pruning, stricter or gentler, keeps only weights that the first kept."""
    for first, second in ((0.5, 0.2), (0.2, 0.5)):
        pruned = copy.deepcopy(model)
        masks = _masks(strategy, pruned, first)
        MaskedWeights(pruned, masks).apply()
        later = _masks(strategy, pruned, second, masks)
        returned = sum(int((later[name].bool() & ~mask).sum()) for name, mask in masks.items())
        if returned:
            yield (
                f"pruned to density {first} and then to {second}, {returned} weights that had "
                "been pruned are kept again; a mask must keep nothing that context.masks has pruned"
            )


@_on(*ORDINARY)
def _stays_zero_in_training(strategy: Strategy, model: nn.Module) -> Iterator[str]:
    """What the first round prunes is zero ever after: two rounds as the benchmark's loop runs."""
    first = _masks(strategy, model, 0.5)
    _train(model, first)
    second = _masks(strategy, model, 0.25, first)
    if written := _nonzero_where_pruned(model, first):
        yield f"the second pruning itself writes into {written} weights that had been pruned"
    _train(model, second)
    if alive := _nonzero_where_pruned(model, first):
        yield (
            f"{alive} weights that the first round pruned are trained again after the second; "
            "rank no weight that context.masks has pruned"
        )


@_on(*ORDINARY, DEGENERATE[1])
def _repeats_itself(strategy: Strategy, model: nn.Module) -> Iterator[str]:
    """Equal generators give equal masks, whatever the global random states are."""
    runs = []
    for state in (1, 2):
        torch.manual_seed(state)
        np.random.seed(state)
        random.seed(state)
        runs.append(_masks(strategy, copy.deepcopy(model), 0.3))
    if differing := _differing(*runs):
        yield (
            f"two runs with the same seed differ in {differing} entries of their masks; "
            "draw all random numbers from context.generator"
        )


@_on(*ORDINARY)
def _leaves_no_trace(strategy: Strategy, model: nn.Module) -> Iterator[str]:
    """Model, masks, random states and torch's settings are the same, the first and second time."""
    model.train()
    next(model.children()).eval()  # a module's mode is its own
    for parameter in list(model.parameters())[::2]:
        parameter.grad = torch.ones_like(parameter)
    masks, density = _full_masks(strategy, model), 0.3
    for when in ("scoring", "scoring a network that has been pruned before"):
        before = _observed(model, masks)
        pruned = _masks(strategy, model, density, masks)
        after = _observed(model, masks)
        changed = [name for name, value in before.items() if value != after[name]]
        if changed:
            yield f"{when} changes {', '.join(changed)}; leave everything as it was found"
        MaskedWeights(model, pruned).apply()
        masks, density = pruned, 0.2


@_on(*ORDINARY)
def _reads_training_data_only(strategy: Strategy, model: nn.Module) -> Iterator[str]:
    """The validation split chooses models, the test split measures them; neither prunes them."""
    context = _context(strategy, model)
    _chosen(strategy, context, _budget(strategy, context, 0.3))
    assert isinstance(context.task, Synthetic)
    if foreign := context.task.read - {"train"}:
        yield f"reads the {' and '.join(sorted(foreign))} split; only 'train' may be used"


@_on(PERCEPTRON, others=False)
def _ignores_the_sign(strategy: Strategy, model: nn.Module) -> Iterator[str]:
    """Two networks that compute the same, one with every weight negated, are pruned alike.

    All hidden units are turned, not some: the distance between two filters may be a score. What
    the choice of random numbers changes (probes of a Hessian, for one) is allowed here too.
    """
    assert isinstance(model, Perceptron)
    mirrored = copy.deepcopy(model)
    with torch.no_grad():  # tanh is odd
        for parameter in (mirrored.first.weight, mirrored.first.bias, mirrored.last.weight):
            parameter.neg_()
    masks = _masks(strategy, model, 0.3)
    differing = _differing(masks, _masks(strategy, mirrored, 0.3))
    chance = _differing(masks, _masks(strategy, model, 0.3, seed=1))
    if differing > max(1.2 * chance, 0.02 * sum(mask.numel() for mask in masks.values())):
        yield (
            f"negating all weights, which leaves what this network computes as it is, changes "
            f"{differing} entries of the masks; is an absolute value missing in the score?"
        )


@_on(PERCEPTRON, others=False)
def _prunes_the_useless_first(strategy: Strategy, model: nn.Module) -> Iterator[str]:
    """Of hidden units that do nothing, not clearly more weights are kept than of the others.

    The margin is wide: random pruning, averaged over a few seeds, stays far from it, and so does
    a signed score, in which what does nothing stands in the middle.
    """
    assert isinstance(model, Perceptron)
    useless = slice(0, HIDDEN // 2)
    with torch.no_grad():
        model.first.weight[useless] *= 1e-3
        model.first.bias[useless] = 0
        model.last.weight[:, useless] *= 1e-3
    shares = [_shares(_masks(strategy, model, 0.25, seed=seed)) for seed in range(4)]
    of_useless, of_others = torch.tensor(shares).mean(0).tolist()
    if of_useless - of_others > 0.3:
        yield (
            f"of weights that hardly touch the output {of_useless:.0%} are kept, of the others "
            f"{of_others:.0%}; the lowest scores are pruned: is the score's sign the wrong way?"
        )


def _shares(masks: Masks) -> tuple[float, float]:
    """The shares kept of the first half of the perceptron's hidden units, and of the second."""
    by_unit = [mask if name == "first.weight" else mask.T for name, mask in masks.items()]
    halves = zip(*(mask.split(HIDDEN // 2) for mask in by_unit), strict=True)
    first, second = (torch.cat([part.flatten() for part in half]) for half in halves)
    return first.float().mean().item(), second.float().mean().item()


CHECKS = (
    Check("There is something to prune", _prunes_something),
    Check("Scores and masks fit the weights", _fits_the_weights),
    Check("Exactly the budget is kept", _keeps_the_budget),
    Check("Exactly the budget is kept where scores tie", _keeps_the_budget_on_ties),
    Check("Keeping all weights or next to none works", _copes_with_extreme_budgets),
    Check("What was pruned is never given back", _gives_nothing_back),
    Check("Pruned weights stay zero through training", _stays_zero_in_training),
    Check("The same seed gives the same masks", _repeats_itself),
    Check("Scoring leaves everything as it was", _leaves_no_trace),
    Check("Only training data are read", _reads_training_data_only),
    Check("The sign of a weight does not matter", _ignores_the_sign),
    Check("What is useless is pruned before what matters", _prunes_the_useless_first),
)
"""All checks; the first ones that fail explain most of the later ones."""


def _full_masks(strategy: Strategy, model: nn.Module) -> Masks:
    weights = dict(model.named_parameters())
    return full_masks({name: weights[name] for name in _prunable(strategy, model).names})


def _prunable(strategy: Strategy, model: nn.Module) -> Prunable:
    """The weights that the strategy removes, where the experiment leaves out what it cannot."""
    found = find_prunable(model, Synthetic().inputs(1))
    names = strategy.scorable(model, strategy.removable(model, found))
    return found._replace(names=tuple(names))


def _context(
    strategy: Strategy,
    model: nn.Module,
    masks: Mapping[str, Tensor] | None = None,
    seed: int = 0,
) -> Context:
    return Context(
        model=model,
        task=Synthetic(),
        masks=_full_masks(strategy, model) if masks is None else masks,
        outputs=_prunable(strategy, model).outputs,
        generator=generator(seed, "conformance", "scoring"),
    )


def _budget(strategy: Strategy, context: Context, density: float) -> int:
    """The number of weights that a density leaves, within what the strategy can keep."""
    total = sum(mask.numel() for mask in context.masks.values())
    most = strategy.largest_budget(context.weights)
    if strategy.capabilities.removes == "nothing":
        return most
    if strategy.capabilities.removes == "channels":
        density = max(density, 0.2)  # less may be less than a channel of each group
    return min(max(round(density * total), strategy.smallest_budget(context.weights)), most)


def _masks(
    strategy: Strategy,
    model: nn.Module,
    density: float,
    before: Mapping[str, Tensor] | None = None,
    seed: int = 0,
) -> Masks:
    context = _context(strategy, model, before, seed)
    return _chosen(strategy, context, _budget(strategy, context, density))


def _chosen(strategy: Strategy, context: Context, budget: int) -> Masks:
    """The masks that a strategy makes; one without scores makes them as it prunes, here a copy."""
    if isinstance(strategy, ScoredStrategy):
        return strategy.masks(context, budget)
    copied = replace(context, model=copy.deepcopy(context.model))
    return dict(strategy.prune(copied, budget).masks)


def _is_ranked(strategy: ScoredStrategy) -> bool:
    """Whether the masks come from scores by way of the allocation, as they do by default."""
    return type(strategy).masks is ScoredStrategy.masks


def _unfit_scores(scores: object, weights: Mapping[str, Tensor]) -> Iterator[str]:
    if not isinstance(scores, Mapping):
        yield f"score() must give a mapping of names to tensors, not {type(scores).__name__}"
        return
    yield from _wrong_names("score()", scores, weights)
    for name, weight in weights.items():
        score = scores[name]
        if not isinstance(score, Tensor):
            yield f"the score of {name} must be a tensor, not {type(score).__name__}"
        elif score.shape != weight.shape:
            yield (
                f"the score of {name} must have the shape of its weight, {tuple(weight.shape)}, "
                f"not {tuple(score.shape)}"
            )
        elif score.isnan().any():
            yield f"the score of {name} contains NaN; does it divide by a sum that is zero?"


def _unfit_masks(masks: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> Iterator[str]:
    yield from _wrong_names("masks()", masks, weights)
    for name, weight in weights.items():
        mask = masks[name]
        is_like = (torch.bool, tuple(weight.shape), weight.device)
        if (mask.dtype, tuple(mask.shape), mask.device) != is_like:
            yield (
                f"the mask of {name} must be torch.bool of shape {tuple(weight.shape)} on "
                f"{weight.device}, not {mask.dtype} of shape {tuple(mask.shape)} on {mask.device}"
            )


def _wrong_names(
    function: str, given: Mapping[str, Tensor], weights: Mapping[str, Tensor]
) -> Iterator[str]:
    missing, unknown = sorted(weights.keys() - given.keys()), sorted(given.keys() - weights.keys())
    if missing or unknown:
        yield (
            f"{function} must have the names of context.weights; missing: "
            f"{', '.join(missing) or 'none'}; unknown: {', '.join(unknown) or 'none'}"
        )


def _miscounted(strategy: Strategy, masks: Masks, budget: int) -> Iterator[str]:
    """Sentences about the number of weights kept.

    A global ranking misses the budget by less than one unit, and so not at all where units are
    single weights, and neither do densities that differ by layer. A uniform one rounds in each
    layer. An allocation of somebody's own, and masks made without one, may round in each layer too.
    """
    if strategy.capabilities.removes == "channels":
        yield from _miscounted_channels(masks, budget)
        return
    structure: Structure = Unstructured()
    allocation: type[Allocation] | None = None
    if isinstance(strategy, ScoredStrategy):
        structure = strategy.structure
        allocation = type(strategy.allocation) if _is_ranked(strategy) else None
        if allocation is Uniform:
            yield from _miscounted_layers(strategy, masks, budget)
            return
    sizes = [structure.units(mask).shape[1] for mask in masks.values()]
    exact = allocation is Global or (set(sizes) == {1} and allocation in (ErdosRenyi, ERK))
    below, above = (max(sizes) - 1, 0) if exact else (sum(sizes), sum(sizes))
    if not budget - below <= kept(masks) <= budget + above:
        yield (
            f"keeps {kept(masks)} weights where {budget} are to be kept; choose so many, as "
            "strategies.keep_largest does, instead of comparing with a threshold"
        )


def _miscounted_channels(masks: Masks, budget: int) -> Iterator[str]:
    """Whole channels are kept for as long as they fit, and one of each group in any case."""
    if kept(masks) > budget:
        yield f"keeps {kept(masks)} weights where at most {budget} are to be kept"
    if not all(mask.any() for mask in masks.values()):
        yield "keeps nothing of a layer; a channel of each group must stay"


def _miscounted_layers(strategy: ScoredStrategy, masks: Masks, budget: int) -> Iterator[str]:
    share = budget / sum(mask.numel() for mask in masks.values())
    for name, mask in masks.items():
        alive = strategy.structure.units(mask).any(1)
        wanted = max(share * len(alive), strategy.allocation.least(len(alive)))
        if abs(int(alive.sum()) - wanted) > 0.5 + 1e-6:  # exactly half is rounded either way
            yield f"keeps {int(alive.sum())} of {len(alive)} units of {name}, not {wanted:g}"


def _differing(one: Masks, other: Masks) -> int:
    return sum(int((mask != other[name]).sum()) for name, mask in one.items())


def _train(model: nn.Module, masks: Masks, steps: int = 4) -> None:
    """Take a few steps with momentum and weight decay, as the benchmark's loop does."""
    masked = MaskedWeights(model, masks)
    masked.apply()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    task = Synthetic()
    model.train()
    with seeded(0, "conformance", "training"):
        for batch, _ in zip(task.batches("train", 64), range(steps), strict=False):
            optimizer.zero_grad()
            task.loss(model, batch).backward()
            optimizer.step()
            masked.apply()


def _nonzero_where_pruned(model: nn.Module, masks: Masks) -> int:
    weights = dict(model.named_parameters())
    return sum(int(weights[name][~mask].count_nonzero()) for name, mask in masks.items())


def _observed(model: nn.Module, masks: Masks) -> dict[str, object]:
    """All that scoring must not change, under the names used in sentences."""
    parameters, modules = dict(model.named_parameters()), dict(model.named_modules())
    gradients = {name: p.grad for name, p in parameters.items() if p.grad is not None}
    return {
        "parameters": _bytes(parameters),
        "gradients (parameter.grad)": _bytes(gradients),
        "buffers such as BatchNorm statistics": _bytes(dict(model.named_buffers())),
        "training or evaluation mode": {name: m.training for name, m in modules.items()},
        "requires_grad": {name: p.requires_grad for name, p in parameters.items()},
        "hooks": {name: _hooks(module) for name, module in modules.items()},
        "context.masks": _bytes(masks),
        "torch's global random state": _bytes({"": torch.get_rng_state()}),
        "numpy's global random state": pickle.dumps(np.random.get_state()),
        "Python's global random state": random.getstate(),
        "torch's gradient mode": torch.is_grad_enabled(),
        "torch's default dtype": torch.get_default_dtype(),
    }


def _bytes(tensors: Mapping[str, Tensor]) -> dict[str, bytes]:
    return {name: tensor.detach().numpy().tobytes() for name, tensor in tensors.items()}


def _hooks(module: nn.Module) -> int:
    return len(
        [
            *module._forward_hooks,
            *module._forward_pre_hooks,
            *module._backward_hooks,
            *module._backward_pre_hooks,
        ]
    )


@contextmanager
def _global_state_restored() -> Iterator[None]:
    """Put back what a strategy may have changed outside the network that it was given."""
    torch_state, numpy_state, python_state = (
        torch.get_rng_state(),
        np.random.get_state(),
        random.getstate(),
    )
    gradient_mode, dtype = torch.is_grad_enabled(), torch.get_default_dtype()
    try:
        yield
    finally:
        torch.set_rng_state(torch_state)
        np.random.set_state(numpy_state)
        random.setstate(python_state)
        torch.set_grad_enabled(gradient_mode)
        torch.set_default_dtype(dtype)
