"""Training against a loop written out by hand."""

import copy

import pytest
import torch
from torch.nn import functional as F

from prunebench.benchmark.experiment import Recipe
from prunebench.benchmark.training import Purpose, epochs, quality, train
from prunebench.models import LeNet300100, LeNetDropout, LeNetSmall
from prunebench.seeding import generator
from prunebench.strategies import SparseTraining


def small():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LeNetSmall()


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize(
    ("recipe", "optimizer"),
    [
        (
            Recipe(epochs=2, optimizer="SGD", learning_rate=0.05, momentum=0.9, weight_decay=1e-3),
            lambda ps: torch.optim.SGD(ps, lr=0.05, momentum=0.9, weight_decay=1e-3, fused=True),
        ),
        (
            Recipe(epochs=2, learning_rate=3e-3),
            lambda ps: torch.optim.Adam(ps, lr=3e-3, fused=True),
        ),
        (
            Recipe(epochs=2, optimizer="AdamW", weight_decay=0.1),
            lambda ps: torch.optim.AdamW(ps, lr=1e-3, weight_decay=0.1, fused=True),
        ),
    ],
)
def test_training_equals_a_loop_written_out_bit_for_bit(digits, recipe, optimizer):
    ours, theirs = small(), small()
    for _ in epochs(ours, digits, recipe, Purpose(3, "test")):
        pass
    steps = optimizer(theirs.parameters())
    for epoch in (1, 2):
        for x, y in digits.batches("train", 64, generator(3, "test", "order", epoch)):
            steps.zero_grad()
            F.cross_entropy(theirs(x), y).backward()
            steps.step()
    assert same(ours, theirs)


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

    for _ in epochs(model, digits, recipe, Purpose(0, "test"), Recorder(model, {})):
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
    for _ in epochs(small(), digits, recipe, Purpose(0, "test"), Recorder(small(), {})):
        pass
    steps = len(seen)
    first, second = round(steps * 0.5), round(steps * 0.75)
    assert seen[:first] == pytest.approx([0.1] * first)
    assert seen[first:second] == pytest.approx([0.01] * (second - first))
    assert seen[second:] == pytest.approx([0.001] * (steps - second))


def test_the_epoch_that_validates_best_is_kept_even_if_training_then_goes_astray(
    digits, monkeypatch
):
    scores = iter([0.3, 0.9, 0.5])
    states = []

    def validation(model, task, split):
        assert split == "validation"
        states.append(copy.deepcopy(model.state_dict()))
        return {"top1": next(scores), "loss": 1.0}

    monkeypatch.setattr("prunebench.benchmark.training.quality", validation)
    model = small()
    chosen = train(model, digits, Recipe(epochs=3), Purpose(0, "test"))
    assert chosen["top1"] == 0.9
    assert all(torch.equal(model.state_dict()[n], t) for n, t in states[1].items())
    assert not torch.equal(states[1]["linear1.weight"], states[2]["linear1.weight"])


def test_data_order_and_dropout_depend_on_seed_and_purpose_alone(digits):
    def trained(seed, name, disturbance):
        torch.manual_seed(disturbance)
        model = LeNetDropout(input_shape=(1, 28, 28))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(0.01)
        shape = copy.copy(digits)
        shape.batches = lambda *a: ((F.interpolate(x, size=28), y) for x, y in digits.batches(*a))
        torch.manual_seed(disturbance)
        for _ in epochs(model, shape, Recipe(epochs=1, batch_size=256), Purpose(seed, name)):
            pass
        return model

    first = trained(0, "a", disturbance=1)
    assert same(first, trained(0, "a", disturbance=2))
    assert not same(first, trained(1, "a", disturbance=1))
    assert not same(first, trained(0, "b", disturbance=1))


def test_training_leaves_the_global_random_state_alone(digits):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    for _ in epochs(small(), digits, Recipe(epochs=1), Purpose(0, "test")):
        pass
    assert torch.equal(torch.get_rng_state(), before)


def test_frozen_parameters_are_not_trained(digits):
    model = LeNet300100(input_shape=(1, 8, 8))
    model.linear1.weight.requires_grad_(False)
    before = model.linear1.weight.clone()
    train(model, digits, Recipe(epochs=1, weight_decay=0.1), Purpose(0, "test"))
    assert torch.equal(model.linear1.weight, before)


def test_a_diverged_epoch_is_never_preferred(digits, monkeypatch):
    scores = iter([float("nan"), 0.2, float("nan")])
    monkeypatch.setattr(
        "prunebench.benchmark.training.quality", lambda *a: {"top1": next(scores), "loss": 0.0}
    )
    assert train(small(), digits, Recipe(epochs=3), Purpose(0, "t"))["top1"] == 0.2


def test_quality_is_measured_in_evaluation_mode_and_leaves_the_mode_alone(digits):
    model = small().train()
    assert quality(model, digits, "test") == quality(model, digits, "test")
    assert model.training
