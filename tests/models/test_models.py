"""The networks have the sizes that the literature gives."""

import pytest
import torch
import torchvision
from torch.nn import functional as F

from prunebench import UsageError
from prunebench.metrics import flops_by_module
from prunebench.models import MODELS

PUBLISHED = [
    # model, input, parameters, multiply-adds, layer by layer from the architecture
    ("LeNet5", 28, 431_080, 24 * 24 * 20 * 25 + 8 * 8 * 50 * 500 + 800 * 500 + 5_000),
    ("LeNet5Classic", 28, 61_706, 28 * 28 * 6 * 25 + 100 * 16 * 150 + 48_000 + 10_080 + 840),
    ("LeNetDropout", 28, 21_840, 24 * 24 * 10 * 25 + 8 * 8 * 20 * 250 + 320 * 50 + 500),
    ("LeNet300100", 28, 266_610, 784 * 300 + 300 * 100 + 100 * 10),
    ("LeNetSmall", 8, 71_754, 64 * 16 * 9 + 16 * 32 * 144 + 512 * 128 + 1_280),
    ("Perceptron", 28, 47_410, 784 * 50 + 3 * 2_500 + 500),
    (
        "ResNetSmall",
        8,
        19_706,
        64 * (16 * 9 + 2 * 16 * 144) + 16 * 32 * (144 + 288 + 16) + 320,
    ),
]


@pytest.mark.parametrize(("name", "side", "parameters", "flops"), PUBLISHED)
def test_a_network_has_its_published_size(name, side, parameters, flops):
    model = MODELS.component(name).create(input_shape=(1, side, side), classes=10)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert sum(flops_by_module(model, torch.zeros(1, 1, side, side)).values()) == flops


def test_the_documented_multiply_adds_are_the_counted_ones():
    counted = {name: flops for name, _, _, flops in PUBLISHED}
    assert counted["LeNet5"] == 2_293_000
    assert counted["LeNetDropout"] == 480_500
    for name, _, parameters, flops in PUBLISHED:
        documentation = MODELS.component(name).factory.__doc__
        assert f"{parameters:,} parameters" in documentation
        assert f"{flops:,} multiply–adds" in documentation


@pytest.mark.parametrize("name", [name for name, *_ in PUBLISHED])
def test_a_network_fits_the_inputs_and_classes_of_a_task(name):
    model = MODELS.component(name).create(input_shape=(3, 32, 32), classes=7)
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 7)


@pytest.mark.parametrize("name", ["LeNet5", "LeNet5Classic", "LeNetDropout"])
def test_images_that_are_too_small_are_refused_with_the_size_that_is_needed(name):
    with pytest.raises(UsageError, match=rf"{name} needs images of at least \d+×\d+ pixels"):
        MODELS.component(name).create(input_shape=(1, 8, 8), classes=10)


def test_dropout_acts_in_training_only():
    model = MODELS.component("LeNetDropout(dropout=0.9)").create()
    images = torch.randn(4, 1, 28, 28)
    assert not torch.equal(model(images), model(images))
    model.eval()
    assert torch.equal(model(images), model(images))


def test_a_dropout_rate_out_of_range_is_refused():
    with pytest.raises(UsageError, match=r"dropout: 1\.5 is not allowed"):
        MODELS.component("LeNetDropout(dropout=1.5)")


def test_a_perceptron_has_the_hidden_layers_that_are_asked_for():
    model = MODELS.component("Perceptron(hidden=(40, 20))").create(input_shape=(7, 2), classes=3)
    shapes = [tuple(p.shape) for p in model.parameters() if p.ndim > 1]
    assert shapes == [
        (40, 14),
        (20, 40),
        (3, 20),
    ]
    with pytest.raises(UsageError, match="hidden"):
        MODELS.component("Perceptron(hidden=(40, 0))")


def test_a_perceptrons_dropout_acts_in_training_only():
    model = MODELS.component("Perceptron(dropout=0.5)").create()
    inputs = torch.randn(4, 1, 28, 28)
    assert not torch.equal(model(inputs), model(inputs))
    model.eval()
    assert torch.equal(model(inputs), model(inputs))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "millions", "flops"),
    [
        # He et al. 2016, table 6; the multiply-adds are those that others count.
        ("CifarResNet(depth=20)", 0.27, 40.6e6),
        ("CifarResNet(depth=32)", 0.46, 68.9e6),
        ("CifarResNet(depth=44)", 0.66, 97.2e6),
        ("CifarResNet(depth=56)", 0.85, 125.5e6),
        ("CifarResNet(depth=110)", 1.73, 252.9e6),
        ("CifarVGG(depth=16)", 14.7, 313e6),
        ("CifarVGG(depth=11)", 9.23, 153e6),
        ("CifarVGG(depth=19)", 20.04, 398e6),
        # Zagoruyko & Komodakis 2016, tables 4 and 5.
        ("WideResNet", 36.5, 5.25e9),
        ("WideResNet(depth=40, width=4)", 8.9, 1.3e9),
        ("WideResNet(depth=16, width=8)", 11.0, 1.55e9),
        ("CifarMobileNetV2", 2.24, 88e6),
    ],
)
def test_a_network_of_cifar_has_its_published_size(name, millions, flops):
    model = MODELS.component(name).create()
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.05)
    counted = sum(flops_by_module(model, torch.zeros(1, 3, 32, 32)).values())
    assert counted == pytest.approx(flops, rel=0.005)
    documentation = " ".join(type(model).__doc__.split())
    assert f"{sum(p.numel() for p in model.parameters()):,}" in documentation


def test_mobilenet_computes_what_torchvisions_does_with_the_same_parts():
    model = MODELS.component("CifarMobileNetV2(width=0.5)").create().train()
    theirs = torchvision.models.MobileNetV2(10, 0.5)
    theirs.features, theirs.classifier = model.features, model.classifier
    logits = []
    for network in (model, theirs.train()):
        torch.manual_seed(1)  # for dropout
        logits.append(network(torch.ones(4, 3, 32, 32) * torch.linspace(-1, 1, 32)))
    assert logits[0].std() > 0
    assert torch.equal(*logits)


def test_a_padded_shortcut_takes_every_second_pixel_and_adds_channels_of_zeros():
    shortcut = MODELS.component("CifarResNet").create().stage2[0].shortcut
    images = torch.randn(2, 16, 6, 6)
    expected = F.pad(images[:, :, ::2, ::2], (0, 0, 0, 0, 8, 8))
    assert torch.equal(shortcut(images), expected)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("LeNetSmall", (1, 8, 8)),
        ("LeNet5Classic", (1, 28, 28)),
        ("ResNetSmall", (1, 8, 8)),
        ("CifarResNet", (3, 32, 32)),
        ("CifarVGG", (3, 32, 32)),
    ],
)
def test_a_network_half_as_wide_has_half_of_each_layers_outputs(name, shape):
    whole, half = (
        MODELS.component(f"{name}(width={width})").create(input_shape=shape, classes=10)
        for width in (1.0, 0.5)
    )
    outputs = [
        [parameter.shape[0] for parameter in network.parameters() if parameter.ndim > 1]
        for network in (whole, half)
    ]
    assert outputs[1] == [*(each // 2 for each in outputs[0][:-1]), 10]
    assert half(torch.zeros(2, *shape)).shape == (2, 10)
    narrowest = MODELS.component(f"{name}(width=0.001)").create(input_shape=shape, classes=10)
    assert narrowest(torch.zeros(2, *shape)).shape == (2, 10)
