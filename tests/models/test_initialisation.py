"""Initialisations: their distributions, and that an experiment uses the one it names."""

import pytest
import torch
from torch import nn

import prunebench
from prunebench.benchmark.cell.pretraining import build
from prunebench.models import INITIALISATIONS


class Everything(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(50, 200, padding_idx=3)
        self.conv = nn.Conv2d(32, 64, 3)
        self.norm = nn.BatchNorm2d(64)
        self.linear = nn.Linear(300, 100)
        self.lstm = nn.LSTM(200, 150)
        self.turned = nn.ConvTranspose2d(64, 32, 3)
        self.turned_groups = nn.ConvTranspose2d(256, 128, 5, groups=4)
        self.attention = nn.MultiheadAttention(150, 5)


def drawn(name):
    torch.manual_seed(0)
    model = Everything()
    INITIALISATIONS.component(name).create()(model)
    return model


@pytest.mark.parametrize(
    ("name", "variance"),
    [
        ("KaimingUniform", lambda inputs, outputs: 2 / inputs),
        ("KaimingNormal", lambda inputs, outputs: 2 / inputs),
        ("LeCunNormal", lambda inputs, outputs: 1 / inputs),
        ("XavierUniform", lambda inputs, outputs: 2 / (inputs + outputs)),
        ("XavierNormal", lambda inputs, outputs: 2 / (inputs + outputs)),
    ],
)
def test_the_variance_is_that_of_the_formula_each_gate_being_a_matrix(name, variance):
    model = drawn(name)
    sizes = {
        "conv.weight": (32 * 9, 64 * 9),
        "linear.weight": (300, 100),
        "lstm.weight_ih_l0": (200, 150),
        "lstm.weight_hh_l0": (150, 150),
        "turned.weight": (64 * 9, 32 * 9),
        "turned_groups.weight": (64 * 25, 32 * 25),
        "attention.in_proj_weight": (150, 150),
    }
    parameters = dict(model.named_parameters())
    for parameter, (inputs, outputs) in sizes.items():
        weight = parameters[parameter]
        assert weight.var().item() == pytest.approx(variance(inputs, outputs), rel=0.05), parameter
        is_bounded = weight.abs().max() <= (3 * variance(inputs, outputs)) ** 0.5 * 1.0001
        assert is_bounded == name.endswith("Uniform")


def test_biases_are_zero_and_normalisation_and_padding_are_as_they_should_be():
    model = drawn("KaimingNormal")
    assert not any(p.any() for name, p in model.named_parameters() if "bias" in name)
    assert (model.norm.weight == 1).all()
    assert not model.embedding.weight[3].any()
    assert model.embedding.weight[4].any()


def test_an_experiment_begins_with_the_initialisation_it_names(experiment, digits):
    default, named = experiment(), experiment(initialisation="XavierNormal")
    assert default.pretraining_id != named.pretraining_id
    assert default.id != named.id
    model = build(named, digits)
    assert not model.linear1.bias.any()
    assert model.linear1.weight.var().item() == pytest.approx(2 / (512 + 128), rel=0.05)
    assert torch.equal(build(named, digits).conv1.weight, model.conv1.weight)


def test_an_unknown_initialisation_is_refused_with_the_nearest_name(experiment):
    with pytest.raises(prunebench.UsageError, match="KaimingNormal"):
        experiment(initialisation="KaimingNormall")
