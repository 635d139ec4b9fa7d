"""Cells that prune one network by one method score it once: the records are the same."""

import time
from dataclasses import dataclass
from importlib import import_module

import pytest
import torch
from safetensors.torch import save_file

import prunebench
import prunebench.models
from prunebench.benchmark.cell import rounds
from prunebench.strategies import ScoredStrategy, Scorings

TARGETS = (0.5, 0.9, 0.99)
PAUSE = 0.05


@dataclass(frozen=True)
class Counted(ScoredStrategy):
    """Scores at random by itself, ties to be broken by lot, and an update that draws once more."""

    asked = []

    def score(self, context):
        self.asked.append(self)
        time.sleep(PAUSE)
        context.remember("noise", lambda: torch.rand(3, generator=context.generator))
        draw = context.generator
        return {
            name: torch.randint(0, 4, weight.shape, generator=draw).float()
            for name, weight in context.weights.items()
        }

    def update(self, context, masks):
        noise = context.remember("noise", lambda: torch.zeros(3))
        later = context.remember("later", lambda: torch.rand(1, generator=context.generator))
        factor = noise.sum() + later
        return {name: factor * weight * masks[name] for name, weight in context.weights.items()}


@dataclass(frozen=True)
class NotToBeCopied(Counted):
    """Remembers what cannot be copied."""

    def score(self, context):
        context.remember("generator", lambda: (number for number in range(3)))
        return super().score(context)


@dataclass(frozen=True)
class Aliasing(ScoredStrategy):
    """Gives the weights themselves as scores, which training will change."""

    def score(self, context):
        return context.weights


def own(strategy):
    """What an experiment calls a strategy of this file."""
    return f"{__name__}:{strategy.__name__}"


@pytest.fixture(autouse=True)
def _nothing_asked():
    Counted.asked.clear()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def results(experiment, runs, monkeypatch):
    """The results of cells that share scorings of so many bytes at most."""

    def run(most_bytes, **settings):
        monkeypatch.setattr(rounds, "_SCORINGS", Scorings(most_bytes))
        quick = {"recovery": "NoRecovery", "measurements": ["Size"]}
        cells = [experiment(sparsity=target, **{**quick, **settings}) for target in TARGETS]
        return [prunebench.run(each, runs=runs, force=True) for each in cells]

    return run


@pytest.mark.parametrize(
    "strategy",
    [
        own(Counted),
        own(NotToBeCopied),
        own(Aliasing),
        "WoodFisher(examples=64)",
        "SNIP",
        "StructuredL1(structure=CoupledChannels)",
    ],
)
def test_the_records_are_those_of_cells_alone(results, strategy):
    recovery = "FineTune" if strategy == own(Aliasing) else "NoRecovery"
    alone, shared = (results(most, strategy=strategy, recovery=recovery) for most in (0, 2**28))
    assert all(record.finished for record in alone)
    assert [each.result() for each in shared] == [each.result() for each in alone]


def test_what_a_device_still_computes_is_part_of_the_times(results, monkeypatch):
    for module in (rounds, import_module("prunebench.strategies.evidence.scorings")):
        monkeypatch.setattr(module, "finish", lambda _: time.sleep(PAUSE))
    records = results(2**28, strategy="GlobalMagnitude", recovery="NoRecovery")
    # Of scoring, be it of another cell, and of all else that pruning takes.
    assert min(each.timings["scoring_seconds"] for each in records) >= 2 * PAUSE


def test_it_is_scored_once(results):
    records = results(2**28, strategy=own(Counted))
    assert len(Counted.asked) == 1
    # What the one scoring took is part of all times.
    assert min(each.timings["scoring_seconds"] for each in records) >= PAUSE


def test_a_cell_that_is_run_once_more_scores_once_more(experiment, runs, results):
    results(2**28, strategy=own(Counted))
    again = experiment(
        sparsity=TARGETS[1], strategy=own(Counted), recovery="NoRecovery", measurements=["Size"]
    )
    prunebench.run(again, runs=runs, force=True)
    assert len(Counted.asked) == 2


@pytest.mark.parametrize(("strategy", "most_bytes"), [(NotToBeCopied, 2**28), (Counted, 1)])
def test_what_cannot_be_kept_is_scored_again(results, strategy, most_bytes):
    results(most_bytes, strategy=own(strategy))
    assert len(Counted.asked) == len(TARGETS)


def test_later_rounds_score_the_network_as_it_is_then(results):
    results(2**28, strategy=own(Counted), rounds=3)
    assert len(Counted.asked) == 1 + 2 * len(TARGETS)


def test_another_network_is_scored_anew(results, experiment, runs):
    results(2**28, strategy=own(Counted))
    others = [
        {"seed": 1},
        {"prune_classifier": False},
        {"start_epoch": 0},
        {"sparsity": None, "compression": 2.0},
    ]
    for number, each in enumerate(others, start=2):
        settings = {"sparsity": 0.5, "strategy": own(Counted), **each}
        prunebench.run(experiment(**settings), runs=runs)
        assert len(Counted.asked) == number


def test_the_scoring_used_longest_ago_goes_first():
    scorings, made = Scorings(most_bytes=2 * 4 * 10), []

    def scores(key):
        def score():
            made.append(key)
            return {"weight": torch.zeros(10)}

        scorings.of(len(made), key).scores(score, {}, torch.Generator())

    for key in "abacab":
        scores(key)
    assert "".join(made) == "abcb"


def test_seeds_that_share_loaded_weights_have_lots_of_their_own(experiment, runs, tmp_path):
    save_file(prunebench.models.LeNetSmall().state_dict(), tmp_path / "mine.safetensors")
    settings = {
        "strategy": "Random",
        "sparsity": 0.5,
        "recovery": "NoRecovery",
        "least_dense_quality": 0,
        "initialisation": f"FromFile(path={str(tmp_path / 'mine.safetensors')!r})",
        "pretraining": {"epochs": 0},
    }
    records = [
        prunebench.run(experiment(**settings, seed=seed), runs=folder)
        for seed, folder in ((0, runs), (1, runs), (1, tmp_path / "alone"))
    ]
    dense, pruned = ([each.digests[of] for each in records] for of in ("dense", "pruned"))
    assert dense[0] == dense[1]
    assert pruned[0] != pruned[1] == pruned[2]
