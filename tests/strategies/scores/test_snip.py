"""SNIP, against the derivative by explicit masks."""

import pytest
import torch
from contexts import context_of
from torch import nn
from torch.nn import functional as F

from prunebench.benchmark.conformance.networks import Synthetic
from prunebench.strategies import SNIP, GlobalGradientMagnitude


class Normalised(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.norm, self.b = nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 2)
        self.norm.running_mean += 3

    def forward(self, x):
        return self.b(torch.relu(self.norm(self.a(x))))


def test_the_score_is_the_share_of_the_derivative_by_the_mask(regression):
    model = Normalised().double()
    found = SNIP(batches=1, batch_size=60).score(context_of(model, regression))
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    masks = {
        name: torch.ones_like(p).requires_grad_() for name, p in parameters.items() if p.ndim == 2
    }
    masked = {name: p * masks.get(name, 1) for name, p in parameters.items()}
    hidden = F.batch_norm(
        F.linear(regression.x, masked["a.weight"], masked["a.bias"]), None, None,
        masked["norm.weight"], masked["norm.bias"], training=True,
    )  # fmt: skip
    outputs = F.linear(hidden.relu(), masked["b.weight"], masked["b.bias"])
    (0.5 * F.mse_loss(outputs, regression.y, reduction="sum") / 60).backward()
    total = sum(mask.grad.abs().sum() for mask in masks.values())
    for name, mask in masks.items():
        assert torch.allclose(found[name], mask.grad.abs() / total), name
    assert sum(score.sum() for score in found.values()).item() == pytest.approx(1)


def test_statistics_of_normalisation_stay_as_they_were(regression):
    model = Normalised().double()
    model.train()
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    SNIP().score(context_of(model, regression))
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())
    assert model.norm.training
    assert model.norm.track_running_stats


def test_without_normalisation_it_ranks_as_gradient_magnitude_does():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(36, 16), nn.ReLU(), nn.Linear(16, 4))
    one = SNIP(batches=2, batch_size=64).score(context_of(model, Synthetic()))
    other = GlobalGradientMagnitude(batches=2, batch_size=64).score(context_of(model, Synthetic()))
    flat, reference = (torch.cat([s.flatten() for s in x.values()]) for x in (one, other))
    assert torch.equal(flat.argsort(stable=True), reference.argsort(stable=True))


def test_no_gradient_at_all_gives_scores_of_zero_and_no_nan(regression):
    model = nn.Sequential(nn.Linear(6, 2)).double()
    regression.y = model(regression.x).detach()
    found = SNIP(batches=1, batch_size=60).score(context_of(model, regression))
    assert not found["0.weight"].any()
