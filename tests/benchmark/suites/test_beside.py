"""A method among those that others have run, which are not run again."""

import hashlib
from pathlib import Path

import pandas as pd
import pytest

from prunebench.benchmark.command_line import main
from prunebench.benchmark.suites.cells import Choice, scored_tasks
from prunebench.benchmark.suites.scoring import (
    other_dense_networks,
    outcomes_of,
    published,
    runs_of_studies,
)
from prunebench.benchmark.suites.suite import suite
from prunebench.results import Store
from prunebench.results.record_file import RECORDS_FILE, write_records
from prunebench.results.suites.levels import DENSE, NARROWER, levels
from prunebench.results.suites.score import mean_area


@pytest.fixture
def home(ran, tmp_path, monkeypatch):
    """A folder in which a run of the suite is published, and the runs of a user."""
    folder = tmp_path / "results/published/tiny-1"
    folder.mkdir(parents=True)
    (folder / "experiments.yaml").write_bytes((ran / "tiny-1.yaml").read_bytes())
    write_records(Store(ran).records(), folder / RECORDS_FILE)
    for each in Store(ran).records():
        if each.experiment["strategy"] == "StructuredL1" and each.finished:
            digests = {**each.digests, "dense": "0" * 64}
            dense = {**each.dense, "top1": each.dense["top1"] + 0.01}
            moved = each.model_copy(update={"digests": digests, "dense": dense})
            Store(tmp_path / "mine").save(moved)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_is_published_of_the_same_suite_is_not_run_again(ran, home, capsys):
    run = ["suite", "run", str(ran / "tiny-1.yaml"), "--runs", "new", "--dry-run"]
    assert main([*run, "--strategies", "SNIP"]) == 0
    output = capsys.readouterr()
    assert "36 cells, 8 to run" in output.out
    assert "beside the records of results/published/tiny-1" in output.err
    assert main([*run, "--strategies", "SNIP", "--beside"]) == 0
    assert "36 cells, 36 to run" in capsys.readouterr().out


def test_a_suite_that_has_changed_is_not_the_one_that_is_published(ran, home):
    found = suite(str(ran / "tiny-1.yaml"))
    assert [str(each) for each in published(found)] == ["results/published/tiny-1"]
    assert published(found.model_copy(update={"seeds": (0, 1, 2)})) == []


def test_runs_are_held_against_the_dense_networks_that_they_began_from(ran, home):
    found = suite(str(ran / "tiny-1.yaml"))
    tasks = scored_tasks(found)
    places = [home / "mine"], [home / "results/published/tiny-1"]
    # Where others have finished a cell, theirs counts.
    both, theirs = levels(tasks, outcomes_of(*places)), levels(tasks, Store(ran).outcomes())
    pd.testing.assert_frame_equal(both, theirs)
    others = [each for each in Store(ran).outcomes() if each.experiment["strategy"] == "Random"]
    runs = levels(tasks, [*others, *Store(home / "mine").outcomes()])
    for _, row in runs[(runs["method"] == "StructuredL1") & (runs["state"] == "ok")].iterrows():
        own = Store(home / "mine").load(row["record"])
        expected = (own.final["top1"] - 0.1) / (own.dense["top1"] - 0.1)
        assert row["level"] == pytest.approx(expected)


def test_other_dense_networks_are_counted_and_told(ran, home, capsys):
    assert other_dense_networks([home / "mine"], [ran]) == (4, 4)
    assert other_dense_networks([ran], [ran]) == (0, 12)
    path = str(ran / "tiny-1.yaml")
    assert main(["suite", "score", "mine", "--suite", path]) == 0
    output = capsys.readouterr()
    assert output.err.count("4 of 4 dense networks here are not those of") == 1
    assert NARROWER in output.out
    assert main(["suite", "score", str(ran), "--suite", path]) == 0
    assert "dense networks here" not in capsys.readouterr().err


def test_of_several_studies_the_median_counts(ran):
    found, outcomes = suite(str(ran / "tiny-1.yaml")), list(Store(ran).outcomes())
    names = ["Random", "GlobalMagnitude", "StructuredL1"]
    runs = levels(scored_tasks(found), outcomes)
    ordered = sorted(names, key=lambda name: mean_area(scored_tasks(found), runs, name))
    chosen = runs_of_studies(found, {"Mine": [Choice(name) for name in names]}, outcomes)
    assert {*chosen["method"]} == {ordered[1], *DENSE}
    chosen = runs_of_studies(found, {"Mine": [Choice(name) for name in ordered[1:]]}, outcomes)
    assert {*chosen["method"]} == {ordered[1], *DENSE}


def test_a_method_whose_file_was_edited_is_scored_by_the_file_of_today(ran, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found, outcomes = suite(str(ran / "tiny-1.yaml")), list(Store(ran).outcomes())
    chosen = {}
    for number in range(2):
        Path(f"{number}").mkdir()
        path = Path(f"{number}/mine.py")
        code = "from prunebench.strategies import Random\n\n\nclass Mine(Random):\n    pass\n"
        path.write_text(f"# {number}\n{code}")
        chosen[number] = Choice(f"{path}:Mine")
        source = {"strategy": hashlib.sha256(path.read_bytes()).hexdigest()}
        for each in [each for each in outcomes if each.experiment["strategy"] == "Random"]:
            said = {**each.experiment, "strategy": f"{path}:Mine", "sources": source}
            final = {**each.final, "top1": 0.2 + 0.5 * number}
            update = {"id": f"{number}{each.id[1:]}", "experiment": said, "final": final}
            outcomes.append(each.model_copy(update=update))
    for number in range(2):
        runs = runs_of_studies(found, {"Mine": [chosen[number]]}, outcomes)
        own = runs[runs["method"] == "Mine"]
        assert {*own["record"].str[0]} == {str(number)}
        assert {*own["quality"]} == {100 * (0.2 + 0.5 * number)}
    both = runs_of_studies(found, {str(n): [chosen[n]] for n in chosen}, outcomes)
    assert len({*both["method"]} - {*DENSE}) == 2
