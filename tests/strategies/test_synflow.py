"""SynFlow: conservation, no collapse, no data."""

import itertools

import pytest
import torch
from torch import nn

from prunebench.benchmark.conformance_networks import Synthetic
from prunebench.models import LeNet5, LeNet300100
from prunebench.strategies import (
    Context,
    Global,
    GlobalMagnitude,
    SynFlow,
    collapsed,
    full_masks,
    kept,
    output_weight,
)


class Images(Synthetic):
    def __init__(self, shape, seed=0):
        super().__init__()
        self._shape, self._seed = shape, seed

    def inputs(self, batch_size):
        torch.manual_seed(self._seed)
        return torch.randn(batch_size, *self._shape)


def context_for(strategy, model, task, masks=None):
    weights = dict(model.named_parameters())
    masks = masks or full_masks({name: weights[name] for name in strategy.prunable(model)})
    return Context(model, task, masks, output_weight(model), torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("make", "shape"), [(LeNet300100, (1, 28, 28)), (LeNet5, (1, 28, 28))], ids=["MLP", "LeNet"]
)
def test_the_same_flow_goes_through_every_layer(make, shape):
    torch.manual_seed(0)
    scores = SynFlow().score(context_for(SynFlow(), make(), Images(shape)))
    sums = torch.stack([score.sum() for score in scores.values()])
    assert torch.allclose(sums, sums[0].expand_as(sums), rtol=1e-9)
    assert all((score >= 0).all() for score in scores.values())


def test_the_flow_through_a_weight_is_the_sum_over_all_paths_that_use_it():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    scores = SynFlow().score(context_for(SynFlow(), model, Images((4,))))
    first, second = model[0].weight.detach().double().abs(), model[2].weight.detach().double().abs()
    expected = {"0.weight": torch.zeros(3, 4).double(), "2.weight": torch.zeros(2, 3).double()}
    for i, h, o in itertools.product(range(4), range(3), range(2)):
        product = first[h, i] * second[o, h]
        expected["0.weight"][h, i] += product
        expected["2.weight"][o, h] += product
    for name, score in scores.items():
        assert torch.allclose(score, expected[name]), name


def test_a_small_layer_survives_where_magnitude_empties_it():
    torch.manual_seed(0)
    model = LeNet300100()
    with torch.no_grad():  # trained networks have layers as unequal as this
        model.linear2.weight *= 0.05
    budget = 266_200 // 1_000
    ours = SynFlow(allocation=Global(minimum=0))
    masks = ours.masks(context_for(ours, model, Images((1, 28, 28))), budget)
    assert kept(masks) == budget
    assert not collapsed(masks)
    magnitude = GlobalMagnitude()
    theirs = magnitude.masks(context_for(magnitude, model, Images((1, 28, 28))), budget)
    assert "linear2.weight" in collapsed(theirs)


def test_the_network_still_computes_something_when_almost_nothing_is_left():
    torch.manual_seed(0)
    model = LeNet300100()
    masks = SynFlow().masks(context_for(SynFlow(), model, Images((1, 28, 28))), 6)
    assert kept(masks) == 6
    assert not collapsed(masks)  # two paths of three weights each


def test_one_iteration_ranks_worse_than_many():
    torch.manual_seed(0)
    model = LeNet300100()
    with torch.no_grad():
        model.linear2.weight *= 0.05
    once = SynFlow(iterations=1)
    assert collapsed(once.masks(context_for(once, model, Images((1, 28, 28))), 60))
    many = SynFlow(iterations=100)
    assert not collapsed(many.masks(context_for(many, model, Images((1, 28, 28))), 60))


@pytest.mark.slow
def test_neither_data_nor_signs_nor_biases_matter():
    torch.manual_seed(0)
    model = LeNet300100()
    one = SynFlow().masks(context_for(SynFlow(), model, Images((1, 28, 28), seed=1)), 5_000)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "bias" in name:
                parameter.uniform_(-3, 3)
            else:
                parameter.mul_(torch.where(torch.rand_like(parameter) < 0.5, -1, 1))
    other = SynFlow().masks(context_for(SynFlow(), model, Images((1, 28, 28), seed=2)), 5_000)
    assert all(torch.equal(mask, other[name]) for name, mask in one.items())


def test_token_indices_stay_what_they_are():
    class Sentences(Synthetic):
        def inputs(self, batch_size):
            return torch.tensor([[1, 2, 3]])

    class Bag(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.out = nn.Embedding(10, 4), nn.Linear(4, 2)

        def forward(self, tokens):
            return self.out(self.embedding(tokens).mean(1))

    torch.manual_seed(0)
    scores = SynFlow().score(context_for(SynFlow(), Bag(), Sentences()))
    used = scores["embedding.weight"].sum(1) > 0
    assert used.nonzero().flatten().tolist() == [1, 2, 3]
