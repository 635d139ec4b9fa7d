"""OBS and WoodFisher, held to the losses that pruning really costs on a quadratic loss."""

import pytest
import torch
from contexts import context_of
from quadratic import at_the_minimum, loss_of
from torch import nn

from prunebench.benchmark.conformance.networks import Synthetic
from prunebench.errors import UsageError
from prunebench.models import LeNet5
from prunebench.strategies import OBS, Fisher, WoodFisher


class ExactOuterProducts(OBS):
    """OBS with unit residuals, which make the mean of g·gᵀ the Hessian of regression exactly."""

    def loss(self, context, batch):
        outputs = context.model(batch[0])
        target = outputs.detach() - 1
        return context.task.loss(lambda inputs: outputs, (batch[0], target))


def test_obs_is_the_increase_of_a_quadratic_loss_when_the_others_make_up_for_a_weight(
    linear, regression
):
    at_the_minimum(linear, regression)
    surgeon = ExactOuterProducts(examples=60, block_size=6, damping=1e-12)
    context = context_of(linear, regression)
    scores = surgeon.score(context)["0.weight"]
    base = loss_of(linear, regression, linear[0].weight.detach())
    for index in range(6):
        others = [i for i in range(6) if i != index]
        weight = linear[0].weight.detach().clone()
        weight[0] = 0
        solution = torch.linalg.lstsq(regression.x[:, others], regression.y[:, :1]).solution
        weight[0, others] = solution[:, 0]
        increase = loss_of(linear, regression, weight) - base
        assert scores[0, index].item() == pytest.approx(increase, rel=1e-6)


@pytest.mark.parametrize("gone", [[1], [0, 4], [1, 2, 3, 5]])
def test_the_update_is_the_least_squares_solution_of_the_weights_that_stay(
    linear, regression, gone
):
    at_the_minimum(linear, regression)
    surgeon = ExactOuterProducts(examples=60, block_size=6, damping=1e-12)
    masks = {"0.weight": torch.ones(2, 6, dtype=torch.bool)}
    masks["0.weight"][0, gone] = False
    updated = surgeon.update(context_of(linear, regression), masks)["0.weight"]
    stay = [i for i in range(6) if i not in gone]
    expected = torch.linalg.lstsq(regression.x[:, stay], regression.y[:, :1]).solution[:, 0]
    assert torch.allclose(updated[0, stay], expected, rtol=1e-6)
    assert not updated[0, gone].any()


def test_what_was_pruned_before_takes_no_part(linear, regression):
    at_the_minimum(linear, regression)
    before = {"0.weight": torch.ones(2, 6, dtype=torch.bool)}
    before["0.weight"][:, 2] = False
    with torch.no_grad():
        linear[0].weight[:, 2] = 0
        stay = [0, 1, 3, 4, 5]
        linear[0].weight[:, stay] = torch.linalg.lstsq(
            regression.x[:, stay], regression.y
        ).solution.T
    surgeon = ExactOuterProducts(examples=60, block_size=6, damping=1e-12)
    scores = surgeon.score(context_of(linear, regression, masks=before))["0.weight"]
    h = (regression.x.T @ regression.x / 60)[stay][:, stay]
    expected = linear[0].weight[0, stay].square() / (2 * torch.linalg.inv(h).diagonal())
    assert torch.allclose(scores[0, stay], expected, rtol=1e-6)


def test_woodfishers_blocks_are_those_of_the_dense_empirical_fisher(linear, regression):
    scores = WoodFisher(examples=60, block_size=5, damping=0.01).score(
        context_of(linear, regression)
    )["0.weight"]
    residuals = regression.x @ linear[0].weight.detach().T - regression.y
    gradients = torch.einsum("no,ni->noi", residuals, regression.x).reshape(60, 12)
    fisher = gradients.T @ gradients / 60 + 0.01 * torch.eye(12, dtype=torch.float64)
    weight = linear[0].weight.detach().flatten()
    expected = torch.cat(
        [
            weight[i : i + 5].square()
            / (2 * torch.linalg.inv(fisher[i : i + 5, i : i + 5]).diagonal())
            for i in (0, 5, 10)
        ]
    )
    assert torch.allclose(scores.flatten(), expected)


def test_blocks_of_one_weight_are_the_diagonal(linear, regression):
    scores = WoodFisher(examples=60, block_size=1, damping=0.01).score(
        context_of(linear, regression)
    )["0.weight"]
    fisher = Fisher().curvature
    diagonal = type(fisher)(examples=60).diagonal(context_of(linear, regression))["0.weight"]
    expected = (diagonal + 0.01) * linear[0].weight.detach().square() / 2
    assert torch.allclose(scores, expected)


def test_pruning_changes_the_kept_weights_so_that_the_loss_grows_less(linear, regression):
    at_the_minimum(linear, regression)
    base = loss_of(linear, regression, linear[0].weight.detach())
    increases = []
    for surgeon in (ExactOuterProducts, WithoutUpdate):
        model = nn.Sequential(nn.Linear(6, 2, bias=False)).double()
        model.load_state_dict(linear.state_dict())
        context = context_of(model, regression)
        surgeon(examples=60, block_size=6, damping=1e-9).prune(context, 7)
        assert int(model[0].weight.count_nonzero()) == 7
        increases.append(loss_of(model, regression, model[0].weight.detach()) - base)
    assert 0 < increases[0] < 0.95 * increases[1]


class WithoutUpdate(ExactOuterProducts):
    def update(self, context, masks):
        return {}


def test_blocks_that_would_not_fit_into_memory_are_refused(regression):
    with pytest.raises(UsageError, match="block_size: 100000 is not possible here"):
        OBS(block_size=100_000).score(context_of(LeNet5(), regression))


class Sequences(Synthetic):
    """Sequences of unequal lengths; the loss is the mean over tokens, which are the examples."""

    lengths = (1, 2, 5, 3)

    def batches(self, split, batch_size, generator=None):
        for length in self.lengths:
            torch.manual_seed(length)
            yield torch.randn(length, 3, dtype=torch.float64), torch.randn(length, 2).double()

    def examples(self, batch):
        return len(batch[0])

    def loss(self, model, batch):
        return (model(batch[0]) - batch[1]).square().sum() / len(batch[0])


def test_tokens_are_the_examples_of_sequences():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 2, bias=False)).double()
    task, damping = Sequences(), 0.25
    scores = WoodFisher(examples=4, block_size=6, damping=damping).score(context_of(model, task))
    weight, fisher = model[0].weight, damping * torch.eye(6, dtype=torch.float64)
    for inputs, targets in task.batches("train", 1):
        loss = (model(inputs) - targets).square().sum()
        (slope,) = torch.autograd.grad(loss, weight)
        fisher += slope.flatten().outer(slope.flatten()) / sum(task.lengths)
    expected = weight.flatten().square() / (2 * torch.linalg.inv(fisher).diagonal())
    assert torch.allclose(scores["0.weight"].flatten(), expected, rtol=1e-9)
