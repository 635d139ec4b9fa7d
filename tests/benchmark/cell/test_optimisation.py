"""Optimizers, schedules and averages of weights, against those of torch and closed forms."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from trainings import same, small

from prunebench.benchmark.cell.epochs import Purpose, Training, epochs
from prunebench.benchmark.cell.optimisation import WeightAverage, make_optimizer
from prunebench.benchmark.cell.training import train
from prunebench.benchmark.recipe import Recipe
from prunebench.errors import UsageError
from prunebench.seeding import generator
from prunebench.strategies import (
    SparseTraining,
)


def test_the_cosine_schedule_ends_at_zero(digits):
    model = small()
    recipe = Recipe(epochs=2, optimizer="SGD", learning_rate=0.1, learning_rate_schedule="cosine")
    steps = -(-digits.size("train") // recipe.batch_size) * recipe.epochs
    sizes, before = [], [p.detach().clone() for p in model.parameters()]

    class Recorder(SparseTraining):
        @torch.no_grad()
        def after_step(self):
            grads = sum(p.grad.square().sum() for p in model.parameters()).sqrt()
            pairs = list(zip(model.parameters(), before, strict=True))
            moved = sum((p - q).square().sum() for p, q in pairs).sqrt()
            sizes.append(float(moved / grads))
            for p, q in pairs:
                q.copy_(p)

    for _ in epochs(Training(model, digits, recipe, Purpose(0, "test"), Recorder(model, {}))):
        pass
    expected = 0.05 * (1 + torch.cos(torch.pi * torch.arange(steps) / steps))
    assert torch.allclose(torch.tensor(sizes), expected, rtol=0.02, atol=1e-5)


def test_the_step_schedule_divides_the_learning_rate_by_ten_at_its_drops(digits):
    seen = []

    class Recorder(SparseTraining):
        def after_step(self):
            seen.append(self._optimizer.param_groups[0]["lr"])

    recipe = Recipe(
        epochs=2, optimizer="SGD", learning_rate=0.1, learning_rate_schedule="step",
        learning_rate_drops=(0.5, 0.75),
    )  # fmt: skip
    for _ in epochs(Training(small(), digits, recipe, Purpose(0, "test"), Recorder(small(), {}))):
        pass
    steps = len(seen)
    first, second = round(steps * 0.5), round(steps * 0.75)
    assert seen[:first] == pytest.approx([0.1] * first)
    assert seen[first:second] == pytest.approx([0.01] * (second - first))
    assert seen[second:] == pytest.approx([0.001] * (steps - second))


def learning_rates(digits, **settings):
    """The learning rate of each step of a training."""
    seen = []

    class Recorder(SparseTraining):
        def after_step(self):
            seen.append(self._optimizer.param_groups[0]["lr"])

    recipe = Recipe(epochs=4, optimizer="SGD", learning_rate=0.1, **settings)
    for _ in epochs(Training(small(), digits, recipe, Purpose(0, "test"), Recorder(small(), {}))):
        pass
    return seen


def test_the_linear_schedule_falls_evenly_to_zero(digits):
    seen = learning_rates(digits, learning_rate_schedule="linear")
    expected = [0.1 * (1 - step / len(seen)) for step in range(len(seen))]
    assert seen == pytest.approx(expected, abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["constant", "cosine", "linear", "step"])
def test_warming_up_scales_the_schedule_until_it_is_reached(digits, schedule):
    plain = learning_rates(digits, learning_rate_schedule=schedule)
    warmed = learning_rates(digits, learning_rate_schedule=schedule, warmup_epochs=1.5)
    steps = round(1.5 * len(plain) / 4)
    factors = [
        1 / (steps + 1) + (1 - 1 / (steps + 1)) * min(step, steps) / steps
        for step in range(len(plain))
    ]
    assert warmed == pytest.approx([a * b for a, b in zip(plain, factors, strict=True)], abs=1e-9)
    assert warmed[0] == pytest.approx(0.1 / (steps + 1))


def test_nesterovs_momentum_is_that_of_torch(digits):
    ours, theirs = small(), small()
    recipe = Recipe(epochs=1, optimizer="SGD", learning_rate=0.05, momentum=0.9, nesterov=True)
    for _ in epochs(Training(ours, digits, recipe, Purpose(3, "test"))):
        pass
    steps = torch.optim.SGD(theirs.parameters(), lr=0.05, momentum=0.9, nesterov=True, fused=True)
    for x, y in digits.batches("train", 64, generator(3, "test", "order", 1)):
        steps.zero_grad()
        F.cross_entropy(theirs(x), y).backward()
        steps.step()
    assert same(ours, theirs)


def test_weights_are_averaged_while_training_goes_on_from_its_own(digits):
    model, plain, averages = small(), small(), []
    recipe = Recipe(epochs=2, batch_size=256)
    after_epochs = []
    for _ in epochs(
        Training(
            model, digits, recipe.model_copy(update={"weight_averaging": 0.8}), Purpose(0, "test")
        )
    ):
        averages.append([p.detach().clone() for p in model.parameters()])
    expected = [p.detach().clone() for p in plain.parameters()]

    class Watching(SparseTraining):
        @torch.no_grad()
        def after_step(self):
            for average, parameter in zip(expected, plain.parameters(), strict=True):
                average.mul_(0.8).add_(parameter, alpha=0.2)

    for _ in epochs(Training(plain, digits, recipe, Purpose(0, "test"), Watching(plain, {}))):
        after_epochs.append([average.clone() for average in expected])
    for ours, theirs in zip(averages, after_epochs, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            assert torch.allclose(one, other, atol=1e-6)
    assert same(model, plain)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_averages_move_in_any_precision(dtype):
    model = nn.Linear(1, 1).to(dtype)
    average = WeightAverage(model, 0.999)
    before = model.weight.item()
    with torch.no_grad():
        model.weight += 1
    after = model.weight.item()
    for _ in range(1_000):
        average.update()
    with average.in_place():
        moved = before + (after - before) * (1 - 0.999**1_000)
        assert model.weight.item() == pytest.approx(moved, abs=0.01)
        assert model.weight.dtype == dtype
    assert model.weight.item() == after


def test_averages_of_pruned_weights_are_zero(digits):
    model = small()
    masks = {"linear1.weight": torch.rand(model.linear1.weight.shape) > 0.7}
    sparsity = SparseTraining(model, masks)
    sparsity.apply()
    train(
        Training(
            model, digits, Recipe(epochs=2, weight_averaging=0.9), Purpose(0, "test"), sparsity
        )
    )
    assert (model.linear1.weight[~masks["linear1.weight"]] == 0).all()
    assert model.linear1.weight[masks["linear1.weight"]].all()


class Later(nn.Module):
    """A layer that has no part in the first two steps, and another."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(64, 10), nn.Linear(10, 10)
        self.calls = 0

    def forward(self, x):
        self.calls += self.training
        found = self.first(x.flatten(1))
        return found if self.calls <= 2 else self.second(found)


def test_a_layer_may_learn_later_than_others(digits):
    ours = Later()
    theirs = copy.deepcopy(ours)
    recipe = Recipe(epochs=1, optimizer="SGD", learning_rate=0.05, momentum=0.9)
    list(epochs(Training(ours, digits, recipe, Purpose(3, "test"))))
    steps = torch.optim.SGD(theirs.parameters(), lr=0.05, momentum=0.9)
    for x, y in digits.batches("train", 64, generator(3, "test", "order", 1)):
        steps.zero_grad()
        F.cross_entropy(theirs(x), y).backward()
        steps.step()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_momentum_begins_with_the_bits_of_the_first_gradient():
    """Negative zeros are no others: the next step takes their sign over."""
    ours, theirs = (nn.Parameter(torch.tensor([0.0, -0.0, 1.0, -1.0])) for _ in range(2))
    recipe = Recipe(epochs=1, optimizer="SGD", learning_rate=0.1, momentum=0.9)
    optimizers = (
        make_optimizer([ours], recipe),
        torch.optim.SGD([theirs], lr=0.1, momentum=0.9, fused=True),
    )
    for gradient in ([-0.0, -0.0, 1.0, -1.0], [0.0, -0.0, -0.0, 0.0]):
        for parameter, optimizer in zip((ours, theirs), optimizers, strict=True):
            parameter.grad = torch.tensor(gradient)
            optimizer.step()
        assert torch.equal(ours.view(torch.int32), theirs.view(torch.int32))
        one, other = (each.state_dict()["state"][0]["momentum_buffer"] for each in optimizers)
        assert torch.equal(one.view(torch.int32), other.view(torch.int32))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"nesterov": True}, "nesterov: True is not allowed: it needs a momentum"),
        ({"epochs": 2, "warmup_epochs": 2.0}, "warmup_epochs: 2 is not allowed"),
    ],
)
def test_recipes_that_contradict_themselves_are_refused(settings, sentence):
    with pytest.raises(UsageError, match=sentence):
        Recipe(**settings)


def test_averaging_is_refused_where_a_method_changes_weights_itself(experiment):
    with pytest.raises(UsageError, match=r"weight_averaging: 0\.99 is not allowed: RigL"):
        experiment(strategy="RigL", finetuning={"epochs": 2, "weight_averaging": 0.99})


@pytest.mark.parametrize("settings", [{"timing": "DuringTraining"}, {"strategy": "RigL"}])
def test_averaging_is_that_of_the_recipe_by_which_a_recovery_trains(experiment, settings):
    averaged = {"epochs": 2, "weight_averaging": 0.9}
    rewinding = {**settings, "recovery": "RewindLearningRate"}
    words = r"pretraining.weight_averaging: 0\.9 is not allowed: .* by the pretraining recipe"
    with pytest.raises(UsageError, match=words):
        experiment(**rewinding, pretraining=averaged)
    experiment(**rewinding, finetuning=averaged)
    experiment(**settings, pretraining=averaged)
