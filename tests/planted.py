"""Strategies with planted mistakes, and which rule of the kit each breaks, in which words."""

import random
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from pydantic import Field

from prunebench.benchmark.conformance.checks import CHECKS
from prunebench.strategies import (
    GlobalMagnitude,
    Random,
    ScoredStrategy,
    SparseGPT,
    SparseTraining,
    Units,
    evaluation_mode,
)


def broken_rules(strategy: ScoredStrategy) -> dict[str, list[str]]:
    found = {check.rule: check.violations(strategy) for check in CHECKS}
    return {rule: violations for rule, violations in found.items() if violations}


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
"""Strategy → the rule that it breaks, and words of the sentence that says so."""
