"""Masks: exact counts whatever ties, and zeros that stay zero under any optimizer."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from prunebench.seeding import generator
from prunebench.strategies import MaskedWeights, collapsed, full_masks, keep_largest, kept

# Few distinct values, so that most examples have ties, and the two infinities among them.
tied_scores = st.lists(
    st.sampled_from([-torch.inf, -1.5, -0.0, 0.0, 1.0, 2.5, torch.inf]), min_size=1, max_size=40
)


@given(tied_scores, st.integers(-2, 45), st.integers(0, 1000))
def test_keep_largest_keeps_exactly_so_many_of_the_largest_whatever_ties(values, count, seed):
    chosen = keep_largest(torch.tensor(values), count, generator(seed))
    expected = max(0, min(count, len(values)))
    assert int(chosen.sum()) == expected
    best = sorted(values, reverse=True)[:expected]
    assert sorted(torch.tensor(values)[chosen].tolist(), reverse=True) == best


@given(st.permutations(range(30)), st.integers(0, 30))
def test_keep_largest_is_a_sort_where_nothing_ties(values, count):
    chosen = keep_largest(torch.tensor(values, dtype=torch.float64), count, generator(0))
    assert chosen.nonzero().squeeze(1).tolist() == [
        index for index, value in enumerate(values) if value >= 30 - count
    ]


def test_keep_largest_draws_lots_among_equals_with_the_generator_alone():
    scores = torch.tensor([[3.0, 1.0, 1.0], [1.0, 1.0, 0.0]])
    drawn = [keep_largest(scores, 3, generator(seed)) for seed in range(200)]
    assert all(chosen.shape == scores.shape for chosen in drawn)
    assert torch.equal(drawn[7], keep_largest(scores, 3, generator(7)))
    share = torch.stack(drawn).float().mean(0)
    assert share[0, 0] == 1
    assert share[1, 2] == 0
    for position in ((0, 1), (0, 2), (1, 0), (1, 1)):
        assert share[position] == pytest.approx(0.5, abs=0.15)


def test_counts_and_collapses_are_read_off_the_masks():
    masks = full_masks({"a": torch.zeros(2, 3), "b": torch.zeros(4)})
    assert kept(masks) == 10
    assert collapsed(masks) == []
    masks["b"] = torch.zeros(4, dtype=torch.bool)
    assert kept(masks) == 6
    assert collapsed(masks) == ["b"]


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 5)
    )


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(18, 8, batch_first=True)
        self.last = nn.Linear(8, 5)

    def forward(self, images):
        return self.last(self.lstm(images.flatten(2).view(-1, 6, 18))[0][:, -1])


OPTIMIZERS = {
    "SGD with momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.05),
    "Nesterov": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "Adam": lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.05),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.01, fused=True),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("kind", [convolutional, Recurrent])
def test_pruned_weights_stay_exactly_zero_through_training(kind, layout, optimizer):
    torch.manual_seed(0)
    model = kind().to(memory_format=layout)
    stepper = OPTIMIZERS[optimizer](model.parameters())
    inputs, labels = torch.randn(32, 3, 6, 6), torch.arange(32) % 5

    def step():
        stepper.zero_grad()
        F.cross_entropy(model(inputs), labels).backward()
        stepper.step()

    step()
    step()  # momentum is there before the masks are
    weights = {name: p for name, p in model.named_parameters() if p.ndim > 1}
    masks = {name: torch.rand(p.shape) < 0.3 for name, p in weights.items()}
    masked = MaskedWeights(model, masks)
    masked.apply()
    before = {name: weight.detach().clone() for name, weight in weights.items()}
    for _ in range(5):
        step()
        masked.apply()
    for name, mask in masks.items():
        assert not weights[name][~mask].any()
        assert (weights[name] != before[name])[mask].all()


def test_applying_masks_changes_no_weight_that_is_kept_and_no_other_parameter():
    model = convolutional().to(memory_format=torch.channels_last)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    mask = torch.rand(8, 3, 3, 3) < 0.5
    MaskedWeights(model, {"0.weight": mask}).apply()
    after = dict(model.named_parameters())
    assert torch.equal(after["0.weight"], before["0.weight"] * mask)
    assert all(torch.equal(after[name], before[name]) for name in before if name != "0.weight")


def test_no_masks_are_masks_too():
    MaskedWeights(nn.Linear(2, 2), {}).apply()
