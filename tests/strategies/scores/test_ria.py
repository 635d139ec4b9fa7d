"""RIA: against a matrix that is worked out by hand, and what it is for."""

import pytest
import torch
from contexts import context_of
from torch import nn
from torch.nn import functional as F

from prunebench.benchmark.conformance.networks import Synthetic
from prunebench.strategies import RIA, PerOutput, Wanda


class Given(Synthetic):
    def __init__(self, inputs):
        self.given = inputs

    def batches(self, split, batch_size, generator=None):
        yield self.given, torch.zeros(len(self.given), dtype=torch.long)


def scores(strategy, layer, inputs):
    return strategy.score(context_of(nn.Sequential(layer), Given(inputs)))["0.weight"]


def test_the_score_is_the_share_of_row_and_column_times_the_root_of_the_inputs_norm():
    layer = nn.Linear(3, 2, bias=False)
    layer.weight.data = torch.tensor([[1.0, -2.0, 1.0], [3.0, 2.0, 0.0]])
    inputs = torch.tensor([[3.0, 0.0, 1.0], [4.0, 1.0, 0.0]])  # norms 5, 1, 1
    root = 5**0.5
    first, second = scores(RIA(batches=1), layer, inputs).tolist()
    assert first == pytest.approx([(1 / 4 + 1 / 4) * root, 2 / 4 + 2 / 4, 1 / 4 + 1 / 1])
    assert second == pytest.approx([(3 / 5 + 3 / 4) * root, 2 / 5 + 2 / 4, 0.0])
    weights_alone = scores(RIA(batches=1, power=0), layer, inputs)
    assert weights_alone[0].tolist() == pytest.approx([0.5, 1.0, 1.25])
    doubled = scores(RIA(batches=1, power=1), layer, inputs)
    assert doubled[1, 0].item() == pytest.approx(1.35 * 5)


def test_a_convolution_counts_as_a_matrix_of_outputs_and_kernel_positions():
    torch.manual_seed(0)
    convolution, linear = nn.Conv2d(2, 3, 3, bias=False), nn.Linear(18, 3, bias=False)
    linear.weight.data = convolution.weight.data.flatten(1)
    images = torch.randn(4, 2, 5, 5)
    patches = F.unfold(images, 3).transpose(1, 2).flatten(0, 1)

    class Pooled(nn.Sequential):
        def forward(self, inputs):
            return super().forward(inputs).mean((2, 3))

    of_convolution = RIA(batches=1).score(context_of(Pooled(convolution), Given(images)))
    of_matrix = scores(RIA(batches=1), linear, patches)
    assert torch.allclose(of_convolution["0.weight"].flatten(1), of_matrix, rtol=1e-5)


def test_an_input_of_small_weights_is_not_lost_as_a_whole():
    torch.manual_seed(0)
    layer, inputs = nn.Linear(20, 30, bias=False), torch.randn(40, 20)
    layer.weight.data[:, 7] *= 0.01

    def left(strategy):
        context = context_of(nn.Sequential(layer), Given(inputs))
        return strategy.masks(context, 480)["0.weight"][:, 7].sum().item()

    assert left(Wanda(batches=1, allocation=PerOutput())) == 0
    assert left(RIA(batches=1, allocation=PerOutput())) > 5


def test_a_layer_without_weights_has_no_scores_but_zero():
    layer = nn.Linear(3, 2)
    nn.init.zeros_(layer.weight)
    assert not scores(RIA(batches=1), layer, torch.ones(2, 3)).any()


def test_the_groups_of_a_convolution_have_inputs_of_their_own():
    torch.manual_seed(0)
    grouped, images = nn.Conv2d(6, 9, 1, groups=3, bias=False), torch.randn(4, 6, 5, 5)

    class Pooled(nn.Sequential):
        def forward(self, inputs):
            return super().forward(inputs).mean((2, 3))

    found = RIA(batches=1).score(context_of(Pooled(grouped), Given(images)))["0.weight"]
    pixels = images.movedim(1, -1).flatten(0, 2)
    for group in range(3):
        linear = nn.Linear(2, 3, bias=False)
        linear.weight.data = grouped.weight.data[3 * group : 3 * group + 3].flatten(1)
        alone = scores(RIA(batches=1), linear, pixels[:, 2 * group : 2 * group + 2])
        assert torch.allclose(found[3 * group : 3 * group + 3].flatten(1), alone, rtol=1e-5)
