"""Finding the highest target at which no more than so much is lost."""

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prunebench.benchmark.cell.record import described
from prunebench.benchmark.command_line import main
from prunebench.benchmark.studies import finding
from prunebench.benchmark.studies.finding import Aim, find
from prunebench.results import Failure, Record, Store
from prunebench.results.targets import COMPRESSION, SPARSITY

FIND = ["find", "--dataset", "Digits", "--model", "LeNetSmall", "--measurements", "Size",
        "--pretraining.epochs", "3", "--finetuning.epochs", "1", "--strategy", "GlobalMagnitude",
        "--highest", "64", "--resolution", "2", "--loss-at-most", "1.5"]  # fmt: skip


def record_of(made, lost: float) -> Record:
    """A record that says that so many points of accuracy were lost."""
    return Record(
        id=made.id, status="ok", experiment=described(made), quality={"top1": "higher"},
        dense={"top1": 0.9}, final={"top1": 0.9 - lost / 100}, rounds=(), layers=(),
        collapsed_layers=(), timings={}, environment={},
    )  # fmt: skip


@pytest.fixture
def pretend(monkeypatch):
    """Have cells lose what a function of experiments says, and count them."""

    def with_losses(losses):
        ran = []

        def sweep(experiments, *, runs, **options):
            for each in experiments:
                ran.append(each)
                Store(runs).save(record_of(each, losses(each)))
            return [Store(runs).load(each.id) for each in experiments]

        monkeypatch.setattr(finding, "sweep", sweep)
        monkeypatch.setattr(finding, "check", lambda *arguments, **options: {})
        return ran

    return with_losses


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(limit=st.floats(1, 300), resolution=st.floats(1.05, 3))
def test_the_bracket_is_that_of_trying_all(
    pretend, experiment, tmp_path_factory, limit, resolution
):
    ran = pretend(lambda each: 0.5 if each.compression <= limit else 2.0)
    aim = Aim(COMPRESSION, loss=1.0, highest=256, resolution=resolution)
    (row,) = find([experiment()], aim, runs=tmp_path_factory.mktemp("r")).to_dict("records")
    held = [value for value in aim.values() if value <= limit]
    not_held = [value for value in aim.values() if value > limit]
    assert row["held"] == (held[-1] if held else None)
    assert row["not_held"] == (not_held[0] if not_held else None)
    assert len(ran) <= len(aim.values()).bit_length() + 1
    assert row["cells"] == len(ran)


def test_records_that_are_there_are_not_tried_again(pretend, experiment, tmp_path):
    ran = pretend(lambda each: each.sparsity)
    made = [experiment(sparsity=0.5, seed=seed) for seed in (0, 1)]
    aim = Aim(SPARSITY, loss=0.9, highest=64)
    first = find(made, aim, runs=tmp_path)
    cells = len(ran)
    pd.testing.assert_frame_equal(find(made, aim, runs=tmp_path), first)
    assert len(ran) == cells
    assert list(first["seed"]) == [0, 1]
    assert (first["held"] <= 0.9).all()
    assert (first["not_held"] > 0.9).all()


def test_a_curve_that_is_not_monotone_is_said(pretend, experiment, tmp_path):
    pretend(lambda each: 0.1 if each.compression < 10 else 5.0)
    Store(tmp_path).save(record_of(experiment(compression=3.0), 4.0))
    Store(tmp_path).save(record_of(experiment(seed=1, compression=3.0), 4.0))
    (row,) = find([experiment()], Aim(COMPRESSION, 1.0), runs=tmp_path).to_dict("records")
    assert row["held"] is None or row["held"] < 3
    Store(tmp_path).save(record_of(experiment(compression=8.0), 0.0))
    (row,) = find([experiment()], Aim(COMPRESSION, 1.0), runs=tmp_path).to_dict("records")
    assert 8 <= row["held"] < 10
    assert row["note"] == "not monotone: 3× did not hold"


@pytest.mark.slow
def test_the_command_finds_from_few_cells_and_goes_on(tmp_path, capsys):
    command = [*FIND, "--runs", str(tmp_path / "runs"), "-o", str(tmp_path / "found.csv")]
    assert main(command) == 0
    printed = capsys.readouterr().out
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").glob("??/*.json")}
    assert 2 <= len(before) <= 3  # of six
    assert main(command) == 0
    assert capsys.readouterr().out == printed
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").glob("??/*.json")}
    assert after == before
    (row,) = pd.read_csv(tmp_path / "found.csv").to_dict("records")
    lost = {
        record.experiment["compression"]: 100 * (record.dense["top1"] - record.final["top1"])
        for record in Store(tmp_path / "runs").records()
    }
    for value, loss in lost.items():
        assert loss <= 1.5 or value >= row["not_held"]
    assert row["held_loss"] == pytest.approx(lost[row["held"]], abs=1e-4)
    assert row["not_held"] == 2 * row["held"]


def test_what_is_to_be_found_is_not_given(capsys):
    assert main([*FIND, "--compression", "4"]) == 2
    assert "--compression is what is to be found" in capsys.readouterr().err
    assert main([*FIND, "--resolution", "1"]) == 2
    assert "give a ratio above 1" in capsys.readouterr().err


def test_a_file_of_settings_says_what_is_pruned(pretend, tmp_path, capsys):
    ran = pretend(lambda each: 0.5 if each.compression <= 2 else 2.0)
    (tmp_path / "mine.yaml").write_text(
        "dataset: Digits\nmodel: LeNetSmall\nstrategy: GlobalMagnitude\ncompression: 99\n"
    )
    command = ["find", str(tmp_path / "mine.yaml"), "--loss-at-most", "1", "--highest", "8"]
    assert main([*command, "--resolution", "2", "--runs", str(tmp_path / "runs")]) == 0
    assert "2× (-0.50)" in capsys.readouterr().out
    assert {each.compression for each in ran} == {2.0, 4.0}


def test_what_failed_before_is_tried_again(pretend, experiment, tmp_path):
    made = experiment(compression=4.0)
    failed = record_of(made, 0.0).model_copy(
        update={
            "status": "failed",
            "error": Failure(type="TimeoutError", message="too long", traceback=""),
            "final": {},
            "dense": {},
        }
    )
    Store(tmp_path).save(failed)
    ran = pretend(lambda each: 0.5)
    aim = Aim(COMPRESSION, loss=1.0, highest=4, resolution=4)
    (row,) = find([experiment()], aim, runs=tmp_path).to_dict("records")
    assert row["held"] == 4
    assert len(ran) == 1


def test_all_is_never_tried_to_be_removed():
    values = Aim(SPARSITY, loss=1.0, highest=1e6, resolution=9e5).values()
    assert all(value < 1 for value in values)
