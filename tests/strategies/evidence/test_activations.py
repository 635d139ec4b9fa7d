"""What is seen of layers: those that a network does not call, and those that it does not use."""

import pytest
import torch
from contexts import context_of
from torch import nn
from torch.nn import functional as F

from prunebench.errors import UsageError
from prunebench.strategies import (
    RIA,
    ActivationChange,
    ActivationGradient,
    ChannelTaylor,
    GlobalActivationMagnitude,
    SparseGPT,
    Uniform,
    Wanda,
)

OBSERVING = [
    Wanda(batches=1),
    Wanda(batches=1, sequential=True),
    RIA(batches=1),
    GlobalActivationMagnitude(batch_size=8),
    SparseGPT(batches=1),
    SparseGPT(batches=1, sequential=False),
    ChannelTaylor(batches=1, allocation=Uniform()),
    ActivationGradient(batches=1),
    ActivationChange(batches=1),
]


class Net(nn.Module):
    """Three layers; of the second the weight alone is used, or nothing."""

    def __init__(self, *, uses_weight):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(64, 8), nn.Linear(8, 8), nn.Linear(8, 10)
        self.uses_weight = uses_weight

    def forward(self, inputs):
        hidden = self.first(inputs.flatten(1)).relu()
        if self.uses_weight:
            hidden = F.linear(hidden, self.second.weight).relu()
        return self.last(hidden)


def pruned(strategy, digits, *, uses_weight):
    torch.manual_seed(0)
    model = Net(uses_weight=uses_weight)
    context = context_of(model, digits, strategy=strategy)
    budget = sum(mask.numel() for mask in context.masks.values()) // 2
    return strategy.prune(context, budget).masks


@pytest.mark.parametrize("strategy", OBSERVING, ids=str)
def test_a_weight_that_is_used_without_its_layer_is_refused(strategy, digits):
    """It had a norm of zero, and so was pruned as if nothing ever flowed through it."""
    with pytest.raises(
        UsageError, match=r"^what second\.weight of Net is multiplied with does not"
    ):
        pruned(strategy, digits, uses_weight=True)


@pytest.mark.parametrize("strategy", OBSERVING, ids=str)
def test_a_layer_that_is_not_used_at_all_is_pruned(strategy, digits):
    assert set(pruned(strategy, digits, uses_weight=False)) >= {"first.weight", "second.weight"}
