"""LAMP against its definition written out, and its promise not to empty layers."""

import pytest
import torch
from contexts import context_of
from torch import nn

from prunebench.strategies import LAMP, GlobalMagnitude, kept


def context_with(*layers):
    model = nn.Module()
    for index, values in enumerate(layers):
        layer = nn.Linear(len(values), 1, bias=False)
        layer.weight.data = torch.tensor([values])
        model.add_module(f"layer{index}", layer)
    return context_of(model)


def test_scores_are_those_computed_by_hand():
    scores = LAMP().score(context_with([1.0, -2.0, 3.0]))["layer0.weight"]
    assert scores.flatten().tolist() == pytest.approx([1 / 14, 4 / 13, 1.0])


def test_scores_are_those_of_the_definition_ties_and_zeros_included():
    torch.manual_seed(0)
    values = torch.randint(-4, 5, (60,)).float().tolist()
    scores = LAMP().score(context_with(values))["layer0.weight"].flatten().tolist()
    for value, score in zip(values, scores, strict=True):
        beside = sum(other**2 for other in values if abs(other) >= abs(value))
        assert score == pytest.approx(value**2 / beside)


def test_a_layer_of_zeros_scores_zero_and_not_nan():
    assert (LAMP().score(context_with([0.0, 0.0]))["layer0.weight"] == 0).all()


def test_a_layer_of_small_weights_is_not_emptied_where_a_plain_ranking_empties_it():
    torch.manual_seed(0)
    context = context_with((torch.randn(50) * 1e-3).tolist(), torch.randn(50).tolist())
    plain = GlobalMagnitude().masks(context, 10)
    assert not plain["layer0.weight"].any()
    ours = LAMP().masks(context, 10)
    assert kept(ours) == 10
    assert ours["layer0.weight"].any()


def test_within_a_layer_the_order_is_that_of_the_magnitudes():
    torch.manual_seed(0)
    context = context_with(torch.randn(200).tolist())
    scores = LAMP().score(context)["layer0.weight"].flatten()
    order = context.weights["layer0.weight"].flatten().abs().argsort()
    assert torch.equal(scores.argsort(), order)
