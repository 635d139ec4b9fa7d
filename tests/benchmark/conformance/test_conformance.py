"""The conformance kit: silent about sound methods, and never about a planted mistake."""

import copy
import random
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pytest
import torch
from pydantic import Field
from torch import nn

from prunebench import UsageError
from prunebench.benchmark.conformance.checks import CHECKS
from prunebench.strategies import (
    ALLOCATIONS,
    STRATEGIES,
    Allocation,
    CoupledChannels,
    Filters,
    Global,
    GlobalMagnitude,
    LayerMagnitude,
    Random,
    ScoredStrategy,
    SparseGPT,
    SparseTraining,
    Structure,
    Uniform,
    Units,
    evaluation_mode,
)


def broken_rules(strategy: ScoredStrategy) -> dict[str, list[str]]:
    found = {check.rule: check.violations(strategy) for check in CHECKS}
    return {rule: violations for rule, violations in found.items() if violations}


# Sound methods of many kinds, none of which may raise an alarm.


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS, ids=str)
@pytest.mark.parametrize("name", STRATEGIES.names())
def test_every_strategy_of_ours_keeps_every_rule(name, check, frugal):
    assert check.violations(frugal(name)) == []


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS, ids=str)
@pytest.mark.parametrize(
    "name",
    [
        "StructuredL1",
        "StructuredL2",
        "StructuredRandom",
        "FPGM",
        "ChannelTaylor",
        "BatchNormSlimming",
        "GlobalMagnitude",
        "SNIP",
    ],
)
def test_a_strategy_keeps_every_rule_where_it_removes_coupled_channels(name, check, frugal):
    assert check.violations(frugal(name, structure=CoupledChannels())) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ALLOCATIONS.names())
def test_every_allocation_of_ours_keeps_every_rule(name):
    arguments = {"densities": {"last": 0.5}} if name == "Explicit" else {}
    allocation = ALLOCATIONS.find(name)(**arguments)
    assert broken_rules(GlobalMagnitude(allocation=allocation)) == {}


class Lamp(ScoredStrategy):
    """w² over the sum of the squares that are no smaller, in its layer."""

    def score(self, context):
        return {name: self.of_layer(weight) for name, weight in context.weights.items()}

    def of_layer(self, weight):
        squares = weight.flatten().square()
        order = squares.argsort(descending=True)
        sums = torch.empty_like(squares)
        sums[order] = squares[order].cumsum(0)
        return (squares / sums.clamp(min=1e-30)).view_as(weight)


@dataclass(frozen=True)
class GeometricMedian(ScoredStrategy):
    """FPGM: the distances of a filter from all others."""

    allocation: Allocation = Uniform()
    structure: Structure = Filters()

    def score(self, context):
        return {name: self.of_layer(weight) for name, weight in context.weights.items()}

    def of_layer(self, weight):
        filters = weight.flatten(1)
        distances = torch.cdist(filters, filters).sum(1)
        return distances.view(-1, *[1] * (weight.ndim - 1)).expand_as(weight)


class HessianProducts(ScoredStrategy):
    """The Hessian times a vector, for scores of second order."""

    def products(self, context, vector=None):
        parameters = dict(context.model.named_parameters())
        weights = [parameters[name] for name in context.masks]
        with evaluation_mode(context.model):
            (batch,) = context.batches(1, 256)
            loss = context.task.loss(context.model, batch)
            gradients = torch.autograd.grad(loss, weights, create_graph=True)
            vector = vector or [gradient.detach() for gradient in gradients]
            return torch.autograd.grad(gradients, weights, vector, materialize_grads=True)


class GradientFlow(HessianProducts):
    """GraSP: w·Hg, a signed score."""

    def score(self, context):
        products = self.products(context)
        return {
            name: weight * product
            for (name, weight), product in zip(context.weights.items(), products, strict=True)
        }


class Hutchinson(HessianProducts):
    """OBD with a single random probe of the Hessian's diagonal: signed, and mostly noise."""

    def score(self, context):
        probes = [
            torch.randn(weight.shape, generator=context.generator).sign()
            for weight in context.weights.values()
        ]
        products = self.products(context, probes)
        return {
            name: weight.square() * probe * product
            for (name, weight), probe, product in zip(
                context.weights.items(), probes, products, strict=True
            )
        }


class SynapticFlow(ScoredStrategy):
    """One round of SynFlow, on a copy in float64."""

    def score(self, context):
        model = copy.deepcopy(context.model).double().eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.abs_()
        weights = dict(model.named_parameters())
        chosen = [weights[name] for name in context.masks]
        flow = model(torch.ones(1, *context.task.input_shape, dtype=torch.float64)).sum()
        gradients = torch.autograd.grad(flow, chosen, materialize_grads=True)
        return {
            name: weight.detach() * gradient
            for name, weight, gradient in zip(context.masks, chosen, gradients, strict=True)
        }


class InputNorms(ScoredStrategy):
    """Wanda: |w| times the norm of the layer's inputs, seen by hooks."""

    def score(self, context):
        norms, hooks = {}, []
        for name, module in context.model.named_modules():
            if isinstance(module, nn.Linear):
                hooks.append(module.register_forward_hook(self.note(norms, f"{name}.weight")))
        with torch.no_grad(), evaluation_mode(context.model):
            for inputs, _ in context.batches(2, 64):
                context.model(inputs)
        for hook in hooks:
            hook.remove()
        return {name: weight.abs() * norms.get(name, 1) for name, weight in context.weights.items()}

    def note(self, norms, name):
        return lambda module, inputs, output: norms.__setitem__(name, inputs[0].norm(dim=0))


class LinearLayersOnly(LayerMagnitude):
    """Finds nothing to prune in some networks."""

    def removable(self, model, prunable):
        return [
            f"{name}.weight" for name, module in model.named_modules() if type(module) is nn.Linear
        ][:1]


@pytest.mark.slow
@pytest.mark.parametrize(
    "strategy",
    [
        Lamp(),
        GeometricMedian(),
        GradientFlow(),
        Hutchinson(),
        SynapticFlow(),
        InputNorms(),
        LinearLayersOnly(),
        Random(allocation=Uniform(), structure=Filters()),
        GlobalMagnitude(structure=Filters()),
        GlobalMagnitude(allocation=Global(minimum=3)),
        LayerMagnitude(allocation=Uniform(minimum=50)),
    ],
    ids=lambda strategy: str(strategy),
)
def test_sound_methods_of_other_kinds_raise_no_alarm(strategy):
    assert broken_rules(strategy) == {}


# Planted mistakes, each caught by the check that names it.


class KeepsAllTies(GlobalMagnitude):
    def masks(self, context, budget):
        scores = {
            name: score.masked_fill(~context.masks[name], -1)
            for name, score in self.score(context).items()
        }
        threshold = torch.cat([score.flatten() for score in scores.values()]).topk(budget)[0][-1]
        return {name: score >= threshold for name, score in scores.items()}


class KeepsNoTies(KeepsAllTies):
    def masks(self, context, budget):
        scores = self.score(context)
        ranked = torch.cat([score.flatten() for score in scores.values()]).sort().values
        threshold = ranked[max(len(ranked) - budget - 1, 0)]
        return {
            name: (score > threshold) & context.masks[name] if budget < len(ranked) else score >= 0
            for name, score in scores.items()
        }


class DrawsEachWeightByItself(Random):
    def masks(self, context, budget):
        total = sum(mask.numel() for mask in context.masks.values())
        return {
            name: (torch.rand(mask.shape, generator=context.generator) < budget / total) & mask
            for name, mask in context.masks.items()
        }


class PrunesAShareOfWhatIsLeft(GlobalMagnitude):
    def masks(self, context, budget):
        alive = sum(int(mask.sum()) for mask in context.masks.values())
        total = sum(mask.numel() for mask in context.masks.values())
        return super().masks(context, alive * budget // total)


class Signed(GlobalMagnitude):
    def score(self, context):
        return context.weights


class UpsideDown(GlobalMagnitude):
    def score(self, context):
        return {name: -weight.abs() for name, weight in context.weights.items()}


class RegrowsByGradient(GlobalMagnitude):
    """Ranks pruned weights too: their gradients are as good as any."""

    def score(self, context):
        return {name: gradient.abs() for name, gradient in context.gradients(2, 64).items()}

    def masks(self, context, budget):
        total = sum(mask.numel() for mask in context.masks.values())
        return {
            name: score >= score.flatten().topk(max(score.numel() * budget // total, 1))[0][-1]
            for name, score in self.score(context).items()
        }


class WritesWeights(GlobalMagnitude):
    def masks(self, context, budget):
        masks = super().masks(context, budget)
        with torch.no_grad():
            for name, parameter in context.model.named_parameters():
                if name in masks:
                    parameter[~masks[name]] = 0.1
        return masks


class FreesWhenGentler(GlobalMagnitude):
    """What is zero has the smallest magnitude: true, but does not say which zeros stay."""

    def masks(self, context, budget):
        scores = self.score(context)
        kept = self.allocation.keep(
            {name: Units(score.flatten(), 1, score) for name, score in scores.items()},
            budget,
            context.generator,
        )
        return {name: kept[name].view_as(score) for name, score in scores.items()}


class GlobalRandomness(Random):
    def score(self, context):
        return {name: torch.rand_like(weight) for name, weight in context.weights.items()}


class NumpysRandomness(Random):
    def score(self, context):
        return {
            name: torch.from_numpy(np.random.rand(*weight.shape))
            for name, weight in context.weights.items()
        }


class PythonsRandomness(Random):
    def score(self, context):
        return {name: weight * random.random() for name, weight in context.weights.items()}


class UnseededGenerator(Random):
    def score(self, context):
        rng = torch.Generator()
        rng.seed()
        return {
            name: torch.rand(weight.shape, generator=rng)
            for name, weight in context.weights.items()
        }


class WithSideEffect(GlobalMagnitude):
    """Magnitude, after doing something to the model that scoring must not do."""

    def score(self, context):
        self.affect(context)
        return super().score(context)

    def affect(self, context):
        raise NotImplementedError


class LeavesEvaluationMode(WithSideEffect):
    def affect(self, context):
        context.model.eval()


class LeavesEverythingInTrainingMode(WithSideEffect):
    def affect(self, context):
        context.model.eval()
        context.model.train()


class MovesBatchStatistics(WithSideEffect):
    def affect(self, context):
        with torch.no_grad():
            context.model(next(context.batches(1, 64))[0])


class LeavesGradients(WithSideEffect):
    def affect(self, context):
        with evaluation_mode(context.model):
            context.task.loss(context.model, next(context.batches(1, 64))).backward()


class ClearsGradients(WithSideEffect):
    def affect(self, context):
        context.model.zero_grad()


class ChangesAParameter(WithSideEffect):
    def affect(self, context):
        with torch.no_grad():
            next(context.model.parameters()).mul_(1.5)


class Freezes(WithSideEffect):
    def affect(self, context):
        next(context.model.parameters()).requires_grad_(False)


class LeavesAHook(WithSideEffect):
    def affect(self, context):
        next(context.model.children()).register_forward_hook(lambda *_: None)


class ChangesTheMasksGiven(WithSideEffect):
    def affect(self, context):
        for mask in context.masks.values():
            mask.view(-1)[0] = False


class GivesWeightsBackInTheMasksGiven(WithSideEffect):
    """Only from the second pruning on are there any."""

    def affect(self, context):
        for mask in context.masks.values():
            if not mask.all():
                mask.fill_(True)


class PutsOtherMasksInPlace(WithSideEffect):
    def affect(self, context):
        for name, mask in context.masks.items():
            if not mask.all():
                context.masks[name] = torch.ones_like(mask)


class ShrinksWhatIsLeft(WithSideEffect):
    def affect(self, context):
        for name, weight in context.weights.items():
            if not context.masks[name].all():
                weight.mul_(0.5)


class TurnsGradientsOff(WithSideEffect):
    def affect(self, context):
        torch.set_grad_enabled(False)


class ChangesTheDefaultType(WithSideEffect):
    def affect(self, context):
        torch.set_default_dtype(torch.float64)


class ReadsTheTestSplit(WithSideEffect):
    def affect(self, context):
        next(context.task.batches("test", 8))


class ScoresOfAnotherShape(GlobalMagnitude):
    def score(self, context):
        return {name: score.flatten() for name, score in super().score(context).items()}


class ScoresOfOtherNames(GlobalMagnitude):
    def score(self, context):
        return {f"module.{name}": score for name, score in super().score(context).items()}


class ScoresMissing(GlobalMagnitude):
    def score(self, context):
        return dict(list(super().score(context).items())[1:])


class ScoresAList(GlobalMagnitude):
    def score(self, context):
        return list(super().score(context).values())


class ScoresNumbers(GlobalMagnitude):
    def score(self, context):
        return {name: float(score.sum()) for name, score in super().score(context).items()}


class NotANumber(GlobalMagnitude):
    def score(self, context):
        return {name: weight / weight.sum() for name, weight in super().score(context).items()}


class MasksOfFloats(GlobalMagnitude):
    def masks(self, context, budget):
        return {name: mask.float() for name, mask in super().masks(context, budget).items()}


class MasksOfAnotherShape(GlobalMagnitude):
    def masks(self, context, budget):
        return {name: mask.flatten() for name, mask in super().masks(context, budget).items()}


class MasksMissing(GlobalMagnitude):
    def masks(self, context, budget):
        return dict(list(super().masks(context, budget).items())[1:])


class FindsNothing(GlobalMagnitude):
    def removable(self, model, prunable):
        return []


class PrunesThoughAllIsToStay(GlobalMagnitude):
    def masks(self, context, budget):
        return super().masks(context, budget * 99 // 100 + 1)


@dataclass(frozen=True)
class TunedBeyondWhatIsAllowed(GlobalMagnitude):
    share: Annotated[float, Field(gt=0)] = 0.5

    search_space = {"share": (0.0, 0.5)}


class TunedByWhatItHasNot(GlobalMagnitude):
    search_space = {"share": (0.5,)}


class TunedAwayFromItsDefault(TunedBeyondWhatIsAllowed):
    search_space = {"share": (0.1, 0.9)}


class UpdatesWhatIsNotThere(GlobalMagnitude):
    def update(self, context, masks):
        return {"no.such.weight": torch.zeros(3)}


class TrainsWithoutMasks(GlobalMagnitude):
    def training(self, context, masks, budget):
        whole = {name: torch.ones_like(mask) for name, mask in masks.items()}
        return SparseTraining(context.model, whole)


class CannotTrain(GlobalMagnitude):
    def training(self, context, masks, budget):
        raise RuntimeError("not today")


class LeavesTracesInPlace(SparseGPT):
    def prune(self, context, budget):
        sparsity = super().prune(context, budget)
        for module in context.model.modules():
            module.register_forward_hook(lambda *_: None)
        return sparsity


_IN_A_RUN = "Pruned and trained as in a run, it ends as it says"
PLANTED = {
    UpdatesWhatIsNotThere: (_IN_A_RUN, "raises KeyError"),
    TrainsWithoutMasks: (_IN_A_RUN, "are to be kept"),
    CannotTrain: (_IN_A_RUN, "raises RuntimeError: not today"),
    LeavesTracesInPlace: ("Scoring leaves everything as it was", "hooks"),
    KeepsAllTies: ("Exactly the budget is kept where scores tie", "keep_largest"),
    KeepsNoTies: ("Exactly the budget is kept where scores tie", "keeps 0 weights"),
    DrawsEachWeightByItself: ("Exactly the budget is kept", "are to be kept"),
    PrunesAShareOfWhatIsLeft: ("Exactly the budget is kept", "are to be kept"),
    PrunesThoughAllIsToStay: ("Keeping all weights or next to none works", "where all"),
    Signed: ("The sign of a weight does not matter", "absolute value"),
    UpsideDown: ("What is useless is pruned before what matters", "the wrong way"),
    RegrowsByGradient: ("Pruned weights stay zero through training", "trained again"),
    WritesWeights: ("Pruned weights stay zero through training", "itself writes into"),
    FreesWhenGentler: ("What was pruned is never given back", "to density 0.2 and then to 0.5"),
    GlobalRandomness: ("The same seed gives the same masks", "context.generator"),
    NumpysRandomness: ("The same seed gives the same masks", "context.generator"),
    UnseededGenerator: ("The same seed gives the same masks", "context.generator"),
    PythonsRandomness: ("Scoring leaves everything as it was", "Python's global random state"),
    LeavesEvaluationMode: ("Scoring leaves everything as it was", "training or evaluation mode"),
    LeavesEverythingInTrainingMode: (
        "Scoring leaves everything as it was",
        "training or evaluation mode",
    ),
    MovesBatchStatistics: ("Scoring leaves everything as it was", "BatchNorm statistics"),
    LeavesGradients: ("Scoring leaves everything as it was", "gradients"),
    ClearsGradients: ("Scoring leaves everything as it was", "gradients"),
    ChangesAParameter: ("Scoring leaves everything as it was", "changes parameters"),
    Freezes: ("Scoring leaves everything as it was", "requires_grad"),
    LeavesAHook: ("Scoring leaves everything as it was", "hooks"),
    ChangesTheMasksGiven: ("Scoring leaves everything as it was", "context.masks"),
    GivesWeightsBackInTheMasksGiven: ("Scoring leaves everything as it was", "context.masks"),
    PutsOtherMasksInPlace: ("Scoring leaves everything as it was", "context.masks"),
    ShrinksWhatIsLeft: ("Scoring leaves everything as it was", "pruned before changes parameters"),
    TurnsGradientsOff: ("Scoring leaves everything as it was", "gradient mode"),
    ChangesTheDefaultType: ("Scoring leaves everything as it was", "default dtype"),
    ReadsTheTestSplit: ("Only training data are read", "reads the test split"),
    ScoresOfAnotherShape: ("Scores and masks fit the weights", "must have the shape"),
    ScoresOfOtherNames: ("Scores and masks fit the weights", "missing: first.weight"),
    ScoresMissing: ("Scores and masks fit the weights", "missing: first.weight"),
    ScoresAList: ("Scores and masks fit the weights", "mapping of names to tensors, not list"),
    ScoresNumbers: ("Scores and masks fit the weights", "must be a tensor, not float"),
    NotANumber: ("Scores and masks fit the weights", "contains NaN"),
    MasksOfFloats: ("Scores and masks fit the weights", "not torch.float32"),
    MasksOfAnotherShape: ("Scores and masks fit the weights", "not torch.bool of shape (1152,)"),
    MasksMissing: ("Scores and masks fit the weights", "missing: first.weight"),
    FindsNothing: ("There is something to prune", "leave no weights"),
    TunedBeyondWhatIsAllowed: ("What a tuner may try is allowed", "share: 0.0 is not allowed"),
    TunedByWhatItHasNot: ("What a tuner may try is allowed", "which is no hyperparameter"),
    TunedAwayFromItsDefault: ("What a tuner may try is allowed", "has not the default of share"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", PLANTED, ids=lambda kind: kind.__name__)
def test_a_planted_mistake_is_caught_by_the_check_that_names_it(kind):
    rule, words = PLANTED[kind]
    found = broken_rules(kind())
    assert rule in found
    assert any(words in sentence for sentence in found[rule]), found[rule]


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        UpsideDown,
        FreesWhenGentler,
        UnseededGenerator,
        LeavesEvaluationMode,
        MovesBatchStatistics,
        LeavesAHook,
        GivesWeightsBackInTheMasksGiven,
        PutsOtherMasksInPlace,
        ShrinksWhatIsLeft,
        FindsNothing,
        TunedBeyondWhatIsAllowed,
    ],
    ids=lambda kind: kind.__name__,
)
def test_a_mistake_of_one_kind_is_blamed_on_one_rule(kind):
    assert list(broken_rules(kind())) == [PLANTED[kind][0]]


@pytest.mark.slow
@pytest.mark.parametrize("allocation", [Global(), Uniform()])
@pytest.mark.parametrize("structure_kind", [None, Filters])
@pytest.mark.parametrize("kind", [Signed, UpsideDown])
def test_a_wrong_sign_is_caught_in_any_allocation_and_structure(kind, structure_kind, allocation):
    settings = {"structure": structure_kind()} if structure_kind else {}
    assert PLANTED[kind][0] in broken_rules(kind(allocation=allocation, **settings))


# What the person sees.


class DividesByZero(GlobalMagnitude):
    def score(self, context):
        return {name: weight / (1 // 0) for name, weight in context.weights.items()}


class Refuses(GlobalMagnitude):
    def score(self, context):
        raise UsageError("only transformers can be pruned in this way")


def test_an_exception_becomes_one_sentence_with_the_line_of_the_users_file():
    violations = broken_rules(DividesByZero())["Exactly the budget is kept"]
    line = DividesByZero.score.__code__.co_firstlineno + 1
    assert violations == [
        "perceptron, convolutional network, network with tied weights, LSTM: raises "
        f"ZeroDivisionError: integer division or modulo by zero (test_conformance.py, line {line})"
    ]


def test_a_refusal_is_told_in_its_own_words():
    violations = broken_rules(Refuses())["Exactly the budget is kept"]
    assert violations[0].endswith("is refused: only transformers can be pruned in this way")


@pytest.mark.slow
@pytest.mark.parametrize("kind", [GlobalRandomness, TurnsGradientsOff, ChangesTheDefaultType])
def test_checking_leaves_the_global_state_of_the_process_as_it_was(kind):
    torch.manual_seed(5)
    np.random.seed(5)
    random.seed(5)
    expected = copy.deepcopy((torch.get_rng_state().tolist(), random.getstate()))
    numpys = np.random.get_state()[1].tolist()
    broken_rules(kind())
    assert (torch.get_rng_state().tolist(), random.getstate()) == expected
    assert np.random.get_state()[1].tolist() == numpys
    assert torch.is_grad_enabled()
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.slow
def test_a_verdict_depends_on_no_random_state():
    torch.manual_seed(0)
    first = broken_rules(Signed())
    torch.manual_seed(1)
    assert broken_rules(Signed()) == first
