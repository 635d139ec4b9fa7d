"""Which coupled channels are kept, against brute force, and whole experiments with them."""

import itertools
from dataclasses import replace

import pytest
import torch
from contexts import context_of, removable
from torch import nn

from prunebench import run, sweep
from prunebench.benchmark.cell.pretraining import build
from prunebench.errors import UsageError
from prunebench.metrics import flops_by_module
from prunebench.models import CifarResNet
from prunebench.strategies import (
    CoupledChannels,
    Global,
    GlobalMagnitude,
    StructuredL1,
    StructuredL2,
    StructuredRandom,
    Uniform,
    couple,
    kept,
    output_weights,
    prunable_weights,
    try_shrinking,
)

CHANNELS = "StructuredL1(structure=CoupledChannels)"


class Inputs:
    """Of a task, what choosing channels by magnitude needs."""

    def __init__(self, *shape):
        self.shape = shape

    def inputs(self, batch_size):
        return torch.zeros(batch_size, *self.shape)


def context_for(strategy, model, *shape, masks=None, cost=None):
    return context_of(model, Inputs(*shape), strategy=strategy, masks=masks, cost=cost)


@pytest.fixture
def perceptron():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))


def test_a_global_ranking_keeps_the_best_channels_that_fit(perceptron):
    """Of 7 hidden units, by brute force: a prefix of the ranking, the longest that fits."""
    strategy = StructuredL2(structure=CoupledChannels(), allocation=Global())
    norms = torch.cat([perceptron[0].weight.norm(dim=1), perceptron[2].weight.norm(dim=1)])
    ranking = norms.argsort(descending=True).tolist()
    for budget in range(8, 33):
        masks = strategy.masks(context_for(strategy, perceptron, 5), budget)
        alive = torch.cat([masks["0.weight"].any(1), masks["2.weight"].any(1)])
        chosen = set(alive.nonzero().squeeze(1).tolist())
        first, second = sum(each < 4 for each in chosen), sum(each >= 4 for each in chosen)
        assert kept(masks) == 5 * first + first * second <= budget
        # With a channel of each group guaranteed, the rest is the top of the ranking.
        best = {max(range(4), key=norms.__getitem__), max(range(4, 7), key=norms.__getitem__)}
        prefixes = [set(ranking[:n]) | best for n in range(8)]
        fitting = [p for p in prefixes if _cost(p) <= budget]
        assert chosen == max(fitting, key=len)


def _cost(chosen):
    first, second = sum(each < 4 for each in chosen), sum(each >= 4 for each in chosen)
    return 5 * first + first * second


@pytest.mark.slow
def test_a_uniform_allocation_keeps_the_same_fraction_of_every_group():
    torch.manual_seed(0)
    model = CifarResNet(depth=20)
    strategy = StructuredL1(structure=CoupledChannels(), allocation=Uniform())
    coupling = couple(model, torch.zeros(1, 3, 32, 32), removable(strategy, model))
    for share in (0.75, 0.5, 0.25):
        context = context_for(
            strategy, model, 3, 32, 32, cost=lambda _, channels: float(channels.sum())
        )
        masks = strategy.masks(context, round(share * coupling.channels))
        alive = coupling.kept(masks)
        for group in coupling.groups.values():
            assert alive[group.start : group.stop].float().mean() == pytest.approx(share)


def test_filters_that_are_added_up_are_scored_together():
    torch.manual_seed(0)

    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.last = nn.Linear(3, 4), nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, x):
            return self.last(torch.relu(self.one(x) + self.two(x)))

    model = Sum()
    strategy = StructuredL1(structure=CoupledChannels())
    masks = strategy.masks(context_for(strategy, model, 3), 12)  # two channels of 2 × 3 weights
    norms = model.one.weight.abs().sum(1) + model.two.weight.abs().sum(1)
    expected = set(norms.topk(2).indices.tolist())
    for name in ("one.weight", "two.weight"):
        assert set(masks[name].all(1).nonzero().squeeze(1).tolist()) == expected


@pytest.mark.parametrize("shares", [(0.6, 0.3), (0.3, 0.6)])
def test_what_is_gone_stays_gone(perceptron, shares):
    strategy = StructuredRandom(structure=CoupledChannels())
    first = strategy.masks(context_for(strategy, perceptron, 5), round(shares[0] * 32))
    later = strategy.masks(context_for(strategy, perceptron, 5, masks=first), round(shares[1] * 32))
    assert all(not (later[name] & ~first[name]).any() for name in first)
    assert all(mask.any() for mask in later.values())


def test_pruning_zeroes_all_that_belongs_to_a_channel(perceptron):
    strategy = StructuredL1(structure=CoupledChannels())
    training = strategy.prune(context_for(strategy, perceptron, 5), 12)
    alive = training.masks["0.weight"].any(1)
    assert 0 < alive.sum() < 4
    assert torch.equal(perceptron[0].bias != 0, alive)
    assert torch.equal(perceptron[2].weight.any(0), alive)
    assert set(training.masks) == {"0.weight", "0.bias", "2.weight", "2.bias", "4.weight"}
    assert perceptron[4].bias.all()


def test_equal_scores_are_drawn_by_lot():
    model = nn.Sequential(nn.Linear(3, 40), nn.ReLU(), nn.Linear(40, 2))
    for parameter in model.parameters():
        nn.init.constant_(parameter, 0.5)
    strategy = StructuredL1(structure=CoupledChannels())
    one = context_for(strategy, model, 3)
    other = replace(one, generator=torch.Generator().manual_seed(1))
    masks = [strategy.masks(each, 60)["0.weight"].any(1) for each in (one, other)]
    assert [int(each.sum()) for each in masks] == [20, 20]
    assert not torch.equal(*masks)


@pytest.mark.slow
@pytest.mark.parametrize("finetuned", ["masked", "shrunk"])
def test_a_compression_is_reached_with_all_that_goes(experiment, tmp_path, finetuned):
    settings = {"model": "ResNetSmall", "strategy": CHANNELS, "finetuned_network": finetuned}
    record = run(experiment(**settings, compression=3.0, rounds=2), runs=tmp_path)
    assert record.error is None
    assert 3.0 <= record.final["compression"] < 3.4
    assert record.final["file_bytes_shrunk"] < record.final["file_bytes"] / 2.5
    biases = {layer.name: layer.density for layer in record.layers if layer.name.endswith("bias")}
    assert any(0 < density < 1 for density in biases.values())
    first, second = record.rounds
    assert first.kept > second.kept


@pytest.mark.slow
def test_a_speedup_is_that_of_the_shrunk_network(experiment, tmp_path):
    chosen = experiment(model="ResNetSmall", strategy=CHANNELS, compression=None, speedup=2.5)
    record = run(chosen, runs=tmp_path)
    assert 2.5 <= record.final["theoretical_speedup"] < 3
    dense = sum(flops_by_module(chosen.model.create(), torch.zeros(1, 1, 8, 8)).values())
    assert record.dense["flops"] == dense


@pytest.mark.slow
def test_a_channel_sparsity_counts_channels(experiment, tmp_path):
    chosen = experiment(
        model="LeNetSmall", strategy=CHANNELS, compression=None, channel_sparsity=0.5
    )
    record = run(chosen, runs=tmp_path)
    shape = {layer.name: layer for layer in record.layers}
    assert shape["conv1.bias"].nonzero == 8
    assert shape["conv2.bias"].nonzero == 16
    assert shape["linear1.bias"].nonzero == 64
    assert shape["conv2.weight"].nonzero == 8 * 16 * 9


@pytest.mark.slow
def test_fine_tuning_masked_and_shrunk_give_the_same_up_to_rounding(experiment, tmp_path):
    """LeNetSmall has no dropout, whose noise depends on the shapes; SGD does not amplify."""
    recipe = {"epochs": 1, "optimizer": "SGD", "learning_rate": 0.01}
    records = [
        run(
            experiment(
                strategy=CHANNELS,
                compression=None,
                channel_sparsity=0.5,
                finetuned_network=network,
                finetuning=recipe,
            ),
            runs=tmp_path,
        )
        for network in ("masked", "shrunk")
    ]
    masked, shrunk = (record.final for record in records)
    assert masked["loss"] == pytest.approx(shrunk["loss"], rel=1e-4)
    assert masked["nonzero"] == shrunk["nonzero"]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"strategy": "GlobalMagnitude", "speedup": 2.0}, "give it structure=CoupledChannels"),
        ({"strategy": CHANNELS, "channel_sparsity": 0.999}, "can reach at most 0.982"),
        ({"strategy": CHANNELS, "speedup": 1e6}, "can reach at most"),
        *(
            (
                {
                    "strategy": f"StructuredL1(structure=CoupledChannels, allocation={allocation})",
                    "channel_sparsity": 0.6,
                },
                "can reach at most 0.5 on LeNetSmall, where each of 3 groups of "
                "channels keeps as many as the allocation says",
            )
            for allocation in (
                "Uniform(minimum_density=0.5)",
                "Global(minimum_density=0.5)",
                "Shuffled(of=Global(minimum_density=0.5))",
            )
        ),
        (
            {"strategy": CHANNELS, "compression": 2.0, "model": "Perceptron(hidden=())"},
            "finds nothing to prune in Perceptron",
        ),
    ],
)
def test_a_target_that_cannot_be_reached_is_refused_before_anything_runs(
    experiment, tmp_path, settings, sentence
):
    with pytest.raises(UsageError) as refusal:
        run(experiment(**{"compression": None, **settings}), runs=tmp_path)
    assert sentence in str(refusal.value)
    assert not list(tmp_path.glob("??/*.json"))


CONVOLUTIONAL = """
import torch
from torch import nn


class Convolutional(nn.Sequential):
    def __init__(self, kind, input_shape=(1, 8, 8), classes=10):
        layers = {
            "one input": [nn.Conv2d(1, 8, 3), nn.ReLU()],
            "normalised": [nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU()],
            "one pixel": [nn.Conv2d(1, 8, 3), nn.Conv2d(8, 6, 1)],
            "depthwise": [nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3, groups=8)],
            "pooled": [nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2)],
            "pooled over all": [nn.Conv2d(1, 8, 3), nn.AdaptiveAvgPool2d(1)],
        }[kind]
        features = nn.Sequential(*layers, nn.Flatten())
        size = features(torch.zeros(2, *input_shape)).shape[1]
        super().__init__(*features, nn.Linear(size, 12), nn.Linear(12, classes))
"""


@pytest.mark.parametrize(
    ("kind", "channels"),
    [
        ("one input", 8),
        ("normalised", 8),
        ("one pixel", 14),
        ("depthwise", 8),
        ("pooled", 8),
        ("pooled over all", 8),
    ],
)
def test_channels_are_found_in_the_format_in_which_networks_run(
    experiment, digits, tmp_path, kind, channels
):
    file = tmp_path / "convolutional.py"
    file.write_text(CONVOLUTIONAL)
    model = build(experiment(model=f"{file}:Convolutional(kind={kind!r})"), digits)
    names = [name for name in prunable_weights(model) if name not in output_weights(model)]
    strides = {name: weight.stride() for name, weight in model.named_parameters()}
    coupling = couple(model, digits.inputs(1), names)
    assert coupling.channels == channels + 12
    try_shrinking(model, coupling, digits.inputs(2))
    assert {name: weight.stride() for name, weight in model.named_parameters()} == strides


OWN_SCALE = """
import torch
from torch import nn


class OwnScale(nn.Module):
    def __init__(self, input_shape=(1, 8, 8), classes=10):
        super().__init__()
        self.first = nn.Linear(64, 16)
        self.last = nn.Linear(16, classes)

    def forward(self, images):
        hidden = torch.relu(self.first(images.flatten(1)))
        return self.last(hidden) * torch.tensor(hidden.shape[1])
"""


def test_a_network_that_cannot_be_shrunk_is_refused_before_anything_runs(experiment, tmp_path):
    """It multiplies by the number of its channels, which no tracing of tensors can see."""
    file = tmp_path / "own_scale.py"
    file.write_text(OWN_SCALE)
    chosen = experiment(model=f"{file}:OwnScale", strategy=CHANNELS, compression=2.0)
    with pytest.raises(UsageError, match="OwnScale cannot be shrunk: the smaller network's output"):
        run(chosen, runs=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


TWO_SCALES = """
import torch
from torch import nn


class TwoScales(nn.Module):
    def __init__(self, input_shape=(1, 8, 8), classes=10):
        super().__init__()
        self.first = nn.Linear(64, 16)
        self.second = nn.Linear(64, 16)
        self.last = nn.Linear(16, classes)
        self.other = nn.Linear(16, classes)

    def forward(self, images):
        one = torch.relu(self.first(images.flatten(1)))
        two = torch.relu(self.second(images.flatten(1)))
        return self.last(one) * torch.tensor(one.shape[1]) + self.other(two)
"""


def test_shrinking_is_tried_with_each_choice_of_weights(experiment, tmp_path):
    file = tmp_path / "two_scales.py"
    file.write_text(TWO_SCALES)
    settings = {"model": f"{file}:TwoScales", "strategy": CHANNELS, "compression": 1.2}
    chosen = [experiment(**settings, prune_except=["first"]), experiment(**settings)]
    with pytest.raises(UsageError, match="TwoScales cannot be shrunk: the smaller network's outp"):
        sweep(chosen, runs=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


AUXILIARY = """
from torch import nn


class Auxiliary(nn.Module):
    def __init__(self, input_shape=(1, 8, 8), classes=10):
        super().__init__()
        self.first = nn.Linear(64, 16)
        self.auxiliary = nn.Linear(16, classes)
        self.second = nn.Linear(16, 16)
        self.last = nn.Linear(16, classes)

    def forward(self, images):
        hidden = self.first(images.flatten(1)).relu()
        logits = self.last(self.second(hidden).relu())
        return logits + self.auxiliary(hidden) if self.training else logits
"""


def test_a_layer_that_only_training_uses_is_no_layer_of_a_shrunk_network(experiment, tmp_path):
    """Tracing runs the network in evaluation mode, and so does not see who reads a channel."""
    file = tmp_path / "auxiliary.py"
    file.write_text(AUXILIARY)
    settings = {"model": f"{file}:Auxiliary", "strategy": CHANNELS, "compression": 1.5}
    masked = run(experiment(**settings), runs=tmp_path / "masked")
    assert masked.final["compression"] >= 1.5
    with pytest.raises(UsageError, match=r"Auxiliary cannot be trained shrunk: .* masked"):
        run(experiment(**settings, finetuned_network="shrunk"), runs=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"strategy": "GlobalMagnitude", "finetuned_network": "shrunk"}, "shrunk is not allowed"),
        (
            {"strategy": CHANNELS, "finetuned_network": "shrunk", "timing": "DuringTraining"},
            "shrunk is not allowed",
        ),
        ({"strategy": "STR(structure=CoupledChannels)"}, "cannot remove CoupledChannels"),
    ],
)
def test_what_does_not_go_together_is_refused(experiment, settings, sentence):
    with pytest.raises(UsageError, match=sentence):
        experiment(**settings)


def test_every_score_can_rank_channels():
    """The sum over a channel's filters, of whatever it is."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    for score, allocation in itertools.product((GlobalMagnitude, StructuredL1), (Global, Uniform)):
        strategy = score(structure=CoupledChannels(), allocation=allocation())
        masks = strategy.masks(context_for(strategy, model, 4), 12)
        expected = model[0].weight.abs().sum(1).topk(3).indices
        assert set(masks["0.weight"].any(1).nonzero().squeeze(1).tolist()) == {*expected.tolist()}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folder of runs that share their dense network."""
    return tmp_path_factory.mktemp("runs")


@pytest.mark.slow  # two experiments each
@pytest.mark.parametrize("allocation", ["Global(minimum=1)", "Uniform"])
@pytest.mark.parametrize(
    "strategy",
    [
        "StructuredL1",
        "StructuredL2",
        "StructuredRandom",
        "FPGM",
        "ChannelTaylor",
        "BatchNormSlimming",
    ],
)
def test_every_structured_strategy_reaches_parameters_and_flops(
    experiment, runs, strategy, allocation
):
    chosen = f"{strategy}(structure=CoupledChannels, allocation={allocation})"
    for target in ({"compression": 2.5}, {"compression": None, "speedup": 2.5}):
        record = run(
            experiment(
                model="ResNetSmall",
                strategy=chosen,
                rounds=2,
                finetuned_network="shrunk",
                **target,
            ),
            runs=runs,
        )
        assert record.error is None
        reached = "compression" if target.get("compression") else "theoretical_speedup"
        assert 2.5 <= record.final[reached] < 3.2
        assert record.final["file_bytes_shrunk"] < record.dense["file_bytes"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"timing": "DuringTraining", "rounds": 3, "finetuning": {"epochs": 2}},
        {"recovery": "Rewind(epoch=1)", "rounds": 2, "finetuned_network": "shrunk"},
        {"recovery": "Reinitialise", "finetuned_network": "shrunk"},
        {"recovery": "NoRecovery", "finetuned_network": "shrunk"},
        {"start_epoch": 0},
    ],
    ids=str,
)
def test_channels_are_removed_at_any_time_and_recover_in_any_way(experiment, tmp_path, settings):
    record = run(
        experiment(strategy=CHANNELS, compression=None, channel_sparsity=0.5, **settings),
        runs=tmp_path,
    )
    assert record.error is None
    assert record.status == "ok"
    nonzero = {layer.name: layer.nonzero for layer in record.layers}
    assert [nonzero[f"{name}.weight"] for name in ("conv1", "conv2")] == [8 * 9, 8 * 16 * 9]
