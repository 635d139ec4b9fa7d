"""Networks that keep what they compute of their weights until they are told to train, as LeViT."""

import pytest
import torch

from prunebench import load, run

KEEPING = """
import torch
from torch import nn


class Keeping(nn.Module):
    def __init__(self, input_shape=(1, 8, 8), classes=10):
        super().__init__()
        self.first = nn.Linear(64, 32)
        self.scale = nn.Parameter(torch.ones(32))
        self.last = nn.Linear(32, classes)
        self.kept = None

    def train(self, mode=True):
        if mode:
            self.kept = None
        return super().train(mode)

    def forward(self, images):
        scale = self.scale.exp() if self.kept is None else self.kept
        if not self.training:
            self.kept = scale
        return self.last(self.first(images.flatten(1)).relu() * scale)
"""


@pytest.mark.parametrize("strategy", ["GlobalMagnitude", "StructuredL1(structure=CoupledChannels)"])
def test_what_is_measured_is_what_the_weights_give(experiment, digits, tmp_path, strategy):
    """The last epochs are worse, so that the weights of an earlier one are put back."""
    file = tmp_path / "keeping.py"
    file.write_text(KEEPING)
    recipe = {"epochs": 4, "learning_rate": 3.0}
    settings = {"strategy": strategy, "compression": 1.5, "finetuning": recipe}
    record = run(experiment(model=f"{file}:Keeping", **settings), runs=tmp_path)
    assert record.error is None
    network = load(record, runs=tmp_path, trust=True)
    (batch,) = digits.batches("test", 10_000)
    with torch.no_grad():
        assert record.final["loss"] == pytest.approx(float(digits.loss(network, batch)), rel=1e-4)
