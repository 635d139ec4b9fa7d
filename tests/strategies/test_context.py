"""What may be pruned, and which layer is the output."""

import pytest
import torch
from torch import nn

from prunebench.strategies import output_weight, prunable_weights


class Mixed(nn.Module):
    """Parameters of all kinds, of which a few are trained weight matrices."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.conv = nn.Conv1d(4, 4, 3)
        self.batch_norm = nn.BatchNorm1d(4)
        self.layer_norm = nn.LayerNorm([4, 4])
        self.lstm = nn.LSTM(4, 4)
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.position = nn.Parameter(torch.zeros(3, 4))
        self.output = nn.Linear(4, 7)
        self.output.weight = self.embedding.weight


def test_only_trained_weight_matrices_are_prunable_and_shared_ones_once():
    assert prunable_weights(Mixed()) == [
        "embedding.weight",
        "conv.weight",
        "lstm.weight_ih_l0",
        "lstm.weight_hh_l0",
    ]


def test_a_lone_layer_is_prunable():
    assert prunable_weights(nn.Linear(2, 2)) == ["weight"]


def test_the_output_layer_is_the_last_one_and_can_be_left_out():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 3), nn.Linear(3, 2))
    assert output_weight(model) == "2.weight"
    assert prunable_weights(model, classifier=False) == ["0.weight", "1.weight"]


def test_a_frozen_output_layer_is_the_output_layer_still():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 3), nn.Linear(3, 2).requires_grad_(False))
    assert output_weight(model) == "2.weight"
    for classifier in (True, False):
        assert prunable_weights(model, classifier=classifier) == ["0.weight", "1.weight"]


def test_an_output_layer_that_shares_its_weight_goes_by_the_name_of_the_first_that_has_it():
    assert output_weight(Mixed()) == "embedding.weight"


@pytest.mark.parametrize("named", ["0", "1"])
def test_a_model_may_say_which_its_output_layer_is(named):
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 3), nn.Linear(3, 2))
    model.output_layer = named
    assert output_weight(model) == f"{named}.weight"
    assert f"{named}.weight" not in prunable_weights(model, classifier=False)
