"""Methods that learn what is pruned, step by step by their formulas."""

import pytest
import torch
from contexts import context_of
from one_layer import OneLayer, gradient_at, step_by_hand
from torch.nn import functional as F

from prunebench.strategies import (
    STR,
    HardConcrete,
    Movement,
    StraightThrough,
)


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
