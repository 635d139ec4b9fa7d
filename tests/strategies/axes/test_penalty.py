"""Penalties, by their formulas and by what training with them does."""

import copy
import re

import pytest
import torch
from torch import nn

import prunebench
from prunebench.benchmark.cell.epochs import Purpose, Training, epochs
from prunebench.benchmark.recipe import Recipe
from prunebench.errors import UsageError
from prunebench.models import LeNetSmall
from prunebench.strategies import (
    L1,
    L2,
    Filters,
    GroupLasso,
    LInf,
    NormalisationScale,
    Unstructured,
)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 3)
    ).double()


def weights():
    model = network()
    return [model[0].weight.detach(), model[3].weight.detach()]


@pytest.mark.parametrize(
    ("penalty", "expected"),
    [
        (L1(strength=0.1), lambda w: w.abs().sum()),
        (L2(strength=0.1), lambda w: 0.5 * (w * w).sum()),
        (LInf(strength=0.1), lambda w: w.flatten().norm(p=torch.inf)),
        (
            GroupLasso(strength=0.1),
            lambda w: sum(row.numel() ** 0.5 * row.flatten().norm() for row in w),
        ),
        (GroupLasso(strength=0.1, structure=Unstructured()), lambda w: w.abs().sum()),
    ],
    ids=["L1", "L2", "LInf", "GroupLasso", "GroupLasso of single weights"],
)
def test_a_penalty_is_its_formula_over_weights_and_leaves_biases_alone(penalty, expected):
    assert penalty(network()).item() == pytest.approx(0.1 * sum(expected(w) for w in weights()))


def test_the_penalty_of_slimming_is_the_sum_of_the_scales():
    model = network()
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([1.0, -2.0, 0.0, 0.5]))
    assert NormalisationScale(strength=2.0)(model).item() == pytest.approx(7.0)
    assert NormalisationScale()(nn.Linear(2, 2)).item() == 0


def test_a_group_at_zero_has_a_gradient_without_nan():
    model = network()
    with torch.no_grad():
        model[0].weight[1] = 0
    GroupLasso(structure=Filters())(model).backward()
    assert model[0].weight.grad.isfinite().all()


def test_l2_trains_as_weight_decay_of_the_same_weights_does(digits):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        ours = LeNetSmall().double()
    theirs = copy.deepcopy(ours)
    digits = _InDouble(digits)
    recipe = Recipe(epochs=1, optimizer="SGD", learning_rate=0.05, penalty="L2(strength=0.01)")
    for _ in epochs(Training(ours, digits, recipe, Purpose(0, "test"))):
        pass
    decayed = [p for p in theirs.parameters() if p.ndim > 1]
    others = [p for p in theirs.parameters() if p.ndim <= 1]
    optimizer = torch.optim.SGD(
        [{"params": decayed, "weight_decay": 0.01}, {"params": others}], lr=0.05
    )
    from prunebench.seeding import generator

    for batch in digits.batches("train", 64, generator(0, "test", "order", 1)):
        optimizer.zero_grad()
        digits.loss(theirs, batch).backward()
        optimizer.step()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("penalty", ["L1(strength=1e-3)", "GroupLasso(strength=1e-3)"])
def test_a_sparsifying_penalty_leaves_many_more_weights_near_zero(digits, penalty):
    small = {}
    for name in (None, penalty):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = LeNetSmall()
        for _ in epochs(
            Training(model, digits, Recipe(epochs=4, penalty=name), Purpose(0, "test"))
        ):
            pass
        small[name] = (model.linear1.weight.abs() < 2e-3).float().mean().item()
    assert small[penalty] > 3 * small[None]


def test_a_penalty_must_have_a_positive_strength():
    with pytest.raises(UsageError, match="strength"):
        Recipe(penalty="L1(strength=0.0)")


def test_a_penalty_of_nothing_is_refused(experiment, tmp_path):
    allowed = experiment(pretraining={"epochs": 1, "penalty": "L1"})
    made = experiment(pretraining={"epochs": 1, "penalty": "NormalisationScale"})
    with pytest.raises(UsageError, match=re.escape(
        "penalty: NormalisationScale is not allowed: LeNetSmall has no batch normalisation"
    )):  # fmt: skip
        prunebench.sweep([allowed, made], runs=tmp_path, progress=False)
    assert not list(tmp_path.rglob("*.json"))


class _InDouble:
    def __init__(self, task):
        self._task = task

    def __getattr__(self, name):
        return getattr(self._task, name)

    def batches(self, *arguments):
        for inputs, labels in self._task.batches(*arguments):
            yield inputs.double(), labels

    def training_batches(self, *arguments):
        return self.batches("train", *arguments)


def test_a_group_of_a_transposed_convolution_is_what_makes_an_output():
    model = nn.Sequential(nn.ConvTranspose2d(3, 5, 2, bias=False))
    nn.init.zeros_(model[0].weight)
    model[0].weight.data[:, 1] = 1  # one filter of 3 × 2 × 2 weights
    assert GroupLasso(strength=1.0)(model).item() == pytest.approx(12)
