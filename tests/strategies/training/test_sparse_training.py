"""Methods that change masks while the network trains, on the benchmark's own training loop."""

import copy

import pytest
import torch
from contexts import context_of

from prunebench.benchmark.cell.epochs import Purpose, Training, epochs
from prunebench.benchmark.cell.training import train
from prunebench.benchmark.recipe import Recipe
from prunebench.models import LeNetSmall
from prunebench.seeding import generator
from prunebench.strategies import (
    SET,
    STR,
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
    train(Training(model, task, Recipe(**(settings | recipe)), Purpose(0, "test"), sparsity))
    return model, sparsity


def nonzero_where_pruned(model, masks):
    weights = dict(model.named_parameters())
    return sum(int(weights[name][~mask].count_nonzero()) for name, mask in masks.items())


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
    finished = [
        sparsity.settled for _ in epochs(Training(model, digits, recipe, Purpose(0, "t"), sparsity))
    ]
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
    train(Training(model, digits, Recipe(epochs=1, batch_size=512), Purpose(0, "t"), sparsity))
    assert kept(sparsity.masks) == 20_000


def test_fixed_masks_train_as_a_loop_with_masked_weights_does(digits):
    model = small()
    strategy = GlobalMagnitude()
    sparsity = strategy.prune(context_of(model, digits), BUDGET)
    by_hand = copy.deepcopy(model)
    assert type(sparsity) is SparseTraining
    recipe = Recipe(epochs=1, optimizer="SGD", learning_rate=0.05, momentum=0.9)
    for _ in epochs(Training(model, digits, recipe, Purpose(0, "test"), sparsity)):
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
