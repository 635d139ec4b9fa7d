"""Run-time gating: channels open per input, and the work that they save."""

import copy
import math

import pytest
import torch
from contexts import removable
from torch import nn
from torch.nn import functional as F

import prunebench
from prunebench.benchmark.cell.epochs import Purpose, Training, epochs
from prunebench.benchmark.recipe import Recipe
from prunebench.metrics import Flops, Size, Subject, flops_by_module
from prunebench.metrics.gates import shares_of_work
from prunebench.models import CifarResNet, LeNetSmall, ResNetSmall, WideResNet
from prunebench.results.changes import CHANGES, outdated_by
from prunebench.seeding import generator
from prunebench.strategies import FeatureBoosting, GatedConvolution


def images(count=7):
    torch.manual_seed(1)
    return torch.randn(count, 1, 8, 8)


def adapted(model, density, seed=0):
    strategy = FeatureBoosting()
    return strategy.adapt(model, removable(strategy, model), density, generator(seed))


def gates(model):
    return [module for module in model.modules() if isinstance(module, GatedConvolution)]


@pytest.mark.parametrize("make", [LeNetSmall, ResNetSmall])
@pytest.mark.parametrize("density", [0.01, 0.25, 0.6, 1.0])
def test_each_input_opens_so_many_channels_and_no_more(make, density):
    model = adapted(make(), density).eval()
    outputs = []
    for gate in gates(model):
        gate.register_forward_hook(lambda module, x, y: outputs.append((module, y)))
    model(images())
    assert len(outputs) == len(gates(model)) > 0
    for module, output in outputs:
        width = output.shape[1]
        expected = max(1, math.ceil(round(density * width, 2)))
        opened = output.flatten(2).any(2).sum(1)
        assert (opened <= expected).all()
        assert module.open == expected
        assert (opened >= min(expected, 1)).any()


def test_a_budget_rounded_to_whole_weights_opens_no_channel_more():
    gate = gates(adapted(LeNetSmall(), 0.2501))[0]
    assert gate.open == 4  # of 16


def test_what_is_open_is_the_feature_times_its_saliency():
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, 6, 3)
    gate = GatedConvolution(convolution, nn.Identity(), 0.5, 0.0, generator(0)).eval()
    x = torch.randn(4, 3, 5, 5)
    output, features = gate(x), convolution(x)
    for example in range(4):
        means = [x[example, channel].abs().mean() for channel in range(3)]
        saliency = (gate.predictor.weight @ torch.stack(means) + gate.predictor.bias).clamp(min=0)
        best = set(saliency.argsort(descending=True)[:3].tolist())
        for channel in range(6):
            expected = features[example, channel] * saliency[channel] if channel in best else 0
            assert torch.allclose(output[example, channel], torch.as_tensor(expected) + 0.0)


def test_with_all_channels_open_and_saliencies_of_one_nothing_changes():
    torch.manual_seed(0)
    model = ResNetSmall()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    open_model = adapted(model, 1.0).eval()
    with torch.no_grad():
        for gate in gates(open_model):
            gate.predictor.weight.zero_()
    assert torch.allclose(open_model(images()), model.eval()(images()), atol=1e-5)
    assert not any(isinstance(module, GatedConvolution) for module in model.modules())


def test_the_penalty_adds_its_gradient_to_that_of_the_loss():
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, 6, 3)
    x = torch.randn(4, 3, 5, 5)
    slopes = []
    for penalty in (0.0, 0.3):
        gate = GatedConvolution(
            copy.deepcopy(convolution), nn.Identity(), 1.0, penalty, generator(0)
        )
        gate(x).sum().backward()
        slopes.append(gate.predictor.bias.grad.clone())
    saliencies = F.linear(x.abs().mean((2, 3)), gate.predictor.weight, gate.predictor.bias)
    assert torch.allclose(slopes[1] - slopes[0], 0.3 * (saliencies > 0).float().mean(0), atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "tolerance"), [({"accumulation": 4}, 1e-4), ({"precision": "float16"}, 3e-3)]
)
def test_the_penalty_counts_as_much_however_the_loss_is_multiplied(digits, settings, tolerance):
    def trained(**settings):
        torch.manual_seed(0)
        strategy = FeatureBoosting(penalty=0.1)
        model = LeNetSmall()
        model = strategy.adapt(model, removable(strategy, model), 1.0, generator(0))
        recipe = Recipe(epochs=1, batch_size=600, optimizer="SGD", learning_rate=0.01, **settings)
        list(epochs(Training(model, digits, recipe, Purpose(0, "test"))))
        return gates(model)[0].predictor.weight

    torch.testing.assert_close(trained(**settings), trained(), rtol=0, atol=tolerance)


def test_the_same_seed_gives_the_same_gates():
    one, same, other = (adapted(LeNetSmall(), 0.5, seed) for seed in (0, 0, 1))
    weights = [gates(model)[0].predictor.weight for model in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_the_share_of_work_is_that_of_open_outputs_and_used_inputs(digits):
    torch.manual_seed(0)
    model = adapted(LeNetSmall(), 0.3).eval()
    shares = shares_of_work(model, digits, "test")
    first, second = gates(model)
    totals = {"conv1.convolution": 0.0, "conv2.convolution": 0.0}
    with torch.no_grad():
        (batch,) = digits.batches("test", 1_000)
        for image in batch[0]:
            x = first(image[None])
            totals["conv1.convolution"] += sum(bool(c.any()) for c in x[0]) / 16
            x = F.max_pool2d(F.relu(x), 2)
            y = second(x)
            used = sum(bool(channel.any()) for channel in x[0]) / 16
            totals["conv2.convolution"] += used * sum(bool(c.any()) for c in y[0]) / 32
    for name, total in totals.items():
        assert shares[name] == pytest.approx(total / len(batch[0])), name


def test_flops_are_a_mean_over_the_data_and_the_gates_count_in_full(digits):
    torch.manual_seed(0)
    dense = LeNetSmall()
    model = adapted(dense, 0.3).eval()
    measured = Flops().measure(Subject(model, dense, digits, ()))
    shares = shares_of_work(model, digits, "test")
    parts = flops_by_module(model, digits.inputs(1))
    assert parts["conv1.predictor"] == 1 * 16
    assert parts["conv2.predictor"] == 16 * 32
    expected = sum(flops * shares.get(name, 1) for name, flops in parts.items())
    assert measured["effective_flops"] == pytest.approx(expected)
    assert measured["theoretical_speedup"] == pytest.approx(149_760 / expected)
    assert measured["flops"] == 149_760 + 16 + 512


def test_sizes_are_relative_to_the_network_without_gates():
    dense = ResNetSmall()
    model = adapted(dense, 0.5)
    names = removable(FeatureBoosting(), dense)
    prunable = [name.replace(".weight", ".convolution.weight") for name in names]
    with torch.no_grad():
        for parameter in [*dense.parameters(), *model.parameters()]:
            parameter.fill_(1)
    measured = Size().measure(Subject(model, dense, None, tuple(prunable)))
    before = sum(parameter.numel() for parameter in dense.parameters())
    added = sum(p.numel() for gate in gates(model) for p in gate.predictor.parameters())
    assert measured["parameters"] == before
    assert measured["nonzero"] == before + added
    assert measured["compression"] == before / (before + added) < 1
    assert measured["sparsity"] == pytest.approx(-added / before)
    assert measured["prunable_compression"] == 1
    unpruned = Size().measure(Subject(dense, dense, None, tuple(names)))
    assert measured["prunable_parameters"] == unpruned["prunable_parameters"]


def test_a_model_without_gates_has_no_shares(digits):
    assert shares_of_work(LeNetSmall(), digits, "test") == {}


@pytest.mark.slow
def test_an_experiment_keeps_the_weights_and_saves_work(experiment, tmp_path):
    made = experiment(strategy="FeatureBoosting", sparsity=0.75, finetuning={"epochs": 3})
    record, again = (prunebench.run(made, runs=tmp_path, force=True) for _ in range(2))
    assert record.status == "ok"
    assert record.result() == again.result()
    ratio = record.dense["parameters"] / record.final["nonzero"]
    assert record.final["compression"] == ratio == pytest.approx(1, abs=0.02)
    assert ratio < 1
    assert record.final["theoretical_speedup"] > 1.8
    assert record.final["top1"] > 0.5


@pytest.mark.slow
def test_rounds_have_the_density_at_which_gates_are_open(experiment, tmp_path):
    made = experiment(strategy="FeatureBoosting", sparsity=0.75, rounds=2)
    record = prunebench.run(made, runs=tmp_path)
    prunable = record.final["prunable_parameters"]
    assert [(each.density, each.kept) for each in record.rounds] == [(0.25, prunable)] * 2
    assert outdated_by(record) == []
    first, last = record.rounds
    of_the_schedule = (first.model_copy(update={"density": 0.5}), last)
    before = {"rounds": of_the_schedule, "revision": len(CHANGES) - 1}
    assert "rounds" in outdated_by(record.model_copy(update=before))[0].summary


def test_going_back_to_a_network_without_gates_is_refused(experiment):
    with pytest.raises(prunebench.UsageError, match="FeatureBoosting adds gates"):
        experiment(strategy="FeatureBoosting", recovery="Rewind")


@pytest.mark.parametrize("make", [ResNetSmall, CifarResNet, lambda: WideResNet(depth=10, width=1)])
def test_with_all_gates_open_the_network_is_the_one_that_was_trained(make):
    torch.manual_seed(0)
    model = make().eval()
    size = 8 if make is ResNetSmall else 32
    shape = (5, 1, 8, 8) if size == 8 else (5, 3, 32, 32)
    inputs = torch.randn(shape)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    opened = adapted(model, 1.0).eval()
    for gate in gates(opened):
        nn.init.zeros_(gate.predictor.weight)  # every saliency is its bias then, which is one
    assert gates(opened)
    torch.testing.assert_close(opened(inputs), model(inputs))
