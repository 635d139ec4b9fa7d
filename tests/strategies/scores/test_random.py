"""Random pruning: exactly so many, every weight as likely as any other."""

import pytest
import torch
from contexts import context_of
from scipy.stats import chi2
from torch import nn

from prunebench.strategies import Filters, LayerRandom, Random, kept


def masks_of(strategy, seed, budget, masks=None):
    model = nn.Sequential(nn.Linear(6, 10), nn.Linear(10, 4))
    return strategy.masks(context_of(model, strategy=strategy, masks=masks, seed=seed), budget)


@pytest.mark.parametrize("budget", [0, 1, 33, 99, 100])
def test_random_keeps_exactly_the_budget_and_not_only_on_average(budget):
    assert {kept(masks_of(Random(), seed, budget)) for seed in range(20)} == {budget}


def test_layer_random_keeps_exactly_the_share_of_each_layer():
    for seed in range(20):
        masks = masks_of(LayerRandom(), seed, 25)
        assert {name: int(mask.sum()) for name, mask in masks.items()} == {
            "0.weight": 15,
            "1.weight": 10,
        }


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Random, LayerRandom])
def test_every_weight_is_equally_likely_to_stay(kind):
    draws, weights, budget = 2000, 100, 30
    counts = torch.zeros(weights, dtype=torch.float64)
    for seed in range(draws):
        counts += torch.cat([m.flatten() for m in masks_of(kind(), seed, budget).values()])
    expected = draws * budget / weights
    # The counts of one draw add up to the budget (Random: to one number, LayerRandom: to one in
    # each layer), which makes the variance of each a little less than a binomial's.
    groups = 1 if kind is Random else 2
    size = weights / groups
    variance = expected * (1 - budget / weights) * size / (size - 1)
    statistic = float(((counts - expected) ** 2).sum() / variance)
    assert 0.001 < chi2.sf(statistic, weights - groups) < 0.999


def test_the_same_seed_gives_the_same_masks_and_another_seed_others():
    one, same, other = (masks_of(Random(), seed, 50) for seed in (3, 3, 4))
    assert all(torch.equal(mask, same[name]) for name, mask in one.items())
    assert any(not torch.equal(mask, other[name]) for name, mask in one.items())


def test_a_second_round_draws_from_what_the_first_left():
    first = masks_of(Random(), 0, 50)
    second = masks_of(Random(), 1, 20, first)
    assert kept(second) == 20
    assert not any((second[name] & ~mask).any() for name, mask in first.items())


def test_a_unit_is_as_likely_to_stay_whatever_its_size():
    model = nn.Sequential(nn.Conv2d(1, 20, 1), nn.Conv2d(20, 20, 3), nn.Conv2d(20, 2, 1))
    strategy = Random(structure=Filters())
    left = [
        strategy.masks(context_of(model, strategy=strategy, seed=seed), 1810)["0.weight"].sum()
        for seed in range(200)
    ]
    # About half of 40 filters stay, of which 20 have one weight; a sum of draws would keep none.
    assert 9 < sum(left) / len(left) < 11.5
