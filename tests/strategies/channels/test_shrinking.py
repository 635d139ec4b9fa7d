"""The shrunk network against the masked one, which it is to equal."""

import copy

import pytest
import torch
import torchvision
from torch import nn

from prunebench.benchmark.cell.target import flops_left
from prunebench.errors import UsageError
from prunebench.metrics import flops_by_module
from prunebench.models import CifarResNet, CifarVGG, LeNet5, LeNet300100, LeNetDropout, ResNetSmall
from prunebench.strategies import (
    AttentionHeads,
    MaskedWeights,
    check_equivalence,
    couple,
    output_weights,
    prunable_weights,
    shrink,
    try_shrinking,
    unsettled,
    write_back,
)

NETWORKS = {
    "LeNet5": (LeNet5, (1, 28, 28)),
    "LeNet300100": (LeNet300100, (1, 28, 28)),
    "LeNetDropout": (LeNetDropout, (1, 28, 28)),
    "ResNetSmall": (ResNetSmall, (1, 8, 8)),
    "resnet20 of CIFAR": (lambda: CifarResNet(depth=20), (3, 32, 32)),
    "resnet56 of CIFAR": (lambda: CifarResNet(depth=56), (3, 32, 32)),
    "vgg16_bn of CIFAR": (lambda: CifarVGG(depth=16), (3, 32, 32)),
    "resnet18": (torchvision.models.resnet18, (3, 64, 64)),
    "mobilenet_v2": (torchvision.models.mobilenet_v2, (3, 64, 64)),
    "resnext": (
        lambda: torchvision.models.ResNet(
            torchvision.models.resnet.Bottleneck, [1, 1, 1, 1], groups=8, width_per_group=4
        ),
        (3, 64, 64),
    ),
    "densenet": (
        lambda: torchvision.models.DenseNet(8, (2, 3), 16, num_classes=10),
        (3, 64, 64),
    ),
    "vit": (
        lambda: torchvision.models.VisionTransformer(32, 8, 2, 4, 24, 48, num_classes=10),
        (3, 32, 32),
    ),
    "swin": (
        lambda: torchvision.models.SwinTransformer([4, 4], 12, [2, 2], [2, 4], [4, 4]),
        (3, 32, 32),
    ),
    "shufflenet": (
        lambda: torchvision.models.ShuffleNetV2([1, 1, 2], [8, 16, 32, 64, 64]),
        (3, 32, 32),
    ),
    "mixer": (
        lambda: pytest.importorskip("timm").models.MlpMixer(10, 32, patch_size=8, num_blocks=2),
        (3, 32, 32),
    ),
    "edgenext": (
        lambda: of_timm("edgenext_xx_small", dims=(8, 16, 24, 32), depths=(1, 1, 2, 1)),
        (3, 64, 64),
    ),
    "res2net": (lambda: of_timm("res2net50_26w_4s", layers=[1, 1, 1, 1]), (3, 64, 64)),
    "skresnet": (lambda: of_timm("skresnet18", layers=[1, 1, 1, 1]), (3, 64, 64)),
    "deit": (
        lambda: of_timm("deit_tiny_patch16_224", img_size=32, embed_dim=24, depth=2),
        (3, 32, 32),
    ),
    "distilled deit": (
        lambda: of_timm("deit_tiny_distilled_patch16_224", img_size=32, embed_dim=24, depth=2),
        (3, 32, 32),
    ),
}


def of_timm(name, **arguments):
    """A network of timm's, which takes time to import."""
    import timm

    return timm.create_model(name, pretrained=False, num_classes=10, **arguments)


def some_channels(coupling, removed: float) -> torch.Tensor:
    """Random channels, at least one of each group."""
    kept = torch.rand(coupling.channels) >= removed
    kept[[group.start for group in coupling.groups.values()]] = True
    return kept


def masked(model, coupling, kept):
    model = copy.deepcopy(model)
    masks = coupling.masks(model, kept)
    MaskedWeights(model, masks).apply()
    return model, masks


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_the_shrunk_network_equals_the_masked_one_and_is_as_small_as_predicted(name):
    make, shape = NETWORKS[name]
    torch.manual_seed(0)
    model, inputs = unsettled(make()).eval(), torch.randn(2, *shape)
    names = [each for each in prunable_weights(model) if each not in output_weights(model)]
    coupling = couple(model, inputs[:1], names)
    dense_flops = sum(flops_by_module(model, inputs[:1]).values())
    for removed in (0.3, 0.5, 0.75):
        kept = some_channels(coupling, removed)
        pruned, masks = masked(model, coupling, kept)
        small = shrink(pruned, coupling, kept)
        with torch.no_grad():
            expected, got = pruned(inputs), small(inputs)
        assert expected.abs().max() > 1e-3  # or there is nothing to compare
        assert got.shape == expected.shape
        assert (got - expected).abs().max() < 1e-4
        spared = sum(p.numel() for n, p in model.named_parameters() if n not in masks)
        predicted = spared + sum(int(mask.sum()) for mask in masks.values())
        assert sum(p.numel() for p in small.parameters()) == predicted
        flops = flops_left(model, inputs[:1])(coupling, kept)
        assert sum(flops_by_module(small, inputs[:1]).values()) == pytest.approx(flops, abs=0.5)
        assert flops < dense_flops
        assert list(small.state_dict()) == list(pruned.state_dict())


def test_modules_say_their_new_sizes():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 1),
        nn.Conv2d(8, 8, 3, groups=8),
        nn.BatchNorm2d(8),
        nn.PReLU(8),
        nn.Flatten(),
        nn.Linear(8 * 4, 2),
    )
    coupling = couple(model, torch.zeros(1, 3, 4, 4), prunable_weights(model))
    small = shrink(model, coupling, torch.arange(8) < 5)
    pointwise, depthwise, norm, prelu, _, linear = small
    assert (pointwise.in_channels, pointwise.out_channels, pointwise.groups) == (3, 5, 1)
    assert (depthwise.in_channels, depthwise.out_channels, depthwise.groups) == (5, 5, 5)
    assert norm.num_features == prelu.num_parameters == 5
    assert (linear.in_features, linear.out_features) == (20, 2)
    assert model[0].out_channels == 8  # the model itself is as it was


@pytest.mark.parametrize("groups", [1, 4])
def test_transposed_convolutions_keep_their_sizes_and_all_that_is_theirs(groups):
    torch.manual_seed(0)
    upwards = nn.ConvTranspose2d(32, 8, 2, 2, groups=groups)
    model = nn.Sequential(
        nn.Conv2d(3, 6, 1), nn.Conv2d(6, 32, 1), upwards, nn.Conv2d(8, 5, 1), nn.Conv2d(5, 2, 1)
    )
    inputs = torch.randn(2, 3, 4, 4)
    coupling = couple(model, inputs[:1], prunable_weights(model))
    assert list(coupling.groups) == ["0.weight", "3.weight"]
    assert try_shrinking(model, coupling, inputs) < 1e-5
    small = shrink(model, coupling, coupling.half("a test"))
    assert str(small[2]) == str(upwards)


def test_what_a_shrunk_network_learns_is_written_back_to_where_it_was():
    torch.manual_seed(0)
    model = unsettled(CifarResNet(depth=20)).eval()
    inputs = torch.randn(4, 3, 32, 32)
    coupling = couple(
        model, inputs[:1], [n for n in prunable_weights(model) if n != "linear.weight"]
    )
    kept = some_channels(coupling, 0.5)
    pruned, masks = masked(model, coupling, kept)
    small = shrink(pruned, coupling, kept).train()
    optimizer = torch.optim.SGD(small.parameters(), lr=1e-3, momentum=0.9)
    for _ in range(3):
        optimizer.zero_grad()
        small(inputs).square().sum().backward()
        optimizer.step()
    write_back(small, pruned, coupling, kept)
    assert check_equivalence(pruned, small, inputs) < 1e-5
    weights = dict(pruned.named_parameters())
    assert not any(weights[name][~mask].any() for name, mask in masks.items())
    assert torch.equal(
        pruned.state_dict()["stage2.0.shortcut.channel_source"],
        model.state_dict()["stage2.0.shortcut.channel_source"],
    )


def test_training_the_shrunk_network_is_training_the_masked_one():
    torch.manual_seed(0)
    model = LeNet5().double()
    inputs, labels = torch.randn(32, 1, 28, 28).double(), torch.randint(10, (32,))
    coupling = couple(model, inputs[:1], ["conv1.weight", "conv2.weight", "linear1.weight"])
    kept = some_channels(coupling, 0.6)
    pruned, masks = masked(model, coupling, kept)
    small = shrink(pruned, coupling, kept)
    for network in (pruned, small):
        zeros = MaskedWeights(network, masks if network is pruned else {})
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=1e-3)
        for _ in range(5):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(inputs), labels).backward()
            optimizer.step()
            zeros.apply()
    assert check_equivalence(pruned, small, inputs) < 1e-9


def test_a_difference_that_tracing_missed_is_found():
    one, other = nn.Linear(3, 2), nn.Linear(3, 2)
    with pytest.raises(UsageError, match=r"Linear cannot be shrunk: .* differ .* more than 0.0001"):
        check_equivalence(one, other, torch.randn(4, 3))


def test_a_difference_is_relative_to_outputs_however_small():
    layer, inputs = nn.Linear(3, 2), torch.randn(4, 3)
    nn.init.zeros_(layer.bias)
    with torch.no_grad():
        layer.weight.mul_(1e-6)
    other = copy.deepcopy(layer)
    assert check_equivalence(layer, other, inputs) == 0
    with torch.no_grad():
        other.weight.mul_(1.01)
    with pytest.raises(UsageError, match=r"masked one's by 1\.0e-02 of the largest"):
        check_equivalence(layer, other, inputs)


@pytest.mark.parametrize("batch_first", [True, False])
def test_attention_with_all_of_its_heads_is_attention(batch_first):
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(12, 3, batch_first=batch_first).eval()
    nn.init.normal_(attention.in_proj_bias)
    heads = AttentionHeads(attention)
    x, y = torch.randn(2, 5, 12), torch.randn(2, 5, 12)
    causal = nn.Transformer.generate_square_subsequent_mask(5 if batch_first else 2)
    for mask in (None, causal, causal.isinf()):
        expected, _ = attention(x, y, y, need_weights=False, attn_mask=mask)
        torch.testing.assert_close(heads(x, y, y, attn_mask=mask)[0], expected)
    with pytest.raises(UsageError, match="takes no padding mask"):
        heads(x, y, y, need_weights=True)


@pytest.mark.parametrize("training", [False, True])
def test_attention_that_lost_heads_is_in_the_mode_it_was(training):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.3, batch_first=True)
    model = nn.Sequential(layer, nn.Linear(16, 2)).train(training)
    inputs = torch.randn(2, 5, 16)
    coupling = couple(model, inputs[:1], prunable_weights(model))
    small = shrink(model, coupling, coupling.half("a test"))
    assert any(isinstance(module, AttentionHeads) for module in small.modules())
    assert {module.training for module in small.modules()} == {training}
    assert torch.equal(small(inputs), small(inputs)) != training


def test_attention_that_several_layers_share_loses_heads_in_all_of_them():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            attention = nn.MultiheadAttention(16, 4, batch_first=True)
            self.layers = nn.ModuleList([attention, attention])
            self.last = nn.Linear(16, 2)

        def forward(self, x):
            for layer in self.layers:
                x = x + layer(x, x, x, need_weights=False)[0]
            return self.last(x)

    torch.manual_seed(0)
    model, inputs = Shared().eval(), torch.randn(2, 5, 16)
    coupling = couple(model, inputs[:1], prunable_weights(model))
    assert try_shrinking(model, coupling, inputs) < 1e-5
    first, second = shrink(model, coupling, coupling.half("a test")).layers
    assert first is second
    assert isinstance(first, AttentionHeads)
