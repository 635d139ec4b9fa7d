"""A task of linear regression, for which losses and their derivatives are known in closed form."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from prunebench.datasets import Task
from prunebench.seeding import generator


class Regression(Task):
    """Half the mean squared error of outputs, in float64; inputs are correlated and not centred."""

    input_shape, classes, quality = (6,), 2, "Accuracy"

    def __init__(self, examples: int = 60, outputs: int = 2) -> None:
        rng = generator(0, "regression")
        mix = torch.randn(6, 6, generator=rng, dtype=torch.float64)
        self.x = torch.randn(examples, 6, generator=rng, dtype=torch.float64) @ mix + 0.5
        self.y = torch.randn(examples, outputs, generator=rng, dtype=torch.float64)

    def size(self, split):
        return len(self.x)

    def batches(self, split, batch_size, generator=None):
        assert split == "train"
        order = torch.randperm(len(self.x), generator=generator)
        for index in order.split(batch_size):
            yield self.x[index], self.y[index]

    def loss(self, model, batch):
        """½·Σ over outputs of the squared error, the mean over examples."""
        return 0.5 * F.mse_loss(model(batch[0]), batch[1], reduction="sum") / len(batch[0])

    def sampled_loss(self, model, batch, generator):
        """The same for targets drawn from N(prediction, 1), the model of which this is the loss."""
        outputs = model(batch[0])
        noise = torch.randn(outputs.shape, generator=generator, dtype=torch.float64)
        return self.loss(lambda inputs: outputs, (batch[0], outputs.detach() + noise))

    def inputs(self, batch_size):
        return self.x[:batch_size]


@pytest.fixture
def regression() -> Regression:
    return Regression()


@pytest.fixture
def linear() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 2, bias=False)).double()
