"""Histograms of weights before and after pruning."""

import math

import pytest
import torch

from prunebench.metrics import histograms


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("state", range(3))
def test_a_weight_that_is_not_finite_in_one_of_its_states_has_no_row(state, value):
    states = [{"a": torch.tensor([1.0, 2.0]), "b": torch.ones(2)} for _ in range(3)]
    assert [row.name for row in histograms(*states)] == ["a", "b"]
    states[state]["a"] = torch.tensor([1.0, value])
    assert [row.name for row in histograms(*states)] == ["b"]
