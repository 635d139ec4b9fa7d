"""What goes together, where data are moved about on the way from layer to layer."""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from prunebench.strategies import couple, prunable_weights, try_shrinking

CHANNELS = 12


class Between(nn.Module):
    """Two convolutions, and between them what is to be traced."""

    def __init__(self, function, outputs=CHANNELS):
        super().__init__()
        self.first = nn.Conv2d(3, CHANNELS, 1)
        self.scale = nn.Parameter(torch.randn(CHANNELS, 1, 1))
        self.last = nn.Conv2d(outputs, 2, 1)
        self.function = function

    def forward(self, images):
        return self.last(self.function(self, self.first(images))).mean((2, 3))


def coupled(model):
    return couple(model, torch.zeros(1, 3, 4, 4), prunable_weights(model))


def shuffled(_, x):
    return x.view(len(x), 2, x.shape[1] // 2, 4, 4).transpose(1, 2).reshape(len(x), -1, 4, 4)


def swapped_halves(_, x):
    one, other = x.chunk(2, 1)
    return torch.cat([other, one], 1)


def test_channels_that_are_moved_are_found_where_they_are():
    coupling = coupled(Between(shuffled))
    # The two halves go pairwise, as the code takes half of however many channels there are.
    assert coupling.dimensions["first.weight"][0].tolist() == [0, 1, 2, 3, 4, 5] * 2
    assert coupling.dimensions["last.weight"][1].tolist() == [n for n in range(6) for _ in "ab"]


def test_equal_parts_stay_equal():
    coupling = coupled(Between(swapped_halves))
    assert coupling.dimensions["first.weight"][0].tolist() == [0, 1, 2, 3, 4, 5] * 2
    assert coupling.dimensions["last.weight"][1].tolist() == [0, 1, 2, 3, 4, 5] * 2


def test_a_vector_goes_with_the_channels_that_it_scales():
    coupling = coupled(Between(lambda model, x: x * model.scale))
    assert coupling.dimensions["scale"][0].tolist() == list(range(CHANNELS))


@pytest.mark.parametrize(
    "function",
    [
        lambda _, x: torch.cat(x.split(6, 1)[::-1], 1),  # it says how many there are
        lambda _, x: x.reshape(-1, 2, 6, 4, 4).flip(1).flatten(1, 2),
        lambda _, x: x[:, list(range(11, -1, -1))],
        lambda _, x: x / x.shape[1],
        lambda _, x: x.sort(1).values,  # an operation across channels
        lambda _, x: x.softmax(1),
        lambda _, x: x - x.mean(1, keepdim=True),
        lambda _, x: x * torch.ones(CHANNELS, 1, 1),  # what meets them stays
        lambda _, x: F.layer_norm(x.movedim(1, 3), (CHANNELS,)).movedim(3, 1),
        lambda _, x: (x.flatten(2) @ x.flatten(2).mT @ x.flatten(2)).view_as(x),
    ],
)
def test_channels_that_cannot_go_stay(function):
    model = Between(function)
    assert coupled(model).channels == 0
    assert model(torch.randn(2, 3, 4, 4)).shape == (2, 2)  # it is as it was


def test_only_the_channels_of_which_code_loses_track_stay():
    class Split(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.split = nn.Conv2d(3, 5, 1), nn.Conv2d(5, 8, 1)
            self.last = nn.Conv2d(4, 2, 1)

        def forward(self, images):
            one, other = self.split(self.first(images)).split(4, 1)
            return self.last(one * other).mean((2, 3))

    assert list(coupled(Split()).groups) == ["first.weight"]


def test_paths_that_are_weighed_by_a_softmax_go_together():
    """As in selective kernels (Li et al. 2019): a softmax over paths, channel by channel."""

    class Selective(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Conv2d(3, 6, 1), nn.Conv2d(3, 6, 3, padding=1)
            self.attention = nn.Conv2d(6, 12, 1)
            self.last = nn.Conv2d(6, 2, 1)

        def forward(self, images):
            paths = torch.stack([self.one(images), self.two(images)], 1)
            weights = self.attention(paths.sum(1).mean((2, 3), keepdim=True))
            batch, channels = weights.shape[:2]
            weights = weights.view(batch, 2, channels // 2, 1, 1).softmax(1)
            return self.last((paths * weights).sum(1)).mean((2, 3))

    model = Selective()
    coupling = coupled(model)
    assert coupling.channels == 6
    assert coupling.dimensions["attention.weight"][0].tolist() == [0, 1, 2, 3, 4, 5] * 2
    try_shrinking(model, coupling, torch.randn(2, 3, 4, 4))


class Gate(nn.Module):
    """Squeeze and excitation (Hu et al. 2018)."""

    def __init__(self):
        super().__init__()
        self.down, self.up = nn.Linear(CHANNELS, 5), nn.Linear(5, CHANNELS)

    def forward(self, x):
        gate = self.up(self.down(x.mean((2, 3))).relu()).sigmoid()
        return x * gate[:, :, None, None]


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)

    def forward(self, x):
        return x + self.conv(x)


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(CHANNELS, 7, 1), nn.Conv2d(CHANNELS, 5, 1)

    def forward(self, x):
        return torch.cat([self.two(x), self.one(x)], 1)


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(self, x)


PARTS = {
    "convolution": lambda: nn.Conv2d(CHANNELS, CHANNELS, 1),
    "depthwise": lambda: nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, groups=CHANNELS),
    "grouped": lambda: nn.Conv2d(CHANNELS, CHANNELS, 1, groups=3),
    "normalisation": lambda: nn.BatchNorm2d(CHANNELS),
    "slopes": lambda: nn.PReLU(CHANNELS),
    "groups": lambda: nn.GroupNorm(2, CHANNELS),
    "gate": Gate,
    "residual": Residual,
    "branches": Branches,
    "pool": lambda: nn.AvgPool2d(3, 1, 1),
    "sigmoid": nn.Sigmoid,
    "shuffle": lambda: Function(shuffled),
    "halves": lambda: Function(swapped_halves),
    "split": lambda: Function(lambda _, x: torch.cat(x.split([4, 8], 1)[::-1], 1)),
    "padded": lambda: Function(lambda _, x: F.pad(x, (1, 1, 1, 1, 2, 0))[:, 1:13, 1:-1, 1:-1]),
    "tokens": lambda: Function(
        lambda _, x: x.flatten(2).mT.reshape(-1, 4, 4, x.shape[1]).movedim(3, 1)
    ),
}


@pytest.mark.slow
@settings(max_examples=25)
@given(st.lists(st.sampled_from(sorted(PARTS)), min_size=1, max_size=6))
@example(["branches", "depthwise", "padded", "padded"])
def test_whatever_a_network_is_made_of_it_can_be_shrunk(names):
    torch.manual_seed(0)
    parts = [PARTS[name]() for name in names]
    model = nn.Sequential(
        nn.Conv2d(3, CHANNELS, 1), *parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 2)
    ).eval()
    inputs = torch.randn(2, 3, 4, 4)
    coupling = couple(
        model, inputs[:1], [n for n in prunable_weights(model) if n != f"{len(model) - 1}.weight"]
    )
    assert try_shrinking(model, coupling, inputs) < 1e-4
    if set(names) <= {"convolution", "depthwise", "normalisation", "slopes", "pool", "gate"}:
        # The channels of the first convolution, at the least, can be removed.
        assert "0.weight" in coupling.groups
