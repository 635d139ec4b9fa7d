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
import random
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ...errors import UsageError, message_of
from ...hyperparameters import hyperparameters
from ...strategies import STRATEGIES, MaskedWeights, Masks, ScoredStrategy, Strategy, kept
from ..cell.process import threads
from .misfits import miscounted, unfit_masks, unfit_scores
from .networks import (
    DEGENERATE,
    HIDDEN,
    ORDINARY,
    PERCEPTRON,
    Network,
    Perceptron,
    Synthetic,
)
from .state import global_state_restored, observed
from .trial import (
    budget_for,
    chosen_masks,
    context_for,
    has_work,
    is_ranked,
    masks_of,
    prunes_in_place,
    train_briefly,
    train_by_its_rules,
    unpruned,
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
        with threads(1), global_state_restored():
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
        return next(find(strategy, model), None) if has_work(strategy, model) else None
    except UsageError as error:
        return f"is refused: {error}"
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever a user's code raises is a finding, SystemExit too
        return f"raises {type(error).__name__}: {message_of(error)}{_place(error, strategy)}"


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
        if not any(has_work(strategy, network.fresh()) for network in given or ORDINARY):
            which = ", ".join(each.title for each in given) or "any network of the kit"
            return [
                f"removable() and scorable() leave no weights in {which}, or check() refuses it, "
                "so that nothing can be tried"
            ]
    return []


@_on(*ORDINARY, DEGENERATE[0])
def _fits_the_weights(strategy: Strategy, model: nn.Module) -> Iterator[str]:
    """Scores, where they are used, and masks have the names, shapes and types they must have."""
    context = context_for(strategy, model)
    if isinstance(strategy, ScoredStrategy) and is_ranked(strategy):
        yield from unfit_scores(strategy.score(context), context.weights)
    yield from unfit_masks(masks_of(strategy, model, 0.5), context.weights)


@_on(*ORDINARY)
def _keeps_the_budget(strategy: Strategy, model: nn.Module) -> Iterator[str]:
    """Round by round, as many weights are left as were to be left."""
    masks = None
    for density in (0.5, 0.2, 0.05):
        context = context_for(strategy, model, masks)
        budget = budget_for(strategy, context, density)
        masks = chosen_masks(strategy, context, budget)
        yield from miscounted(strategy, masks, budget)
        MaskedWeights(model, masks).apply()


@_on(*DEGENERATE)
def _keeps_the_budget_on_ties(strategy: Strategy, model: nn.Module) -> Iterator[str]:
    """The same where weights and thereby scores are equal; to refuse such a network is allowed."""
    with suppress(UsageError):
        for density in (0.5, 0.2, 0.05):
            context = context_for(strategy, model)
            budget = budget_for(strategy, context, density)
            yield from miscounted(strategy, chosen_masks(strategy, context, budget), budget)


@_on(*ORDINARY, *DEGENERATE)
def _copes_with_extreme_budgets(strategy: Strategy, model: nn.Module) -> Iterator[str]:
    """All weights, and as few as the strategy says that it can keep; or a refusal."""
    context = context_for(strategy, model)
    every = strategy.largest_budget(context.weights)
    with suppress(UsageError):
        left = kept(masks_of(strategy, model, 1.0))
        if left != every:
            yield f"keeps {left} weights where all {every} are to be kept"
    with suppress(UsageError):
        fewest = budget_for(strategy, context, 0.0)
        yield from miscounted(strategy, chosen_masks(strategy, context, fewest), fewest)


@_on(*ORDINARY, DEGENERATE[1])
def _gives_nothing_back(strategy: Strategy, model: nn.Module) -> Iterator[str]:
    """A second pruning, stricter or gentler, keeps only weights that the first kept."""
    for first, second in ((0.5, 0.2), (0.2, 0.5)):
        pruned = copy.deepcopy(model)
        masks = masks_of(strategy, pruned, first)
        MaskedWeights(pruned, masks).apply()
        later = masks_of(strategy, pruned, second, masks)
        returned = sum(int((later[name].bool() & ~mask).sum()) for name, mask in masks.items())
        if returned:
            yield (
                f"pruned to density {first} and then to {second}, {returned} weights that had "
                "been pruned are kept again; a mask must keep nothing that context.masks has pruned"
            )


@_on(*ORDINARY)
def _stays_zero_in_training(strategy: Strategy, model: nn.Module) -> Iterator[str]:
    """What the first round prunes is zero ever after: two rounds as the benchmark's loop runs."""
    first = masks_of(strategy, model, 0.5)
    train_briefly(model, first)
    second = masks_of(strategy, model, 0.25, first)
    if written := _nonzero_where_pruned(model, first):
        yield f"the second pruning itself writes into {written} weights that had been pruned"
    train_briefly(model, second)
    if alive := _nonzero_where_pruned(model, first):
        yield (
            f"{alive} weights that the first round pruned are trained again after the second; "
            "rank no weight that context.masks has pruned"
        )


@_on(*ORDINARY)
def _holds_in_a_run(strategy: Strategy, model: nn.Module) -> Iterator[str]:
    """Pruned in place and trained as the strategy says, it keeps the budget, and zeros."""
    context = context_for(strategy, model)
    budget = budget_for(strategy, context, 0.3)
    try:
        sparsity = strategy.prune(context, budget)
    except UsageError:  # as of scoring that changes the network, which is another rule's to tell
        return
    train_by_its_rules(model, sparsity)
    masks = {name: sparsity.masks[name] for name in context.masks if name in sparsity.masks}
    yield from unfit_masks(masks, context.weights)
    yield from miscounted(strategy, masks, budget)
    if written := _nonzero_where_pruned(model, masks):
        yield f"after its own training {written} weights are not zero that its masks prune"


@_on(*ORDINARY, DEGENERATE[1])
def _repeats_itself(strategy: Strategy, model: nn.Module) -> Iterator[str]:
    """Equal generators give equal masks, whatever the global random states are."""
    runs = []
    for state in (1, 2):
        torch.manual_seed(state)
        np.random.seed(state)
        random.seed(state)
        runs.append(masks_of(strategy, copy.deepcopy(model), 0.3))
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
    masks, density = unpruned(strategy, model), 0.3
    for when in ("scoring", "scoring a network that has been pruned before"):
        before = observed(model, masks)
        context = context_for(strategy, model, masks)
        pruned = chosen_masks(
            strategy, context, budget_for(strategy, context, density), copied=False
        )
        after = observed(model, masks)
        changed = [name for name, value in before.items() if value != after[name]]
        if prunes_in_place(strategy):
            changed = [name for name in changed if name != "parameters"]
        if changed:
            yield f"{when} changes {', '.join(changed)}; leave everything as it was found"
        MaskedWeights(model, pruned).apply()
        masks, density = pruned, 0.2


@_on(*ORDINARY)
def _reads_training_data_only(strategy: Strategy, model: nn.Module) -> Iterator[str]:
    """The validation split chooses models, the test split measures them; neither prunes them."""
    context = context_for(strategy, model)
    chosen_masks(strategy, context, budget_for(strategy, context, 0.3))
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
    masks = masks_of(strategy, model, 0.3)
    differing = _differing(masks, masks_of(strategy, mirrored, 0.3))
    chance = _differing(masks, masks_of(strategy, model, 0.3, seed=1))
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
    shares = [_shares(masks_of(strategy, model, 0.25, seed=seed)) for seed in range(4)]
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


def _can_be_tuned(strategy: Strategy, given: Sequence[Network]) -> list[str]:
    """What a tuner may try is allowed, and the defaults are among it."""
    return unfit_search_space(strategy, strategy.search_space)


def unfit_search_space(strategy: Strategy, space: Mapping[str, tuple[float, ...]]) -> list[str]:
    """What is wrong with values that a tuner may try of a strategy: a sentence each."""
    defaults, found = hyperparameters(type(strategy)), []
    for name, values in space.items():
        if name not in defaults:
            found.append(f"search_space has {name}, which is no hyperparameter")
            continue
        if defaults[name].default not in values:
            found.append(f"search_space has not the default of {name}, {defaults[name].default!r}")
        for value in values:
            try:
                STRATEGIES.component(replace(strategy, **{name: value}))
            except UsageError as error:
                found.append(f"search_space has {name}={value!r}: {error}")
    return found


CHECKS = (
    Check("There is something to prune", _prunes_something),
    Check("Scores and masks fit the weights", _fits_the_weights),
    Check("Exactly the budget is kept", _keeps_the_budget),
    Check("Exactly the budget is kept where scores tie", _keeps_the_budget_on_ties),
    Check("Keeping all weights or next to none works", _copes_with_extreme_budgets),
    Check("What was pruned is never given back", _gives_nothing_back),
    Check("Pruned weights stay zero through training", _stays_zero_in_training),
    Check("Pruned and trained as in a run, it ends as it says", _holds_in_a_run),
    Check("The same seed gives the same masks", _repeats_itself),
    Check("Scoring leaves everything as it was", _leaves_no_trace),
    Check("Only training data are read", _reads_training_data_only),
    Check("The sign of a weight does not matter", _ignores_the_sign),
    Check("What is useless is pruned before what matters", _prunes_the_useless_first),
    Check("What a tuner may try is allowed", _can_be_tuned),
)
"""All checks; the first ones that fail explain most of the later ones."""


def _differing(one: Masks, other: Masks) -> int:
    return sum(int((mask != other[name]).sum()) for name, mask in one.items())


def _nonzero_where_pruned(model: nn.Module, masks: Masks) -> int:
    weights = dict(model.named_parameters())
    return sum(int(weights[name][~mask].count_nonzero()) for name, mask in masks.items())
