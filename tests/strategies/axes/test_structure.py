"""Structures, against torch's structured pruning."""

import pytest
import torch
from contexts import context_of, removable
from torch import nn
from torch.nn.utils import prune

from prunebench.errors import UsageError
from prunebench.strategies import (
    NM,
    STRATEGIES,
    Block,
    Channels,
    Filters,
    GlobalMagnitude,
    LayerMagnitude,
    StructuredL1,
    Unstructured,
    kept,
)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 8, 3), nn.Conv2d(8, 7, 3), nn.Flatten(), nn.Linear(28, 11), nn.Linear(11, 4)
    )


@pytest.mark.parametrize("density", [0.9, 0.5, 0.25, 0.1])
def test_structured_l1_is_torchs_ln_structured_in_each_layer(density):
    strategy, model = StructuredL1(), network()
    context = context_of(model, strategy=strategy)
    total = kept(context.masks)
    budget = round(density * total)
    masks = strategy.masks(context, budget)
    for name, mask in masks.items():
        module = network()[int(name.split(".")[0])]
        amount = round((1 - budget / total) * len(mask))
        prune.ln_structured(module, "weight", amount=amount, n=1, dim=0)
        assert torch.equal(mask, module.weight_mask.bool())


def test_structured_l1_leaves_the_output_layer_alone():
    assert removable(StructuredL1(), network()) == ["0.weight", "1.weight", "3.weight"]


def test_the_output_layer_that_a_model_names_is_the_one_left_alone():
    model = network()
    model.output_layer = "0"
    assert removable(StructuredL1(), model) == ["1.weight", "3.weight", "4.weight"]


def test_filters_go_as_a_whole_also_in_a_global_ranking():
    strategy = GlobalMagnitude(structure=Filters())
    context = context_of(network(), strategy=strategy)
    masks = strategy.masks(context, 500)
    for mask in masks.values():
        rows = mask.flatten(1)
        assert torch.equal(rows.any(1), rows.all(1))
    largest = max(mask[0].numel() for mask in masks.values())
    assert 500 - largest < kept(masks) <= 500


def test_a_filter_is_scored_by_the_sum_over_its_weights():
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 2))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[9.0, 0, 0], [-4, -4, -4], [1, 1, 1]]))
    masks = StructuredL1().masks(context_of(model, strategy=StructuredL1()), 3)
    assert masks["0.weight"].any(1).tolist() == [False, True, False]


@pytest.mark.parametrize("structure", [Unstructured(), Filters(), Channels()])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_a_mask_expanded_from_units_keeps_those_units_and_nothing_pruned_before(structure, layout):
    torch.manual_seed(0)
    mask = (torch.rand(6, 3, 2, 2) < 0.8).contiguous(memory_format=layout)
    units = structure.units(mask)
    chosen = torch.rand(len(units)) < 0.5
    expanded = structure.expand(chosen, mask)
    assert expanded.shape == mask.shape
    assert torch.equal(structure.units(expanded), units & chosen[:, None])
    assert not (expanded & ~mask).any()


def test_channels_are_torchs_ln_structured_along_the_second_dimension():
    strategy, model = LayerMagnitude(structure=Channels()), network()
    context = context_of(model, strategy=strategy)
    masks = strategy.masks(context, round(0.5 * kept(context.masks)))
    for name, mask in masks.items():
        module = network()[int(name.split(".")[0])]
        prune.ln_structured(module, "weight", amount=round(0.5 * mask.shape[1]), n=1, dim=1)
        assert torch.equal(mask, module.weight_mask.bool()), name


@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 4), (1, 2), (3, 5)])
@pytest.mark.parametrize("shape", [(8, 20), (4, 40, 3, 3)])
def test_of_every_m_consecutive_inputs_the_n_largest_are_kept(n, m, shape):
    torch.manual_seed(0)
    weight = torch.randn(shape)
    model = nn.Module()
    model.register_parameter("weight", nn.Parameter(weight))
    strategy = GlobalMagnitude(structure=NM(n=n, m=m))
    context = context_of(model)
    mask = strategy.masks(context, weight.numel() * n // m)["weight"]
    inputs_last = weight.abs().movedim(1, -1).reshape(-1, m)
    expected = torch.zeros_like(inputs_last, dtype=torch.bool)
    for row, values in enumerate(inputs_last.tolist()):
        for index in sorted(range(m), key=lambda i: -values[i])[:n]:
            expected[row, index] = True
    assert torch.equal(mask.movedim(1, -1).reshape(-1, m), expected)


def test_an_nm_pattern_is_kept_when_more_is_pruned_and_in_later_rounds():
    model = network()
    strategy = GlobalMagnitude(structure=NM(n=2, m=4))
    context = context_of(model, strategy=strategy)
    budget = strategy.largest_budget(context.weights)
    first = strategy.masks(context, budget)
    assert kept(first) == budget
    later = context_of(model, masks=first)
    second = strategy.masks(later, budget // 2)
    assert kept(second) == budget // 2
    for name, mask in second.items():
        assert not (mask & ~first[name]).any()
    whole = second["3.weight"].reshape(11, 7, 4)
    assert (whole.sum(-1) <= 2).all()


def test_a_group_of_fewer_than_m_inputs_keeps_at_most_n():
    structure, weight = NM(n=2, m=4), torch.rand(5, 7)
    assert structure.most(weight) == 5 * (2 + 2)
    admissible = structure.admissible(weight, torch.ones_like(weight, dtype=torch.bool))
    assert admissible.sum() == structure.most(weight)
    assert (admissible[:, 4:].sum(1) == 2).all()
    single = torch.rand(5, 1, 3, 3)
    assert structure.admissible(single, single >= 0).all()


def test_an_nm_pattern_needs_n_below_m():
    with pytest.raises(UsageError, match="n: 4 is not allowed: it must be below m: 4"):
        STRATEGIES.component("GlobalMagnitude(structure=NM(n=4, m=4))").create()


@pytest.mark.parametrize("shape", [(8, 12), (7, 10), (6, 3, 3, 3)])
def test_blocks_are_kept_or_removed_whole_by_the_sum_of_their_scores(shape):
    torch.manual_seed(0)
    structure, weight = Block(height=4, width=3), torch.rand(shape)
    matrix = weight.reshape(shape[0], -1)
    tiles = [
        matrix[row : row + 4, column : column + 3]
        for row in range(0, matrix.shape[0], 4)
        for column in range(0, matrix.shape[1], 3)
    ]
    units = structure.units(weight)
    assert torch.allclose(units.sum(1), torch.stack([tile.sum() for tile in tiles]))
    sizes = structure.sizes(weight)
    expected = [tile.numel() for tile in tiles]
    assert expected == ([12] * len(tiles) if sizes is None else sizes.tolist())
    chosen = torch.rand(len(tiles)) < 0.5
    mask = structure.expand(chosen, torch.ones(shape, dtype=torch.bool)).reshape(matrix.shape)
    seen = [
        mask[row : row + 4, column : column + 3]
        for row in range(0, matrix.shape[0], 4)
        for column in range(0, matrix.shape[1], 3)
    ]
    assert all(bool(tile.all()) == bool(keep) for tile, keep in zip(seen, chosen, strict=True))
    assert int(mask.sum()) == sum(n for n, keep in zip(expected, chosen, strict=True) if keep)


@pytest.mark.parametrize("kind", [GlobalMagnitude, LayerMagnitude])
def test_a_network_of_ragged_blocks_misses_its_budget_by_less_than_a_block_in_a_layer(kind):
    strategy = kind(structure=Block(height=4, width=4))
    context = context_of(network(), strategy=strategy)
    masks = strategy.masks(context, 400)
    slack = 16 * (len(masks) if kind is LayerMagnitude else 1)
    assert 400 - slack < kept(masks) <= 400
