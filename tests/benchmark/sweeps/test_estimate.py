"""How long a sweep will take: what is timed, and what is made of it."""

import pytest
import torch

from prunebench import grid
from prunebench.benchmark.command_line import main
from prunebench.benchmark.sweeps import estimate as module
from prunebench.benchmark.sweeps.estimate import estimate
from prunebench.results.brief import duration

SETTINGS = {
    "dataset": "Digits",
    "model": "LeNetSmall",
    "strategy": ["Random", "GlobalMagnitude"],
    "compression": [2, 4, 8],
    "seed": [0, 1],
    "rounds": 3,
    "pretraining": {"epochs": 7},
    "finetuning": {"epochs": 5},
}


@pytest.fixture
def timed(monkeypatch):
    """Timings that are known beforehand, and the number of times that each was asked for."""
    asked = []

    def say(name, seconds):
        monkeypatch.setattr(module, name, lambda *_, **__: asked.append(name) or seconds)

    say("_step", 0.5)
    say("_evaluation", 3.0)
    say("_forward", 0.02)
    monkeypatch.setattr(module._Timings, "_timed_pruning", lambda *_: asked.append("prune") or 4.0)
    return asked


def estimated(tmp_path, workers=1, **settings):
    return estimate(grid(**{**SETTINGS, **settings}), tmp_path, tmp_path, workers)


def test_the_parts_are_what_a_calculation_by_hand_gives(timed, tmp_path, experiment):
    steps = experiment().dataset.create().load(tmp_path).steps(64)
    epoch = 0.5 * steps + 3.0
    found = estimated(tmp_path)
    assert found.dense_networks == 2
    assert found.parts == {
        "dense networks": pytest.approx(2 * 7 * epoch),
        "training after pruning": pytest.approx(12 * 3 * 5 * epoch),
        "pruning": pytest.approx(12 * 3 * 4.0),
        "evaluation": pytest.approx(12 * 3 * 2 * 3.0),
        "timing of inference": pytest.approx(12 * 2 * 30 * 3 * 0.02),
    }
    assert found.seconds == pytest.approx(sum(found.parts.values()))


def test_getting_the_batches_counts_too_and_what_the_device_still_computes(monkeypatch):
    """Of a step of half a second and one more on a device, and a batch that takes two."""
    now = [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(module, "_SECONDS_EACH", 10.0)

    def batches():
        for first in (True, False, False, False):
            now[0] += 7.0 if first else 2.0
            yield first

    def step(_):
        now[0] += 0.5

    def synchronize():
        now[0] += 1.0

    monkeypatch.setattr(torch.mps, "synchronize", synchronize)
    assert module._seconds_each(step, batches(), torch.device("mps")) == pytest.approx(3.5)


def test_each_thing_is_timed_once_however_many_cells_need_it(timed, tmp_path):
    estimated(tmp_path, seed=list(range(50)), compression=[float(each) for each in range(2, 8)])
    assert sorted(set(timed)) == ["_evaluation", "_forward", "_step", "prune"]
    assert [timed.count(each) for each in ("_step", "_forward", "prune")] == [1, 2, 2]


def test_without_recovery_and_latency_there_is_nothing_to_train_or_time(timed, tmp_path):
    found = estimated(tmp_path, recovery="NoRecovery", measurements=["Size", "Flops"])
    assert found.parts["training after pruning"] == found.parts["timing of inference"] == 0
    assert found.parts["evaluation"] == pytest.approx(12 * 3 * 2 * 3.0)


def test_workers_share_the_cells_but_not_a_dense_network_and_its_cell(timed, tmp_path, monkeypatch):
    monkeypatch.setattr(module.os, "cpu_count", lambda: 64)
    alone, both = estimated(tmp_path), estimated(tmp_path, workers=2)
    assert both.seconds == pytest.approx(alone.seconds / 2)
    many = estimated(tmp_path, workers=64)
    one_cell = sum(alone.parts.values()) - alone.parts["dense networks"]
    assert many.seconds == pytest.approx(alone.parts["dense networks"] / 2 + one_cell / 12)


def test_a_pruning_for_which_there_is_no_time_counts_like_the_others(monkeypatch, tmp_path, timed):
    monkeypatch.setattr(
        module._Timings,
        "_timed_pruning",
        lambda _, experiment: 6.0 if "Random" in str(experiment.strategy) else None,
    )
    found = estimated(tmp_path)
    assert found.untimed == ("GlobalMagnitude",)
    assert found.parts["pruning"] == pytest.approx(12 * 3 * 6.0)


def test_a_pruning_is_tried_out_without_evaluating_all_of_the_test_split(monkeypatch, tmp_path):
    drawn = []

    def prune(experiment, task, pretrained, **_):
        drawn.append({split: len(list(task.batches(split, 500))) for split in ("train", "test")})
        yield

    monkeypatch.setattr(module, "prune", prune)
    monkeypatch.setattr(module, "_SECONDS_EACH", 0.01)
    estimated(tmp_path, strategy="Random", dataset="Digits(test=1000)")
    assert drawn == [{"train": 2, "test": 1}]


def test_the_command_says_it_and_runs_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(module, "_SECONDS_EACH", 0.01)
    command = ["run", "--dataset", "Digits", "--model", "LeNetSmall", "--strategy", "Random"]
    command += ["--compression", "2", "--estimate", "--runs", str(tmp_path / "runs")]
    assert main(command) == 0
    *_, cells, dense, sentence, shares = capsys.readouterr().out.splitlines()
    assert cells == "1 cell, 0 finished, 1 to run"
    assert dense == "dense networks to train: 1"
    assert sentence.startswith("about ")
    assert sentence.endswith("with --workers 1 on this machine as busy as it is now")
    assert "training after pruning" in shares
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 seconds"), (119, "119 seconds"), (120, "2 minutes"), (7100, "120 minutes"),
     (9000, "2.5 hours"), (200_000, "2.3 days"), (86400 * 123, "120 days")],
)  # fmt: skip
def test_a_duration_is_in_its_largest_unit_with_two_digits(seconds, words):
    assert duration(seconds) == words


def test_one_training_with_many_prunings_is_evaluated_once(timed, tmp_path):
    found = estimated(tmp_path, timing="DuringTraining", strategy=["Random"])
    assert found.parts["pruning"] == pytest.approx(6 * 3 * 4.0)
    assert found.parts["evaluation"] == pytest.approx(6 * 2 * 3.0)
