"""Estimators of the Hessian's diagonal, where it is known."""

import pytest
import torch
from contexts import context_of
from torch import nn
from torch.nn import functional as F

from prunebench.benchmark.conformance.networks import Synthetic
from prunebench.errors import UsageError
from prunebench.models import LeNet300100
from prunebench.strategies import (
    OBD,
    EmpiricalFisher,
    Exact,
    Fisher,
    GaussNewton,
    Hutchinson,
    hessian_product,
)


def squares(task):
    """For each weight of a linear model the mean of its input's square: the Hessian's diagonal."""
    return task.x.square().mean(0).expand(2, 6)


class Tanh(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.a, self.b = nn.Linear(6, 5), nn.Linear(5, 2)

    def forward(self, x):
        return self.b(torch.tanh(self.a(x)))


class Recurrent(nn.Module):
    def __init__(self, **options):
        super().__init__()
        torch.manual_seed(1)
        self.lstm = nn.LSTM(2, 4, batch_first=True, **options)
        self.out = nn.Linear(8 if options.get("bidirectional") else 4, 2)

    def forward(self, x):
        return self.out(self.lstm(x.reshape(-1, 3, 2))[0][:, -1])


def full_hessian(model, task):
    """By torch's own Hessian: its diagonal, and the norm of each row beside the diagonal."""
    names = [name for name, p in model.named_parameters() if p.ndim >= 2]
    parameters = dict(model.named_parameters())

    def loss(*weights):
        values = {**parameters, **dict(zip(names, weights, strict=True))}
        outputs = torch.func.functional_call(model, values, (task.x,))
        return 0.5 * F.mse_loss(outputs, task.y, reduction="sum") / len(task.x)

    blocks = torch.autograd.functional.hessian(loss, tuple(parameters[n].detach() for n in names))
    diagonals, besides = {}, {}
    for i, name in enumerate(names):
        shape = parameters[name].shape
        rows = torch.cat([block.reshape(shape.numel(), -1) for block in blocks[i]], 1)
        diagonal = blocks[i][i].reshape(shape.numel(), -1).diagonal()
        diagonals[name] = diagonal.view(shape)
        besides[name] = (rows.square().sum(1) - diagonal.square()).sqrt().view(shape)
    return diagonals, besides


def test_the_exact_diagonal_of_linear_regression_is_the_mean_square_of_the_inputs(
    linear, regression
):
    found = Exact(batches=3, batch_size=20).diagonal(context_of(linear, regression))
    assert torch.allclose(found["0.weight"], squares(regression))
    rows = regression.x.T @ regression.x / 60  # the sum of a row is what a careless trick gives
    assert not torch.allclose(found["0.weight"], rows.sum(1).expand(2, 6), rtol=0.1)


@pytest.mark.parametrize("make", [Tanh, Recurrent], ids=["perceptron", "LSTM"])
def test_the_exact_diagonal_is_that_of_torchs_hessian(make, regression):
    model = make().double()
    found = Exact(batches=2, batch_size=30).diagonal(context_of(model, regression))
    for name, expected in full_hessian(model, regression)[0].items():
        assert torch.allclose(found[name], expected, atol=1e-10), name


def test_the_exact_diagonal_leaves_out_what_is_pruned_and_takes_any_memory_format(regression):
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Unflatten(1, (1, 2, 3)), nn.Conv2d(1, 3, 2), nn.Tanh(), nn.Flatten(), nn.Linear(6, 2)
    ).double()
    plain = Exact(batches=1, batch_size=60).diagonal(context_of(model, regression))
    masks = {"1.weight": torch.rand(3, 1, 2, 2) < 0.5, "4.weight": torch.rand(2, 6) < 0.5}
    model = model.to(memory_format=torch.channels_last)
    pruned = Exact(batches=1, batch_size=60).diagonal(context_of(model, regression, masks=masks))
    for name, mask in masks.items():
        assert torch.allclose(pruned[name], plain[name] * mask)


def test_exactness_is_refused_for_large_networks_and_the_alternative_named():
    with pytest.raises(UsageError, match=r"266,200 weights.*5,000 are allowed; take GaussNewton"):
        Exact().diagonal(context_of(LeNet300100(), Synthetic()))


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [1, 7, 60])
def test_gauss_newton_is_the_exact_diagonal_in_expectation_whatever_the_batches(
    linear, regression, batch_size
):
    draws = 200_000 // batch_size if batch_size > 1 else 20_000
    estimate = GaussNewton(batches=min(draws, 20_000), batch_size=batch_size)
    found = estimate.diagonal(context_of(linear, regression))
    assert torch.allclose(found["0.weight"], squares(regression), rtol=0.08)


def test_gauss_newton_is_never_negative_where_the_hessian_is(regression):
    model = Tanh().double()
    exact, _ = full_hessian(model, regression)
    assert any((diagonal < 0).any() for diagonal in exact.values())
    found = GaussNewton(batches=8).diagonal(context_of(model, regression))
    assert all((diagonal >= 0).all() for diagonal in found.values())


@pytest.mark.slow
def test_hutchinson_is_exact_in_expectation_and_can_be_negative(regression):
    model = Tanh().double()
    found = Hutchinson(probes=1_000, batches=1, batch_size=60).diagonal(
        context_of(model, regression)
    )
    exact, besides = full_hessian(model, regression)
    for name, expected in exact.items():
        standard_error = besides[name] / 1_000**0.5
        assert ((found[name] - expected).abs() < 4 * standard_error).all(), name
    few = Hutchinson(probes=1).diagonal(context_of(model, regression))
    assert any((diagonal < 0).any() for diagonal in few.values())


def test_the_empirical_fisher_is_the_mean_of_squared_gradients_of_single_examples(
    linear, regression
):
    found = EmpiricalFisher(examples=60).diagonal(context_of(linear, regression))
    residuals = regression.x @ linear[0].weight.detach().T - regression.y
    expected = torch.einsum("no,ni->noi", residuals, regression.x).square().mean(0)
    assert torch.allclose(found["0.weight"], expected)


@pytest.mark.slow
def test_fisher_and_obd_agree_where_the_model_predicts_right():
    """Labels drawn from a softmax model itself: both are its Gauss-Newton diagonal."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(36, 4)).double()

    class WellSpecified(Synthetic):
        def __init__(self):
            super().__init__(6_000)
            self._inputs = self._inputs.double()
            probabilities = model(self._inputs).detach().softmax(1)
            self._labels = torch.multinomial(probabilities, 1)[:, 0]

    task = WellSpecified()
    fisher = Fisher(curvature=EmpiricalFisher(examples=6_000)).score(context_of(model, task))
    obd = OBD(curvature=Exact(batches=1, batch_size=6_000)).score(context_of(model, task))
    ratio = fisher["0.weight"].sum() / obd["0.weight"].sum()
    assert ratio.item() == pytest.approx(1, abs=0.03)
    pair = torch.stack([fisher["0.weight"].flatten(), obd["0.weight"].flatten()])
    assert torch.corrcoef(pair)[0, 1] > 0.99


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_hessian_products_go_through_an_lstm(options, dtype, regression):
    model = Recurrent(**options).to(dtype)
    names = [name for name, p in model.named_parameters() if p.ndim >= 2]
    torch.manual_seed(4)
    parameters = dict(model.named_parameters())
    vector = {name: torch.randn_like(parameters[name]) for name in names}
    batch = (regression.x.to(dtype), regression.y.to(dtype))
    found = hessian_product(model, vector, [batch], regression.loss, regression.examples)

    def gradient_at(step):
        with torch.no_grad():
            for name in names:
                parameters[name].add_(vector[name], alpha=step)
        slopes = torch.autograd.grad(
            regression.loss(model, batch), [parameters[name] for name in names]
        )
        with torch.no_grad():
            for name in names:
                parameters[name].sub_(vector[name], alpha=step)
        return slopes

    step, tolerance = (1e-5, 1e-6) if dtype == torch.float64 else (1e-2, 3e-2)
    for name, plus, minus in zip(names, gradient_at(step), gradient_at(-step), strict=True):
        expected = (plus - minus) / (2 * step)
        assert torch.allclose(found[name], expected, atol=tolerance * float(expected.abs().max()))
