"""Trackers: what they keep of a cell is what is in its record, which they do not change."""

import struct
import sys

import pytest

from prunebench import sweep
from prunebench.benchmark.command_line import main
from prunebench.benchmark.tracking.tracked import tracked
from prunebench.benchmark.tracking.trackers import tracker
from prunebench.results import Store


@pytest.fixture(scope="module")
def store(experiment, tmp_path_factory):
    """A finished cell of two rounds, and one that failed."""
    folder = tmp_path_factory.mktemp("runs")
    failing = folder / "failing.py"
    failing.write_text(
        "from prunebench.strategies import GlobalMagnitude\n"
        "class Failing(GlobalMagnitude):\n"
        "    '''Cannot score.'''\n"
        "    def score(self, context):\n"
        "        raise ArithmeticError('no scores today')\n"
    )
    settings = {"model": "Perceptron", "pretraining": {"epochs": 2}, "least_dense_quality": 0.0}
    strategies = ("GlobalMagnitude", f"{failing}:Failing")
    made = [
        experiment(strategy=each, rounds=2, measurements=["Size"], **settings)
        for each in strategies
    ]
    sweep(made, runs=folder, progress=False)
    return Store(folder)


@pytest.fixture
def cells(store):
    """Both cells, the finished one first, as trackers take them."""
    found = [tracked(record, store) for record in store.records()]
    return sorted(found, key=lambda cell: cell.status, reverse=True)


def names_of(cell):
    points = [*cell.epochs, *cell.rounds, (0, cell.final)]
    return {(name, step): n for step, numbers in points for name, n in numbers.items()}


def test_a_cell_has_the_points_of_all_its_trainings_and_rounds(store, cells):
    cell, failed = cells
    record = store.load(cell.id)
    assert [point.step for point in cell.epochs] == [1, 2, 3, 4]  # 2, and 1 in each round
    assert [point.numbers["loss"] for point in cell.epochs] == [e.loss for e in record.history]
    assert [point.numbers["round/kept"] for point in cell.rounds] == [r.kept for r in record.rounds]
    assert cell.final["final/top1"] == record.final["top1"]
    assert cell.settings["pretraining.epochs"] == 2
    assert cell.record.read_bytes() == record.to_json()
    assert (failed.epochs, failed.rounds, failed.final) == ([], [], {})
    assert failed.record.name.endswith(".failed.json")


def test_tensorboard_reads_back_what_was_written(cells, tmp_path):
    package = "tensorboard.backend.event_processing.event_accumulator"
    accumulator = pytest.importorskip(package, reason="tensorboard is not installed")
    board = tracker("tensorboard", tmp_path)
    for cell in (*cells, cells[0]):  # run again, the first takes the place of what was there
        board.track(cell)
    for cell in cells:
        events = accumulator.EventAccumulator(str(tmp_path / "tensorboard" / cell.id)).Reload()
        found = {
            (name, each.step): each.value
            for name in events.Tags()["scalars"]
            for each in events.Scalars(name)
        }
        assert found == pytest.approx(names_of(cell))
        (text,) = events.Tensors("record/text_summary")
        assert str(cell.record).encode() in text.tensor_proto.string_val


def test_mlflow_finds_the_runs_by_what_they_are(cells, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    kept = tracker("mlflow", tmp_path)
    for cell in cells:
        kept.track(cell)
    client = mlflow.MlflowClient((tmp_path / "mlflow").as_uri())
    experiment = client.get_experiment_by_name("prunebench").experiment_id
    for cell, status in zip(cells, ("FINISHED", "FAILED"), strict=True):
        (run,) = client.search_runs([experiment], f"tags.`prunebench.id` = '{cell.id}'")
        assert run.info.status == status
        assert run.data.tags["prunebench.record"] == str(cell.record)
        assert run.data.params == {name: str(value) for name, value in cell.settings.items()}
        found = {
            (name, each.step): each.value
            for name in run.data.metrics
            for each in client.get_metric_history(run.info.run_id, name)
        }
        assert found == names_of(cell)


def logged(file):
    """The contents of wandb's file, which is a log as LevelDB writes it behind 7 bytes."""
    place, content = 7, b""
    while place + 7 <= len(file):
        if (left := 32768 - place % 32768) < 7:
            place += left  # no head fits into the rest of the block
            continue
        length, kind = struct.unpack_from("<HB", file, place + 4)
        content += file[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a whole one, or the last part of one
            yield content
            content = b""


@pytest.mark.slow
def test_wandb_keeps_runs_offline(cells, tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="wandb is not installed")
    from wandb.proto.wandb_internal_pb2 import Record

    monkeypatch.setenv("WANDB_MODE", "offline")
    tracker("wandb", tmp_path).track(cells[0])
    (path,) = (tmp_path / "wandb").rglob(f"run-{cells[0].id}.wandb")
    found = [Record.FromString(content) for content in logged(path.read_bytes())]
    (run,) = (each.run for each in found if each.WhichOneof("record_type") == "run")
    assert run.run_id == cells[0].id
    assert run.display_name == cells[0].name
    history = [
        {"/".join(item.nested_key) or item.key: item.value_json for item in each.history.item}
        for each in found
        if each.WhichOneof("record_type") == "history"
    ]
    losses = [float(each["loss"]) for each in history if "loss" in each]
    assert losses == [point.numbers["loss"] for point in cells[0].epochs]


def test_tracking_changes_no_record_and_costs_none_if_it_fails(experiment, store, tmp_path, capsys):
    class Broken:
        def track(self, cell):
            raise ConnectionError("nobody is there")

    (finished,) = (record for record in store.records() if record.finished)
    settings = {name: finished.experiment[name] for name in ("pretraining", "measurements")}
    made = experiment(model="Perceptron", rounds=2, least_dense_quality=0.0, **settings)
    (record,) = sweep([made], runs=tmp_path, trackers=[Broken()], progress=False)
    assert record.result() == finished.result()
    said = capsys.readouterr().err
    assert f"{record.id} is not tracked by Broken: ConnectionError: nobody is there" in said


def test_a_tracker_that_is_not_installed_is_named_before_anything_runs(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, "wandb", None)
    arguments = ["run", "digits", "--track", "wandb", "--runs", str(tmp_path)]
    assert main(arguments) == 2
    assert "track wandb: wandb not installed: pip install '.[wandb]'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
