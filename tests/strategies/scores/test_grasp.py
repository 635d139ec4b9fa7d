"""GraSP, against finite differences and on a quadratic where the answer is known."""

import pytest
import torch
from contexts import context_of
from torch import nn

from prunebench.benchmark.conformance.networks import Synthetic
from prunebench.strategies import GraSP


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(36, 10), nn.Tanh(), nn.Linear(10, 4)).double()


class InDouble(Synthetic):
    def batches(self, *arguments):
        for inputs, labels in super().batches(*arguments):
            yield inputs.double(), labels


def gradient(model, task, temperature):
    (batch,) = task.batches("train", 256)
    loss = nn.functional.cross_entropy(model(batch[0]) / temperature, batch[1])
    names = ["0.weight", "2.weight"]
    parameters = dict(model.named_parameters())
    return dict(zip(names, torch.autograd.grad(loss, [parameters[n] for n in names]), strict=True))


@pytest.mark.parametrize("temperature", [1.0, 200.0])
def test_the_score_is_w_times_a_finite_difference_of_the_gradient_along_itself(temperature):
    model, task = network(), InDouble()
    strategy = GraSP(batches=1, batch_size=256, temperature=temperature)
    found = strategy.score(context_of(model, task))
    slope = gradient(model, task, temperature)
    step = 1e-4 * temperature
    sides = []
    for sign in (1, -1):
        moved = network()
        with torch.no_grad():
            for name, parameter in moved.named_parameters():
                if name in slope:
                    parameter.add_(slope[name], alpha=sign * step)
        sides.append(gradient(moved, task, temperature))
    weights = dict(model.named_parameters())
    for name in slope:
        product = (sides[0][name] - sides[1][name]) / (2 * step)
        expected = weights[name].detach() * product
        assert torch.allclose(found[name], expected, atol=1e-5 * float(expected.abs().max())), name


def test_a_batch_more_or_less_is_the_mean_over_examples():
    one = GraSP(batches=1, batch_size=256).score(context_of(network(), InDouble()))
    many = GraSP(batches=3, batch_size=100).score(context_of(network(), InDouble()))
    for name in one:  # 100 + 100 + 56 are all 256 examples once
        assert torch.allclose(one[name], many[name], rtol=1e-8, atol=1e-18)


def test_weights_whose_removal_lowers_the_gradient_norm_most_are_kept():
    """The first-order effect of a small shrinking of w on ½‖g‖² is −w·Hg: its sign is checked."""
    model, task = network(), InDouble()
    found = GraSP(batches=1, batch_size=256, temperature=1.0).score(context_of(model, task))
    (place,) = (found["2.weight"] == found["2.weight"].max()).nonzero().tolist()

    def half_norm(model):
        return 0.5 * sum(g.square().sum() for g in gradient(model, task, 1.0).values())

    before = half_norm(model)
    with torch.no_grad():
        model[2].weight[tuple(place)] *= 1 - 1e-4
    change = (half_norm(model) - before) / 1e-4
    assert change.item() == pytest.approx(-found["2.weight"].max().item(), rel=1e-2)
    assert change < 0
