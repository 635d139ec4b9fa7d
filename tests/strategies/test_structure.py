"""Structures, against torch's structured pruning."""

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from prunebench.seeding import generator
from prunebench.strategies import (
    Context,
    Filters,
    GlobalMagnitude,
    StructuredL1,
    Unstructured,
    full_masks,
    kept,
    output_weight,
)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 8, 3), nn.Conv2d(8, 7, 3), nn.Flatten(), nn.Linear(28, 11), nn.Linear(11, 4)
    )


def context_of(strategy, model):
    weights = dict(model.named_parameters())
    masks = full_masks({name: weights[name] for name in strategy.prunable(model)})
    return Context(model, None, masks, output_weight(model), generator(0))


@pytest.mark.parametrize("density", [0.9, 0.5, 0.25, 0.1])
def test_structured_l1_is_torchs_ln_structured_in_each_layer(density):
    strategy, model = StructuredL1(), network()
    context = context_of(strategy, model)
    total = kept(context.masks)
    budget = round(density * total)
    masks = strategy.masks(context, budget)
    for name, mask in masks.items():
        module = network()[int(name.split(".")[0])]
        amount = round((1 - budget / total) * len(mask))
        prune.ln_structured(module, "weight", amount=amount, n=1, dim=0)
        assert torch.equal(mask, module.weight_mask.bool())


def test_structured_l1_leaves_the_output_layer_alone():
    assert StructuredL1().prunable(network()) == ["0.weight", "1.weight", "3.weight"]
    assert StructuredL1().prunable(network(), classifier=False) == [
        "0.weight",
        "1.weight",
        "3.weight",
    ]


def test_the_output_layer_that_a_model_names_is_the_one_left_alone():
    model = network()
    model.output_layer = "0"
    assert StructuredL1().prunable(model) == ["1.weight", "3.weight", "4.weight"]


def test_filters_go_as_a_whole_also_in_a_global_ranking():
    strategy = GlobalMagnitude(structure=Filters())
    context = context_of(strategy, network())
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
    masks = StructuredL1().masks(context_of(StructuredL1(), model), 3)
    assert masks["0.weight"].any(1).tolist() == [False, True, False]


@pytest.mark.parametrize("structure", [Unstructured(), Filters()])
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
