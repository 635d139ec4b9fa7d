"""Methods that change masks while the network trains, on the benchmark's own training loop."""

import copy

import pytest
import torch
from contexts import context_of
from torch import nn
from torch.nn import functional as F

from prunebench.benchmark.cell.epochs import Purpose, epochs
from prunebench.benchmark.cell.training import train
from prunebench.benchmark.experiment import Recipe
from prunebench.errors import UsageError
from prunebench.models import LeNetSmall
from prunebench.seeding import generator
from prunebench.strategies import (
    SET,
    STR,
    STRATEGIES,
    DynamicNetworkSurgery,
    GlobalMagnitude,
    GradualTraining,
    HardConcrete,
    Movement,
    RigL,
    SparseTraining,
    StraightThrough,
    kept,
)

DYNAMIC = [
    SET(),
    RigL(),
    DynamicNetworkSurgery(),
    STR(),
    HardConcrete(),
    Movement(),
    StraightThrough(),
]
BUDGET = 5_000


def small():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LeNetSmall()


def trained(strategy, task, masks=None, budget=BUDGET, **recipe):
    model = small()
    sparsity = strategy.prune(context_of(model, task, masks=masks), budget)
    settings = {"epochs": 2, "optimizer": "SGD", "learning_rate": 0.05, "momentum": 0.9}
    train(model, task, Recipe(**(settings | recipe)), Purpose(0, "test"), sparsity)
    return model, sparsity


def nonzero_where_pruned(model, masks):
    weights = dict(model.named_parameters())
    return sum(int(weights[name][~mask].count_nonzero()) for name, mask in masks.items())


# What all of them have in common.


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
@pytest.mark.parametrize("strategy", DYNAMIC, ids=str)
def test_training_ends_with_exactly_the_budget_and_zeros_elsewhere(digits, strategy, optimizer):
    momentum = 0.9 if optimizer == "SGD" else 0.0
    rate = 0.05 if optimizer == "SGD" else 1e-3
    model, sparsity = trained(
        strategy, digits, optimizer=optimizer, momentum=momentum, learning_rate=rate
    )
    if isinstance(strategy, SET | RigL):  # ERK rounds in each of the four layers
        assert abs(kept(sparsity.masks) - BUDGET) <= 2
    else:
        assert kept(sparsity.masks) == BUDGET
    assert nonzero_where_pruned(model, sparsity.masks) == 0


@pytest.mark.slow
@pytest.mark.parametrize("strategy", DYNAMIC, ids=str)
def test_what_an_earlier_round_pruned_stays_zero(digits, strategy):
    earlier = GlobalMagnitude().masks(context_of(small(), digits), 20_000)
    model, sparsity = trained(strategy, digits, earlier)
    assert nonzero_where_pruned(model, earlier) == 0
    for name, mask in sparsity.masks.items():
        assert not (mask & ~earlier[name]).any()


@pytest.mark.slow
@pytest.mark.parametrize("strategy", DYNAMIC, ids=str)
def test_the_same_seed_gives_the_same_network(digits, strategy):
    one, other = (trained(strategy, digits, epochs=2)[0] for _ in range(2))
    for first, second in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(first, second)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", DYNAMIC, ids=str)
def test_masks_change_in_training_and_the_network_learns(digits, strategy):
    model = small()
    context = context_of(model, digits)
    before = strategy.masks(context, BUDGET)
    model, sparsity = trained(strategy, digits, epochs=8)
    changed = sum(int((before[name] != mask).sum()) for name, mask in sparsity.masks.items())
    assert changed > 100
    with torch.no_grad():
        images, labels = next(digits.batches("test", 1000))
        assert (model.eval()(images).argmax(1) == labels).float().mean() > 0.7


@pytest.mark.slow
@pytest.mark.parametrize("strategy", DYNAMIC, ids=str)
def test_an_epoch_is_chosen_only_when_the_masks_are_settled(digits, strategy, monkeypatch):
    from prunebench.benchmark.cell import training

    measured = []

    def falling(model, task, split):
        measured.append(1.0)
        return {"top1": 1 - 0.1 * len(measured), "loss": 1.0}

    monkeypatch.setattr(training, "quality", falling)
    model, sparsity = trained(strategy, digits, epochs=4)
    assert 1 <= len(measured) <= 4
    assert abs(kept(sparsity.masks) - BUDGET) <= 2
    assert nonzero_where_pruned(model, sparsity.masks) == 0  # masks and weights of one epoch


# Gradual pruning.


def test_gradual_training_prunes_at_equal_intervals_between_begin_and_end(digits):
    model = small()
    strategy, seen, calls = GlobalMagnitude(), [], []
    context = context_of(model, digits)

    def tighten(number, masks):
        calls.append(number)
        return strategy.masks(context_of(model, digits, masks=masks), 70_000 - 10_000 * number)

    class Watched(GradualTraining):
        def after_step(self):
            super().after_step()
            seen.append(kept(self.masks))

    sparsity = Watched(model, dict(context.masks), tighten, 5, 0.25, 0.75)
    recipe = Recipe(epochs=4, batch_size=128)
    steps = 4 * -(-digits.size("train") // 128)
    finished = [sparsity.settled for _ in epochs(model, digits, recipe, Purpose(0, "t"), sparsity)]
    assert calls == [1, 2, 3, 4, 5]
    assert finished == [False, False, True, True]
    assert len(seen) == steps
    first = next(i for i, count in enumerate(seen, 1) if count < kept(context.masks))
    last = next(i for i, count in enumerate(seen, 1) if count == 20_000)
    assert first == pytest.approx(steps * 0.35, abs=1)
    assert last == pytest.approx(steps * 0.75, abs=1)
    assert nonzero_where_pruned(model, sparsity.masks) == 0


def test_gradual_training_of_more_rounds_than_steps_still_ends_with_the_last(digits):
    model = small()
    context = context_of(model, digits)

    def tighten(number, masks):
        return GlobalMagnitude().masks(
            context_of(model, digits, masks=masks), 70_000 - 1_000 * number
        )

    sparsity = GradualTraining(model, dict(context.masks), tighten, 50, 0.0, 1.0)
    train(model, digits, Recipe(epochs=1, batch_size=512), Purpose(0, "t"), sparsity)
    assert kept(sparsity.masks) == 20_000


# Exchange of weights: SET and RigL.


class OneLayer(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(20, 10, bias=False)

    def forward(self, inputs):
        return self.layer(inputs)


def one_exchange(strategy):
    """A layer before and after the first step of a training in which every step exchanges."""
    model = OneLayer()
    context = context_of(model)
    sparsity = strategy.prune(context, 80)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    sparsity.start(optimizer, 10_000)
    inputs, targets = torch.randn(50, 20), torch.randn(50, 10)
    for _ in range(strategy_interval := 10_000 // strategy.updates):
        before = sparsity.masks["layer.weight"]
        optimizer.zero_grad()
        F.mse_loss(model(inputs), targets).backward()
        sparsity.after_backward()
        gradient = model.layer.weight.grad.clone()
        optimizer.step()
        moved = (model.layer.weight.detach() * before).clone()
        sparsity.after_step()
    assert strategy_interval > 1
    return model, sparsity, before, moved, gradient, optimizer


def test_rigl_drops_the_smallest_weights_and_grows_those_of_largest_gradient():
    strategy = RigL(updates=100, until=1.0, fraction=0.5)
    model, sparsity, before, moved, gradient, optimizer = one_exchange(strategy)
    count = round(0.25 * (1 + torch.cos(torch.tensor(torch.pi / 100)).item()) * 80)
    smallest = moved.abs().masked_fill(~before, torch.inf).flatten().argsort()[:count]
    stay = before.clone().flatten()
    stay[smallest] = False
    worth = gradient.abs().flatten().masked_fill(stay, -1)
    expected = stay.clone()
    expected[worth.argsort(descending=True)[:count]] = True
    mask = sparsity.masks["layer.weight"]
    assert torch.equal(mask.flatten(), expected)
    fresh = mask & ~before
    assert fresh.any()
    assert not model.layer.weight[fresh].any()  # what grows starts at zero,
    momentum = optimizer.state[model.layer.weight]["momentum_buffer"]
    assert not momentum[fresh].any()  # and so does its momentum
    assert momentum[mask & before].any()


def test_set_grows_at_random_and_drops_as_many():
    strategy = SET(updates=100, until=1.0, fraction=0.5)
    model, sparsity, before, _, gradient, _ = one_exchange(strategy)
    mask = sparsity.masks["layer.weight"]
    assert int(mask.sum()) == int(before.sum()) == 80
    grown = (mask & ~before).flatten()
    assert 10 < int(grown.sum()) <= 40
    assert not model.layer.weight[mask & ~before].any()
    ranks = gradient.abs().flatten().argsort().argsort()[grown].float()
    assert 50 < ranks.mean() < 150  # of 200; RigL's are near the top


@pytest.mark.parametrize("kind", [SET, RigL])
def test_an_exchange_of_single_weights_has_no_structure(kind):
    with pytest.raises(UsageError, match="unknown option 'structure'"):
        STRATEGIES.component(f"{kind.__name__}(structure=Filters())")


# Weights that are computed from latent ones.


def step_by_hand(strategy, steps=1, lr=0.1, budget=80):
    """The layer after some steps of plain gradient descent, and what its training remembers."""
    model = OneLayer()
    context = context_of(model)
    initial = model.layer.weight.detach().clone()
    sparsity = strategy.prune(context, budget)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    sparsity.start(optimizer, 100)
    torch.manual_seed(5)
    inputs, targets = torch.randn(50, 20), torch.randn(50, 10)
    seen = []
    for _ in range(steps):
        seen.append(model.layer.weight.detach().clone())
        optimizer.zero_grad()
        F.mse_loss(model(inputs), targets).backward()
        sparsity.after_backward()
        optimizer.step()
        sparsity.after_step()
    seen.append(model.layer.weight.detach().clone())
    return initial, seen, inputs, targets


def gradient_at(weight, inputs, targets):
    weight = weight.clone().requires_grad_()
    F.mse_loss(inputs @ weight.T, targets).backward()
    return weight.grad


def test_soft_thresholds_take_the_steps_of_the_formula_for_weights_and_threshold():
    strategy = STR(until=0.9, initial=-2.0, learning_rate=0.3, decay=0.01)
    theta, seen, inputs, targets = step_by_hand(strategy)
    s = torch.tensor(-2.0)

    def soft(weights, threshold):
        return weights.sign() * (weights.abs() - threshold.sigmoid()).clamp(min=0)

    assert torch.allclose(seen[0], soft(theta, s))
    g = gradient_at(seen[0], inputs, targets)
    is_open = theta.abs() > s.sigmoid()
    slope = s.sigmoid() * (1 - s.sigmoid())
    s_gradient = -(g * theta.sign() * is_open).sum() * slope
    expected = soft(theta - 0.1 * g * is_open, s - 0.3 * (s_gradient + 0.01 * s))
    assert torch.allclose(seen[1], expected, atol=1e-6)


def test_network_surgery_trains_what_is_not_seen():
    theta, seen, inputs, targets = step_by_hand(DynamicNetworkSurgery(updates=1, until=0.9))
    largest = theta.abs() >= theta.abs().flatten().sort().values[-80]
    assert torch.equal(seen[0], theta * largest)
    g = gradient_at(seen[0], inputs, targets)
    assert torch.allclose(seen[1], (theta - 0.1 * g) * largest, atol=1e-6)
    # After many steps a weight that was hidden has grown and is seen.
    _, later, _, _ = step_by_hand(DynamicNetworkSurgery(updates=90, until=0.9), steps=80, lr=1.0)
    assert int((later[-1] != 0).sum()) == 80
    assert ((later[-1] != 0) & ~largest).any()


def test_movement_keeps_what_moved_away_from_zero():
    strategy = Movement(updates=1, until=0.1)
    theta, seen, inputs, targets = step_by_hand(strategy, steps=10, lr=0.05)
    assert torch.equal(seen[0], theta)
    score = torch.zeros_like(theta)
    weight = theta.clone()
    for _ in range(10):
        g = gradient_at(weight, inputs, targets)
        score -= weight * g
        weight = weight - 0.05 * g
    keep = score >= score.flatten().sort().values[-80]
    assert torch.allclose(seen[-1], weight * keep, atol=1e-5)


def test_straight_through_scores_take_the_gradient_of_the_mask():
    strategy = StraightThrough(updates=90, until=0.9, learning_rate=2.0)
    theta, seen, inputs, targets = step_by_hand(strategy)
    largest = theta.abs() >= theta.abs().flatten().sort().values[-80]
    mask = largest.float().requires_grad_()
    F.mse_loss(inputs @ (theta * mask).T, targets).backward()
    score = theta.abs() - 2.0 * mask.grad
    g = gradient_at(theta * largest, inputs, targets)
    keep = score >= score.flatten().sort().values[-80]
    assert torch.allclose(seen[1], (theta - 0.1 * g * largest) * keep, atol=1e-6)
    assert not torch.equal(keep, largest)


def test_gates_are_open_as_often_as_is_asked_and_close_under_the_penalty():
    def closed(penalty, steps):
        strategy = HardConcrete(until=0.99, penalty=penalty, openness=0.7, learning_rate=0.1)
        _, seen, _, _ = step_by_hand(strategy, steps=steps, lr=1e-4)
        return torch.stack([weights == 0 for weights in seen]).float()

    assert closed(0.0, 0).mean().item() == pytest.approx(0.3, abs=0.1)
    assert closed(0.0, 5).mean().item() == pytest.approx(0.3, abs=0.05)
    assert closed(100.0, 60)[-1].mean() > closed(0.0, 60)[-1].mean() + 0.3


def test_the_penalty_of_gates_is_the_expected_number_of_open_ones():
    strategy = HardConcrete(openness=0.7, penalty=1.0)
    model = OneLayer()
    context = context_of(model)
    sparsity = strategy.prune(context, 80)
    assert sparsity.penalty().item() == pytest.approx(0.7, abs=1e-5)


def test_fixed_masks_train_as_a_loop_with_masked_weights_does(digits):
    model = small()
    strategy = GlobalMagnitude()
    sparsity = strategy.prune(context_of(model, digits), BUDGET)
    by_hand = copy.deepcopy(model)
    assert type(sparsity) is SparseTraining
    recipe = Recipe(epochs=1, optimizer="SGD", learning_rate=0.05, momentum=0.9)
    for _ in epochs(model, digits, recipe, Purpose(0, "test"), sparsity):
        pass
    weights = dict(by_hand.named_parameters())
    optimizer = torch.optim.SGD(by_hand.parameters(), lr=0.05, momentum=0.9, fused=True)
    for batch in digits.batches("train", 64, generator(0, "test", "order", 1)):
        optimizer.zero_grad()
        digits.loss(by_hand, batch).backward()
        optimizer.step()
        with torch.no_grad():
            for name, mask in sparsity.masks.items():
                weights[name] *= mask
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, weights[name])
