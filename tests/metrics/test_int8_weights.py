"""Weights rounded to 8 bits: as torch rounds them, and what becomes of quality and bytes."""

import copy

import pytest
import torch
from torch import nn

from prunebench.metrics import Accuracy, Int8Weights, Subject
from prunebench.metrics.int8_weights import rounded
from prunebench.models import LeNetSmall


@pytest.mark.parametrize("shape", [(7, 30), (4, 3, 5, 5), (1, 1)])
def test_weights_are_rounded_as_torch_quantises_each_output(shape):
    weight = torch.randn(shape)
    scales = weight.flatten(1).abs().amax(1) / 127
    zeros = torch.zeros(len(weight), dtype=torch.int64)
    quantised = torch.fake_quantize_per_channel_affine(weight, scales, zeros.int(), 0, -127, 127)
    torch.testing.assert_close(rounded(weight), quantised, rtol=1e-6, atol=0)
    steps = rounded(weight) / scales.view(-1, *[1] * (weight.ndim - 1))
    torch.testing.assert_close(steps, steps.round(), rtol=0, atol=1e-3)
    assert (rounded(weight) - weight).abs().amax() <= scales.amax() / 2 * (1 + 1e-5)


def test_an_output_without_weights_stays_so():
    weight = torch.zeros(3, 4)
    weight[1] = 1.0
    assert torch.equal(rounded(weight), weight)


def test_bytes_are_counted_and_the_network_stays_as_it_is(digits):
    model = LeNetSmall(input_shape=digits.input_shape, classes=digits.classes)
    before = {name: each.clone() for name, each in model.state_dict().items()}
    measured = Int8Weights().measure(Subject(model, model, digits, ()))
    assert all(torch.equal(before[name], each) for name, each in model.state_dict().items())
    weights = [each for each in model.parameters() if each.ndim > 1]
    others = [each for each in model.parameters() if each.ndim == 1]
    one_byte_each = sum(each.numel() for each in weights)
    scales = sum(len(each) for each in weights)
    assert measured["int8_bytes"] == one_byte_each + 4 * (scales + sum(map(len, others)))
    by_hand = LeNetSmall(input_shape=digits.input_shape, classes=digits.classes)
    by_hand.load_state_dict(
        {name: rounded(each) if each.ndim > 1 else each for name, each in before.items()}
    )
    expected = Accuracy().measure(Subject(by_hand, by_hand, digits, ()))
    assert measured["int8_quality"] == expected["top1"]


def test_tied_weights_are_one_and_buffers_are_counted(digits):
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.BatchNorm1d(10))
    measured = Int8Weights().measure(Subject(model, model, digits, ()))
    assert measured["int8_bytes"] == 640 + 4 * 10 + 4 * 10 + 2 * 40 + 2 * 40 + 8
    model[1].weight = nn.Parameter(torch.zeros(10, 64))
    again = Int8Weights().measure(Subject(model, model, digits, ()))
    assert again["int8_bytes"] == measured["int8_bytes"]


def test_layers_that_have_their_inputs_first_are_rounded_by_outputs(digits):
    torch.manual_seed(0)
    turned = nn.ConvTranspose2d(1, 10, 8, bias=False)
    turned.weight.data[:, 3] *= 1000  # one large output takes nothing from the others
    model = nn.Sequential(turned, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    by_hand = copy.deepcopy(model)
    by_hand[0].weight.data = rounded(turned.weight.transpose(0, 1)).transpose(0, 1).detach()
    measured = Int8Weights().measure(Subject(model, model, digits, ()))
    assert measured["int8_bytes"] == turned.weight.numel() + 4 * 10
    of_copy = Accuracy().measure(Subject(by_hand, by_hand, digits, ()))
    assert measured["int8_quality"] == of_copy["top1"]
    error = (by_hand[0].weight - turned.weight).abs().amax((0, 2, 3))
    assert (error <= turned.weight.abs().amax((0, 2, 3)) / 253).all()
