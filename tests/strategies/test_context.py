"""What may be pruned, and which layer is the output."""

import pytest
import torch
from torch import nn

from prunebench.errors import UsageError
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


PARAMETRISED = {
    "weight normalisation": nn.utils.parametrizations.weight_norm,
    "weight normalisation by a hook": nn.utils.weight_norm,
    "spectral normalisation": nn.utils.parametrizations.spectral_norm,
}


@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated")
@pytest.mark.parametrize("name", PARAMETRISED)
def test_a_weight_that_is_computed_from_others_is_refused_until_it_is_a_plain_one(name):
    model = nn.Sequential(nn.Linear(2, 3), PARAMETRISED[name](nn.Linear(3, 2)))
    for look in (prunable_weights, output_weight):
        with pytest.raises(UsageError, match=r"weight of the Linear '1' is not prunable") as told:
            look(model)
    for parameter in model[1].parameters():
        parameter.requires_grad_(False)
    assert prunable_weights(model) == ["0.weight"]
    # What the sentence says is what helps.
    call = str(told.value).rpartition(" by ")[2]
    model.requires_grad_(True)
    eval(call, {"torch": torch, "module": model[1]})
    assert prunable_weights(model) == ["0.weight", "1.weight"]


def test_normalised_vectors_are_no_matter():
    class Scaled(nn.Linear):
        def __init__(self):
            super().__init__(3, 3)
            self.weight_of_outputs = nn.Parameter(torch.ones(3))
            nn.utils.parametrize.register_parametrization(self, "weight_of_outputs", nn.Softmax(0))

    assert prunable_weights(Scaled()) == ["weight"]
