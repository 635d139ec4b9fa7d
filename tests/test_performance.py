"""The commands that measure speed: what they make of what they measure."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from prunebench.metrics import Ratio
from prunebench.performance import guard, on_gpu
from prunebench.performance.cost_curves import costs_as_text
from prunebench.performance.input_norms import rows
from prunebench.performance.random_images import RandomImages
from prunebench.performance.turns import Judged, Turns, take_turns

ROOT = Path(__file__).resolve().parents[1]
EQUAL = Ratio(1.0, 0.99, 1.01)


def test_norms_of_inputs_are_told_beside_their_median():
    norms = {"one.weight": torch.arange(101.0), "two.weight": torch.full((1, 5), 3.0)}
    norms["unused.weight"] = torch.zeros(4)
    one, two = rows(norms)
    assert one == ("one", 2.0, 1.98, pytest.approx(np.arange(101).std() / 50))
    assert two == ("two", 1.0, 1.0, 0.0)


def test_things_take_turns_at_being_the_first():
    order = []

    def told(name, seconds):
        return lambda: order.append(name) or seconds

    turns = take_turns({"a": told("a", 2.0), "b": told("b", 1.0)}, 2)
    assert order == ["a", "b", "b", "a"]
    assert turns.ratio("a", "b", ("b", "b")).ratio == Ratio(2.0, 2.0, 2.0)


def test_a_ratio_beside_a_control_that_is_off_is_in_doubt():
    seconds = {"ours": np.full(9, 3.0), "theirs": np.full(9, 2.0), "again": np.full(9, 2.5)}
    found = Turns(seconds, load=0.0).ratio("ours", "theirs", ("again", "theirs"))
    assert found.ratio.value == 1.5
    assert "identical networks came out at 1.25×" in found.doubt
    assert not Turns(seconds, load=0.0).ratio("ours", "theirs", ("theirs", "theirs")).doubt


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (Ratio(1.2, 1.11, 1.3), guard.SLOWER),
        (Ratio(1.2, 1.09, 1.3), guard.SAME),
        (Ratio(0.8, 0.7, 0.89), guard.FASTER),
    ],
)
def test_slower_is_what_is_wholly_above_what_it_was(now, said):
    assert guard.verdict(Ratio(1.0, 0.9, 1.1), Judged(now, EQUAL, "")) == said


@pytest.fixture
def measured(monkeypatch):
    """Has the guard measure nothing but this ratio, under the name of the leaderboard's."""

    def have(found):
        only = {"leaderboard": guard.Guarded("one thing over another", lambda: found)}
        monkeypatch.setattr(guard, "GUARDED", only)

    return have


def guarded(monkeypatch, path, *options):
    monkeypatch.setattr(sys, "argv", ["guard.py", "--ratios", str(path), *options])
    return guard.main()


def test_the_guard_fails_if_and_only_if_something_is_slower(
    measured, monkeypatch, tmp_path, capsys
):
    path = tmp_path / "ratios.csv"
    measured(Judged(Ratio(3.0, 2.9, 3.1), EQUAL, ""))
    assert guarded(monkeypatch, path) == 0
    assert "not committed yet" in capsys.readouterr().out
    assert not path.exists()
    assert guarded(monkeypatch, path, "--update") == 0
    assert guard.read(path) == {"leaderboard": Ratio(3.0, 2.9, 3.1)}
    assert guarded(monkeypatch, path) == 0
    measured(Judged(Ratio(3.3, 3.2, 3.4), EQUAL, ""))
    assert guarded(monkeypatch, path) == 1
    assert guarded(monkeypatch, path, "--update") == 1
    assert guard.read(path) == {"leaderboard": Ratio(3.3, 3.2, 3.4)}


def test_without_a_verdict_nothing_is_slower_and_the_reason_is_kept(
    measured, monkeypatch, tmp_path, capsys
):
    path = tmp_path / "ratios.csv"
    measured(Judged(Ratio(1.0, 0.9, 1.1), EQUAL, ""))
    guarded(monkeypatch, path, "--update")
    measured(Judged(Ratio(9.0, 8.0, 10.0), EQUAL, "the machine is busy"))
    assert guarded(monkeypatch, path, "--update") == 0
    assert "no verdict: the machine is busy" in capsys.readouterr().out
    assert pd.read_csv(path)["doubt"].tolist() == ["the machine is busy"]


def test_every_committed_ratio_is_guarded():
    committed = guard.read(guard.RATIOS)
    assert set(committed) <= set(guard.GUARDED)
    assert all(each.low <= each.value <= each.high for each in committed.values())


CURVES = sorted((ROOT / "results/published/cost-curves").glob("*.csv"))


@pytest.mark.parametrize("path", CURVES, ids=lambda path: path.stem)
def test_published_cost_curves_are_shown_and_none_is_superlinear(path):
    text = costs_as_text(pd.read_csv(path))
    assert text in (ROOT / "results/published/costs.md").read_text()
    assert "superlinear" not in text


@pytest.mark.slow
def test_a_cost_curve_is_measured(tmp_path):
    command = [sys.executable, ROOT / "performance/cost_curves.py", "--of", "cells"]
    command += ["--largest", "100", "-o", tmp_path]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    frame = pd.read_csv(tmp_path / "cells.csv")
    assert (frame["seconds"] > 0).all()
    assert set(frame["cells"]) == {100}
    assert "superlinear: nothing" in done.stdout


@pytest.mark.slow
def test_what_scoring_costs_is_told_or_why_it_is_not():
    command = [sys.executable, ROOT / "performance/scoring_cost.py", "--beside", "topk"]
    command += ["--models", "squeezenet1_1", "--strategies", "GlobalMagnitude", "RigL"]
    done = subprocess.run([*command, "--turns", "1"], check=True, capture_output=True, text=True)
    lines = {line.split("  ")[0]: line for line in done.stdout.splitlines()}
    for method in ("topk", "GlobalMagnitude", "topk again"):
        assert "1 samples are too few" in lines[method]
    assert lines["RigL"].endswith("prunes while the network trains")


def test_random_images_are_the_same_each_time():
    images = RandomImages(channels=3, size=32, examples=20)
    (first, _), (again, _) = (
        next(iter(images.load(Path()).batches("train", 20))) for _ in range(2)
    )
    assert first.shape == (20, 3, 32, 32)
    assert torch.equal(first, again)


def test_on_a_cpu_the_script_for_gpus_names_what_needs_one(monkeypatch, tmp_path, capsys):
    options = ["tests", "--device", "cpu", "--small", "-o", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["on_gpu.py", *options])
    assert on_gpu.main() == 0
    assert "tests: left out: the tests that are marked gpu" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_sharing_cells_is_left_out_where_there_is_one_gpu(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sys, "argv", ["on_gpu.py", "ddp", "-o", str(tmp_path)])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert on_gpu.main() == 0
    assert "ddp: left out: it needs two GPUs" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
