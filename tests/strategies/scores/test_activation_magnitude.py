"""Activation magnitudes, against loops over examples, positions and inputs."""

import pytest
import torch
from contexts import context_of
from torch import nn
from torch.nn import functional as F

from prunebench.strategies import GlobalActivationMagnitude, LayerActivationMagnitude, kept


class Layers(nn.Module):
    """A grouped convolution, a layer on each position, steps first, and one on all of them."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.grouped = nn.Conv1d(1, 4, 2), nn.Conv1d(4, 6, 2, groups=2)
        self.steps, self.last = nn.Linear(6, 3), nn.Linear(12, 2)

    def forward(self, x):
        self.seen = {"first": x.unsqueeze(1)}
        self.seen["grouped"] = F.relu(self.first(self.seen["first"]))
        self.seen["steps"] = torch.tanh(self.grouped(self.seen["grouped"])).permute(2, 0, 1)
        self.seen["last"] = self.steps(self.seen["steps"]).transpose(0, 1).flatten(1)
        return self.last(self.seen["last"])


def test_scores_are_weights_times_the_mean_input_of_their_layer(regression):
    model = Layers().double()
    scores = GlobalActivationMagnitude(batch_size=60).score(context_of(model, regression))
    with torch.no_grad():
        model(regression.x)
    examples_first = {**model.seen, "steps": model.seen["steps"].permute(1, 2, 0)}
    for name, x in examples_first.items():
        weight = getattr(model, name).weight.detach()
        x = x.unsqueeze(2) if x.ndim == 2 else x  # examples × inputs × positions
        groups = x.shape[1] // weight.shape[1]
        for output in range(len(weight)):
            for number in range(weight.shape[1]):
                channel = output // (len(weight) // groups) * weight.shape[1] + number
                positions = range(x.shape[2])
                mean = sum(abs(float(x[:, channel, p].mean())) for p in positions) / len(positions)
                expected = weight[output, number].abs() * mean
                assert torch.allclose(scores[f"{name}.weight"][output, number], expected), name


@pytest.mark.parametrize("strategy", [GlobalActivationMagnitude(), LayerActivationMagnitude()])
def test_what_is_never_given_anything_goes_first(regression, strategy):
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2)).double()
    with torch.no_grad():
        model[0].bias[:4] = -1e3  # units that are closed on all examples
    context = context_of(model, regression)
    masks = strategy.masks(context, 32)
    assert kept(masks) == 32
    assert not masks["2.weight"][:, :4].any()
