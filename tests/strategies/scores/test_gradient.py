"""Gradients of the scoring batches, and the score made of them, in float64."""

import pytest
import torch
from contexts import context_of
from torch import nn
from torch.nn import functional as F

from prunebench.datasets import Task
from prunebench.seeding import generator
from prunebench.strategies import GlobalGradientMagnitude


class Regression(Task):
    """Half the squared error of a linear function with noise, in float64."""

    input_shape, classes, quality = (5,), 3, "Accuracy"

    def __init__(self, examples: int = 70) -> None:
        rng = generator(0, "regression")
        self.x = torch.randn(examples, 5, generator=rng, dtype=torch.float64)
        self.y = torch.randn(examples, 3, generator=rng, dtype=torch.float64)

    def size(self, split):
        return len(self.x)

    def batches(self, split, batch_size, generator=None):
        assert split == "train"
        order = torch.randperm(len(self.x), generator=generator)
        for index in order.split(batch_size):
            yield self.x[index], self.y[index]

    def loss(self, model, batch):
        return 0.5 * F.mse_loss(model(batch[0]), batch[1])

    def inputs(self, batch_size):
        return self.x[:batch_size]


def linear() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 3)).double()


def normalised() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 3)
    ).double()
    model[1].running_mean += 0.3
    return model


@pytest.mark.parametrize("make", [linear, normalised])
@pytest.mark.parametrize("batch_size", [1, 16, 33, 70, 500])  # 16 and 33 leave smaller last batches
def test_gradients_are_those_of_the_mean_loss_over_all_examples_in_any_batches(make, batch_size):
    model, task = make(), Regression()
    one_pass = -(-70 // batch_size)
    gradients = context_of(model, task).gradients(one_pass, batch_size)
    model.eval()
    task.loss(model, (task.x, task.y)).backward()
    for name, gradient in gradients.items():
        expected = model.get_parameter(name).grad
        assert torch.allclose(gradient, expected, rtol=1e-12, atol=1e-14)


def test_more_batches_than_there_are_examples_start_again():
    task = Regression()
    sizes = [len(x) for x, _ in context_of(linear(), task).batches(5, 32)]
    assert sizes == [32, 32, 6, 32, 32]


def test_the_score_is_the_slope_of_the_loss_along_a_weights_way_to_zero():
    model, task = linear(), Regression()
    scores = GlobalGradientMagnitude(batches=1, batch_size=70).score(context_of(model, task))
    weight, full = model[0].weight, (task.x, task.y)
    step = 1e-6
    with torch.no_grad():
        for row in range(3):
            for column in range(5):
                value = weight[row, column].item()
                losses = []
                for factor in (1 + step, 1 - step):
                    weight[row, column] = value * factor
                    losses.append(float(task.loss(model, full)))
                weight[row, column] = value
                slope = abs(losses[0] - losses[1]) / (2 * step)
                assert float(scores["0.weight"][row, column]) == pytest.approx(slope, rel=1e-5)


def test_a_weight_without_influence_has_the_gradient_zero():
    class Unused(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.Linear(5, 3), nn.Linear(5, 3)

        def forward(self, inputs):
            return self.used(inputs)

    gradients = context_of(Unused().double(), Regression()).gradients(1, 70)
    assert not gradients["unused.weight"].any()
    assert gradients["used.weight"].any()


def test_taking_gradients_leaves_statistics_modes_and_grad_alone():
    model = normalised()
    model[1].eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model[0].weight.grad = torch.ones_like(model[0].weight)
    context_of(model, Regression()).gradients(3, 16)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(model[0].weight.grad, torch.ones_like(model[0].weight))
    assert all(p.grad is None for p in model.parameters() if p is not model[0].weight)
    assert [module.training for module in model] == [True, False, True, True, True]


def test_modes_come_back_also_when_the_loss_fails():
    model = normalised()
    task = Regression()
    task.loss = lambda model, batch: 1 / 0
    with pytest.raises(ZeroDivisionError):
        context_of(model, task).gradients(1, 16)
    assert all(module.training for module in model.modules())
