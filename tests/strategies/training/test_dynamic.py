"""Methods that exchange weights while the network trains, or hide them."""

import pytest
import torch
from contexts import context_of
from one_layer import OneLayer, gradient_at, step_by_hand
from torch.nn import functional as F

from prunebench.errors import UsageError
from prunebench.strategies import (
    SET,
    STRATEGIES,
    DynamicNetworkSurgery,
    RigL,
)


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
