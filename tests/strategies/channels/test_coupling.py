"""What belongs to a channel, against networks small enough to tell by hand."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from prunebench.errors import UsageError
from prunebench.models import CifarResNet
from prunebench.strategies import check_equivalence, couple, prunable_weights, shrink


def coupled(model, *shape):
    return couple(model, torch.zeros(1, *shape), prunable_weights(model))


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.last = nn.Linear(4 * 6 * 6, 2)

    def forward(self, x):
        x = F.relu(self.norm(self.first(x)))
        return self.last((x + self.second(x)).flatten(1))


def test_a_channel_is_a_filter_with_all_that_follows_from_it():
    coupling = coupled(Residual(), 3, 6, 6)
    (group,) = coupling.groups.values()
    assert group.weights == ("first.weight", "second.weight")  # they are added up
    assert coupling.channels == 4
    channels = [0, 1, 2, 3]
    dimensions = {
        name: {dim: channel.tolist() for dim, channel in dims.items()}
        for name, dims in coupling.dimensions.items()
    }
    assert dimensions == {
        "first.weight": {0: channels},  # the channels of images stay
        "first.bias": {0: channels},
        **{
            f"norm.{name}": {0: channels}
            for name in ("weight", "bias", "running_mean", "running_var")
        },
        "second.weight": {0: channels, 1: channels},
        "second.bias": {0: channels},
        # Flattened, a channel is 36 columns in a row; the two classes stay.
        "last.weight": {1: [channel for channel in channels for _ in range(36)]},
    }


def test_masks_and_counts_follow_from_the_channels_kept():
    model = Residual()
    coupling = coupled(model, 3, 6, 6)
    kept = torch.tensor([True, False, True, True])
    masks = coupling.masks(model, kept)
    second = torch.ones(4, 4, 3, 3, dtype=torch.bool)
    second[1], second[:, 1] = False, False
    assert torch.equal(masks["second.weight"], second)
    assert masks["first.bias"].tolist() == kept.tolist()
    assert masks["last.weight"].sum() == 2 * 3 * 36
    assert not any("running" in name for name in masks)  # buffers are no parameters
    fractions = coupling.kept_fractions(kept)
    assert all(float(mask.float().mean()) == fractions[name] for name, mask in masks.items())
    assert torch.equal(coupling.kept(masks), kept)


def test_the_rows_of_a_channel_are_all_filters_that_make_it():
    model = Residual()
    coupling = coupled(model, 3, 6, 6)
    weights = dict(model.named_parameters())
    rows = coupling.rows(coupling.groups["first.weight"], weights)
    assert rows.shape == (4, 3 * 9 + 4 * 9)
    expected = torch.cat([model.first.weight[2].flatten(), model.second.weight[2].flatten()])
    assert torch.equal(rows[2], expected)


def test_what_is_concatenated_stays_apart():
    class Concatenating(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 5, 1)
            self.last = nn.Conv2d(7, 4, 1)

        def forward(self, x):
            return self.last(torch.cat([self.left(x), self.right(x)], 1)).mean((2, 3))

    coupling = coupled(Concatenating(), 3, 4, 4)
    assert {name: g.stop - g.start for name, g in coupling.groups.items()} == {
        "left.weight": 2,
        "right.weight": 5,
    }
    assert coupling.dimensions["last.weight"][1].tolist() == list(range(7))


def test_groups_of_a_convolution_go_as_a_whole_with_what_goes_in_and_out():
    model = nn.Sequential(
        nn.Conv2d(3, 6, 1), nn.Conv2d(6, 12, 1, groups=3), nn.Conv2d(12, 5, 1), nn.Flatten()
    )
    coupling = coupled(model, 3, 2, 2)
    assert coupling.channels == 3
    assert coupling.dimensions["0.weight"][0].tolist() == [0, 0, 1, 1, 2, 2]
    assert coupling.dimensions["1.weight"] == {0: pytest.approx([0] * 4 + [1] * 4 + [2] * 4)}
    assert coupling.dimensions["2.weight"][1].tolist() == [0] * 4 + [1] * 4 + [2] * 4


def test_a_depthwise_convolution_has_its_channel_from_what_it_reads():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 2, 1), nn.Flatten()
    )
    (group,) = coupled(model, 3, 5, 5).groups.values()
    assert group == (("0.weight", "1.weight"), 0, 4)


def test_a_slope_that_all_channels_share_is_no_part_of_them():
    model = nn.Sequential(
        nn.Linear(3, 4), nn.PReLU(), nn.Linear(4, 5), nn.PReLU(5), nn.Linear(5, 2)
    )
    dimensions = coupled(model, 3).dimensions
    assert "1.weight" not in dimensions
    assert dimensions["3.weight"][0].tolist() == dimensions["4.weight"][1].tolist()


def test_heads_of_attention_are_channels():
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(6, 3, batch_first=True)
            self.last = nn.Linear(6, 2)

        def forward(self, x):
            return self.last(self.attention(x, x, x, need_weights=False)[0].mean(1))

    coupling = coupled(Attention(), 4, 6)
    group = coupling.groups["attention.in_proj_weight"]
    assert group.stop - group.start == 3
    heads = [0, 0, 1, 1, 2, 2]
    for name, dim in (("in_proj_weight", 0), ("in_proj_bias", 0)):
        found = coupling.dimensions[f"attention.{name}"][dim] - group.start
        assert found.tolist() == heads * 3  # queries, keys, values
    found = coupling.dimensions["attention.out_proj.weight"][1] - group.start
    assert found.tolist() == heads


def test_channels_that_a_padded_shortcut_moves_go_wherever_they_are():
    coupling = coupled(CifarResNet(depth=20), 3, 32, 32)
    sizes = [group.stop - group.start for group in coupling.groups.values()]
    assert sum(sizes) == coupling.channels == 3 * 16 + 3 * 32 + 3 * 64 + 64
    source = coupling.dimensions["stage2.0.shortcut.channel_source"][0]
    assert torch.equal(source[8:24], coupling.sources["stage2.0.shortcut"])


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2)),  # a mean over channels
        nn.Sequential(nn.Conv2d(3, 4, 1), nn.GroupNorm(2, 4), nn.Conv2d(4, 2, 1)),
        nn.Sequential(nn.Linear(3, 4)),  # the output
        nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)),  # the output as well
    ],
)
def test_what_cannot_be_removed_is_no_channel(model):
    shape = (3, 2, 2) if isinstance(model[0], nn.Conv2d) else (3,)
    assert coupled(model, *shape).channels == 0


def test_channels_of_tied_weights_stay():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.again = nn.Linear(4, 4), nn.Linear(4, 4)
            self.again.weight = self.first.weight
            self.last = nn.Linear(4, 2)

        def forward(self, x):
            return self.last(self.again(self.first(x)))

    assert coupled(Tied(), 4).channels == 0


def test_channels_that_spared_weights_make_stay():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
    coupling = couple(model, torch.zeros(1, 3), ["2.weight", "4.weight"])
    assert list(coupling.groups) == ["2.weight"]


def test_tracing_leaves_the_model_as_it_was_and_passes_through_frozen_layers():
    model = Residual().train()
    model.norm.eval()
    model.first.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.inference_mode():
        assert coupled(model, 3, 6, 6).channels == 0  # a frozen weight is not prunable
    assert couple(model, torch.zeros(1, 3, 6, 6), ["first.weight", "second.weight"]).channels == 4
    assert model.training
    assert not model.norm.training
    assert not model.first.weight.requires_grad
    assert model.second.weight.requires_grad
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_a_network_that_cannot_be_traced_gets_a_sentence():
    class Broken(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, x):
            raise RuntimeError("no images today")

    with pytest.raises(UsageError, match=r"Broken cannot be traced \(RuntimeError: no images"):
        coupled(Broken(), 3)


class AttentionAlone(nn.Module):
    """Attention that nothing is added to, so that its outputs may go too."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(5, 16)
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)
        self.middle = nn.Linear(16, 8)
        self.last = nn.Linear(8, 3)

    def forward(self, x):
        x = self.first(x)
        return self.last(F.relu(self.middle(self.attention(x, x, x)[0].mean(1))))


def test_heads_go_and_so_do_the_outputs_of_attention():
    torch.manual_seed(0)
    model = AttentionAlone().eval()
    coupling = coupled(model, 6, 5)
    assert coupling.dimensions["attention.out_proj.weight"].keys() == {0, 1}
    stays = torch.ones(coupling.channels, dtype=torch.bool)
    for group in coupling.groups.values():
        stays[group.start] = False
    small = shrink(model, coupling, stays)
    for name, dimensions in coupling.dimensions.items():
        parameter = dict(model.named_parameters())[name]
        for dim, channels in dimensions.items():
            gone = (channels >= 0) & ~stays[channels.clamp(min=0)]
            parameter.data[(slice(None),) * dim + (gone,)] = 0
    check_equivalence(model, small, torch.randn(2, 6, 5))
