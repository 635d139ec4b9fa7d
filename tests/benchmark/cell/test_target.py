"""What is prunable is the experiment's: one set of weights for all strategies of a comparison."""

import pytest

from prunebench import Experiment, UsageError, grid, sweep
from prunebench.benchmark.command_line import main
from prunebench.strategies import STRATEGIES

FILE = """
import torch
from torch import nn

class Product(nn.Module):
    '''A layer of a kind that nobody knows.'''
    def __init__(self, inputs, outputs):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(inputs, outputs) / inputs**0.5)
    def forward(self, x):
        return x @ self.weight

class Mixed(nn.Module):
    '''Known and unknown layers.'''
    def __init__(self, *, input_shape, classes):
        super().__init__()
        self.first, self.middle = nn.Linear(64, 40), Product(40, 40)
        self.last = nn.Linear(40, classes)
    def forward(self, images):
        return self.last(self.middle(self.first(images.flatten(1)).relu()).relu())
"""


@pytest.fixture
def settings(tmp_path):
    path = tmp_path / "mixed.py"
    path.write_text(FILE)
    return {
        "dataset": "Digits",
        "model": f"{path}:Mixed",
        "sparsity": 0.5,
        "pretraining": {"epochs": 2},
        "recovery": "NoRecovery",
    }


BY_INPUTS = ["Wanda", "GlobalActivationMagnitude", "ActivationGradient", "BatchNormSlimming"]


@pytest.mark.parametrize("strategy", BY_INPUTS)
def test_a_strategy_that_cannot_prune_all_that_is_prunable_is_refused(settings, tmp_path, strategy):
    runs = tmp_path / "runs"
    complaint = (
        "finds nothing to prune"
        if strategy == "BatchNormSlimming"
        else rf"{strategy} cannot prune middle\.weight of .*prune_except: \['middle'\]"
    )
    with pytest.raises(UsageError, match=complaint):
        sweep(grid(strategy=["GlobalMagnitude", strategy], **settings), runs=runs, progress=False)
    assert not runs.exists()


@pytest.mark.slow
def test_with_one_set_of_weights_equal_sparsities_are_equal(settings, tmp_path):
    strategies = ["GlobalMagnitude", *BY_INPUTS[:2], "Random"]
    cells = grid(strategy=strategies, prune_except=["middle"], **settings)
    records = sweep(cells, runs=tmp_path / "runs", progress=False)
    assert {record.final["prunable_parameters"] for record in records} == {64 * 40 + 40 * 10}
    assert len({record.final["nonzero"] for record in records}) == 1
    for record in records:
        middle = next(layer for layer in record.layers if layer.name == "middle.weight")
        assert middle.density == 1.0
        assert middle.weight_class == ""


def test_patterns_are_part_of_an_experiments_identity_and_of_its_comparison():
    plain = {"dataset": "Digits", "model": "LeNetSmall", "strategy": "Random", "compression": 2}
    ids = {
        Experiment(**plain, **patterns).id
        for patterns in ({}, {"prune_only": ["conv*"]}, {"prune_except": ["conv*"]})
    }
    comparisons = {
        Experiment(**plain, **patterns).comparison
        for patterns in ({}, {"prune_only": ["conv*"]}, {"prune_except": ["conv*"]})
    }
    assert len(ids) == len(comparisons) == 3
    assert Experiment(**plain, prune_only=[], prune_except=[]).id == Experiment(**plain).id


def test_a_pattern_that_matches_nothing_is_refused_before_anything_runs(settings, tmp_path):
    cells = grid(strategy="Random", prune_only=["midle"], **settings)
    with pytest.raises(UsageError, match="prune_only: 'midle' is not allowed: it matches none of"):
        sweep(cells, runs=tmp_path / "runs", progress=False)


def test_the_parameters_of_a_network_are_listed_with_the_reason_why_not(settings, capsys):
    options = ["list", "--dataset", "digits", "--model", settings["model"]]
    assert main([*options, "--prune-except", "first"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}
    assert lines["first.weight"].endswith("named by prune_except")
    assert lines["middle.weight"].split()[-1] == "prunable"
    assert lines["last.weight"].endswith("output layer")
    assert "no matrix or kernel" in lines["last.bias"]
    assert lines["2,000"] == "2,000 of 4,610 parameters are prunable (43.38%)"
    assert main(["list", "--model", "LeNet5"]) == 2
    assert "give both --model and --dataset" in capsys.readouterr().err


@pytest.mark.parametrize("field", ["allocation=ERK()", "structure=NM()"])
def test_methods_that_rank_nothing_have_no_hyperparameters_of_ranking(field):
    with pytest.raises(UsageError, match="unknown option"):
        STRATEGIES.component(f"FeatureBoosting({field})")
