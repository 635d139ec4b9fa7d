"""What scoring must not change, and what becomes of a run in which it does."""

import pytest
import torch
from contexts import context_of

import prunebench
from prunebench import UsageError
from prunebench.models import ResNetSmall
from prunebench.strategies import (
    STRATEGIES,
    GlobalMagnitude,
    MaskedWeights,
)


class Writing(GlobalMagnitude):
    """Magnitude, after writing to what is given."""

    def score(self, context):
        scores = super().score(context)
        self.write(context)
        return scores


class HalvesWeights(Writing):
    def write(self, context):
        context.weights["conv.weight"].mul_(0.5)


class ClampsData(Writing):
    def write(self, context):
        context.model.get_parameter("conv.weight").data.clamp_(-0.1, 0.1)


class WritesByNumpy(Writing):
    def write(self, context):
        context.weights["conv.weight"].numpy()[0] = 0


class MovesStatistics(Writing):
    def write(self, context):
        context.model.train()
        with torch.no_grad():
            context.model(next(context.batches(1, 8))[0])


class GivesWeightsBack(Writing):
    def write(self, context):
        for mask in context.masks.values():
            if not mask.all():
                mask.fill_(True)


class ExchangesWeights(Writing):
    """As many as before are kept."""

    def write(self, context):
        for mask in context.masks.values():
            if not mask.all():
                mask.copy_(mask.flip(0))


class PutsOtherMasksInPlace(Writing):
    def write(self, context):
        context.masks.update({name: mask.clone() for name, mask in context.masks.items()})


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (HalvesWeights, "conv.weight of the network"),
        (ClampsData, "conv.weight of the network"),
        (WritesByNumpy, "conv.weight of the network"),
        (MovesStatistics, "norm.running_mean of the network and"),
        (GivesWeightsBack, r"context.masks\['conv.weight'\] and"),
        (ExchangesWeights, r"context.masks\['conv.weight'\] and"),
        (PutsOtherMasksInPlace, r"context.masks\['conv.weight'\] and"),
    ],
)
def test_a_score_that_writes_to_what_it_is_given_is_refused_by_name(kind, what, digits):
    model, strategy = ResNetSmall(), kind()
    masks = {name: weight != 0 for name, weight in model.named_parameters() if weight.ndim > 1}
    for mask in masks.values():
        mask[0] = False
    with pytest.raises(UsageError, match=f"strategy {kind.__name__}: scoring changes {what}"):
        strategy.prune(context_of(model, digits, strategy=strategy, masks=masks), 1_000)


class Counting(torch.nn.Module):
    """Counts its passes in evaluation too."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(64, 10)
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, images):
        self.passes += 1
        return self.layer(images.flatten(1))


def test_a_network_that_changes_its_buffers_in_evaluation_is_told_so(digits):
    strategy = STRATEGIES.component("Wanda").create()
    with pytest.raises(UsageError, match=r"changes passes of the .*where self\.training is true"):
        strategy.prune(context_of(Counting(), digits, strategy=strategy), 300)


@pytest.mark.slow
@pytest.mark.parametrize("name", STRATEGIES.names())
def test_no_strategy_of_ours_is_suspected_in_the_first_round_or_the_second(name, digits, frugal):
    model, strategy = ResNetSmall(), frugal(name)
    first = context_of(model, digits, strategy=strategy)
    strategy.prune(first, 15_000)
    before = {name: mask.clone() for name, mask in first.masks.items()}
    for mask in before.values():
        mask[0] = False
    MaskedWeights(model, before).apply()
    after = strategy.prune(context_of(model, digits, strategy=strategy, masks=before), 10_000).masks
    assert not any((after[each] & ~mask).any() for each, mask in before.items())


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [1, 2])
def test_a_run_in_which_scoring_changes_weights_fails_and_says_why(rounds, experiment, tmp_path):
    file = tmp_path / "careless.py"
    file.write_text(
        "from prunebench.strategies import ScoredStrategy\n\n"
        "class Careless(ScoredStrategy):\n"
        "    def score(self, context):\n"
        "        return {name: weight.abs_() for name, weight in context.weights.items()}\n"
    )
    record = prunebench.run(
        experiment(strategy=f"{file}:Careless", rounds=rounds), runs=tmp_path / "runs"
    )
    assert record.status == "failed"
    assert record.error.message.startswith(
        "strategy Careless: scoring changes conv1.weight of the network and 3 more in place"
    )
