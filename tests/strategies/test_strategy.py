"""What every strategy gets from its base class: checked scores, and rounds that nest."""

from dataclasses import replace

import pytest
import torch
from contexts import context_of
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from prunebench import UsageError
from prunebench.strategies import (
    Context,
    Filters,
    Global,
    GlobalMagnitude,
    LayerMagnitude,
    ScoredStrategy,
    Uniform,
    Unstructured,
    kept,
)


class Given(ScoredStrategy):
    """Scores that a test gives in the place of a task."""

    def score(self, context):
        return context.task


def context_with(scores) -> Context:
    model = nn.Module()
    for name, values in scores.items():
        layer = nn.Linear(values.shape[1], values.shape[0], bias=False)
        model.add_module(name.partition(".")[0], layer)
    return context_of(model, scores)


@pytest.mark.parametrize(
    ("scores", "complaint"),
    [
        ({}, "strategy Given: .* it differs in layer.weight"),
        ({"layer.weight": torch.zeros(3, 2), "more": torch.zeros(1)}, "it differs in more"),
        ({"layer.weight": torch.zeros(2, 3)}, r"layer.weight has shape \(2, 3\), its weight"),
        ({"layer.weight": torch.full((3, 2), torch.nan)}, "layer.weight contains NaN"),
        ({"layer.weight": torch.ones(3, 2).int()}, "floating-point type, not torch.int32"),
    ],
)
def test_scores_that_do_not_fit_are_refused_with_the_layer_named(scores, complaint):
    context = replace(context_with({"layer.weight": torch.zeros(3, 2)}), task=scores)
    with pytest.raises(UsageError, match=complaint):
        Given().masks(context, 3)


def test_a_weight_of_score_minus_infinity_still_ranks_above_what_is_pruned():
    context = context_with({"layer.weight": torch.zeros(10, 2)})
    pruned = {"layer.weight": torch.arange(20).view(10, 2) % 2 == 0}
    lowest = {"layer.weight": torch.full((10, 2), -torch.inf)}
    masks = Given().masks(replace(context, masks=pruned, task=lowest), 7)
    assert kept(masks) == 7


few_values = st.integers(-2, 2)


@st.composite
def layers(draw):
    heights = draw(st.lists(st.integers(1, 8), min_size=1, max_size=4))
    return {
        f"layer{index}.weight": torch.tensor(
            draw(st.lists(few_values, min_size=2 * height, max_size=2 * height)),
            dtype=torch.float32,
        ).view(height, 2)
        for index, height in enumerate(heights)
    }


@given(
    scores=layers(),
    shares=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    sign=st.sampled_from([-1, 1]),
    allocation=st.sampled_from([Global(), Global(minimum=1), Uniform()]),
    structure=st.sampled_from([Unstructured(), Filters()]),
)
def test_what_is_pruned_stays_pruned_under_other_scores_and_gentler_budgets(
    scores, shares, sign, allocation, structure
):
    total = sum(values.numel() for values in scores.values())
    strategy = Given(allocation=allocation, structure=structure)
    context = context_with(scores)
    first = strategy.masks(context, round(shares[0] * total))
    changed = {name: sign * values for name, values in scores.items()}
    later = replace(context, masks=first, task=changed)
    second = strategy.masks(later, round(shares[1] * total))
    assert not any((second[name] & ~mask).any() for name, mask in first.items())


def test_the_smallest_budget_is_the_minimum_of_each_layer_and_never_nothing():
    weights = {"large": torch.zeros(10, 6), "small": torch.zeros(2, 3)}
    assert GlobalMagnitude().smallest_budget(weights) == 1
    assert LayerMagnitude().smallest_budget(weights) == 2
    assert GlobalMagnitude(allocation=Global(minimum=8)).smallest_budget(weights) == 8 + 6
    assert LayerMagnitude(structure=Filters()).smallest_budget(weights) == 6 + 3
