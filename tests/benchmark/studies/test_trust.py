"""Records that somebody else has made: what they name is executed only where the user says so."""

import hashlib
import importlib.util
import os
import py_compile
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from prunebench import UsageError, load, run
from prunebench.benchmark.command_line import main
from prunebench.benchmark.studies.export import export
from prunebench.benchmark.studies.restoring import experiment_of
from prunebench.results import Record, Store
from prunebench.strategies import STRATEGIES

METHOD = """
from dataclasses import dataclass
from prunebench.strategies import GlobalMagnitude
with open({marker!r}, "a") as marker:
    marker.write("executed")
@dataclass(frozen=True)
class Mine(GlobalMagnitude):
    '''As GlobalMagnitude.'''
"""


@pytest.fixture(scope="module")
def finished(experiment, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trust")
    run(experiment(), runs=folder)
    return folder


@pytest.fixture
def runs(finished, tmp_path):
    return Path(shutil.copytree(finished, tmp_path / "runs"))


@pytest.fixture
def marker(tmp_path):
    return tmp_path / "marker"


@pytest.fixture
def method(tmp_path, marker):
    path = tmp_path / "mymethod.py"
    path.write_text(METHOD.format(marker=str(marker)))
    return path


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def changed(runs: Path, **settings: object) -> Record:
    """The finished record with other settings, as somebody who wishes us ill would write it."""
    (record,) = Store(runs).records()
    record = record.model_copy(update={"experiment": {**record.experiment, **settings}})
    Store(runs).save(record)
    return record


def exported(runs: Path, *options: str) -> int:
    (record,) = Store(runs).records()
    output = runs / "out.safetensors"
    return main(["export", record.id, "--runs", str(runs), "-o", str(output), *options])


PLACES = ["dataset", "model", "strategy", "schedule", "recovery", "timing", "initialisation"]


@pytest.mark.slow
@pytest.mark.parametrize("place", [*PLACES, "metrics", "pretraining", "strategy.allocation"])
@pytest.mark.parametrize("way", ["file", "module"])
def test_no_setting_of_a_record_executes_code_from_outside(
    runs, method, marker, capsys, monkeypatch, place, way
):
    monkeypatch.syspath_prepend(method.parent)
    name = f"{method}:Mine" if way == "file" else "mymethod:Mine"
    (record,) = Store(runs).records()
    recipe = {**record.experiment["pretraining"], "penalty": name}
    setting = place.partition(".")[0]
    nested = f"GlobalMagnitude(allocation={name})"
    values = {"metrics": [name], "pretraining": recipe, "strategy.allocation": nested}
    changed(runs, **{setting: values.get(place, name), "sources": {place: digest(method)}})
    for command in (["export"], ["measure", str(runs)]):
        status = main(command) if command[1:] else exported(runs)
        assert status == 2
        said = capsys.readouterr().err
        assert "--trust" in said
        assert (str(method) if way == "file" else "would execute mymethod") in said
        assert said.count("\n") == 1
    assert not marker.exists()


def test_a_plug_in_is_not_loaded_for_a_record_unless_it_is_trusted(runs, monkeypatch):
    class EntryPoint:
        name, value = "Star", "plugin:Star"

        def load(self):
            raise AssertionError("loaded")

    monkeypatch.setattr(STRATEGIES, "_plug_ins", {"Star": EntryPoint()}, raising=False)
    record = changed(runs, strategy="Star")
    with pytest.raises(UsageError, match=r"plugin:Star.*--trust"):
        export(record, "safetensors", runs / "out", runs=runs)
    record = changed(runs, strategy="GlobalMagnitude(allocation=Star())")
    with pytest.raises(UsageError, match="unknown allocation"):
        export(record, "safetensors", runs / "out", runs=runs, trust=True)


def test_what_is_trusted_and_unchanged_is_exported(runs, method, marker):
    record = changed(runs, strategy=f"{method}:Mine", sources={"strategy": digest(method)})
    with pytest.raises(UsageError, match="trust=True"):
        load(record, runs=runs)
    assert not marker.exists()
    assert load(record, runs=runs, trust=True)
    export(record, "safetensors", runs / "out", runs=runs, trust=True)
    assert marker.read_text() == "executed"
    assert exported(runs, "--trust") == 0
    saved = load_file(Store(runs).weights_path(record.id))
    assert load_file(runs / "out").keys() == saved.keys()


def test_a_file_that_has_changed_is_refused_by_name_and_not_executed(runs, method, marker, capsys):
    changed(runs, strategy=f"{method}:Mine", sources={"strategy": digest(method)})
    method.write_text(method.read_text() + "\n# changed\n")
    assert exported(runs, "--trust") == 2
    said = capsys.readouterr().err
    assert f"{method} is not what was run" in said
    assert "run the experiment again" in said
    assert main(["measure", str(runs), "--trust"]) == 2
    assert str(method) in capsys.readouterr().err
    assert not marker.exists()


@pytest.mark.parametrize("sources", [{}, None, {"strategy": "0" * 64}, ["x"], "x"])
def test_a_record_without_the_digest_of_its_file_is_refused(runs, method, marker, sources):
    record = changed(runs, strategy=f"{method}:Mine", sources=sources)
    with pytest.raises(UsageError, match=r"mymethod\.py is not what was run"):
        export(record, "safetensors", runs / "out", runs=runs, trust=True)
    assert not marker.exists()


def test_a_module_that_has_changed_is_refused_by_the_name_of_its_file(runs, method, monkeypatch):
    monkeypatch.syspath_prepend(method.parent)
    method = method.rename(method.with_name("othermethod.py"))
    right = {"strategy": digest(method)}
    record = changed(runs, strategy="othermethod:Mine", sources=right)
    export(record, "safetensors", runs / "out", runs=runs, trust=True)
    record = changed(runs, strategy="othermethod:Mine", sources={"strategy": "0" * 64})
    with pytest.raises(UsageError, match=r"othermethod\.py is not what was run"):
        export(record, "safetensors", runs / "out", runs=runs, trust=True)


def test_what_is_executed_is_what_was_hashed_and_no_compiled_code_beside_it(runs, method, marker):
    sources = {"strategy": digest(method)}
    harmful = method.with_name("harmful.py")
    text = method.read_text().replace("executed", "defeated")
    harmful.write_text(text)
    os.utime(harmful, ns=(method.stat().st_mtime_ns,) * 2)
    cached = Path(importlib.util.cache_from_source(str(method)))
    py_compile.compile(str(harmful), cfile=str(cached), dfile=str(method))
    harmful.unlink()
    record = changed(runs, strategy=f"{method}:Mine", sources=sources)
    export(record, "safetensors", runs / "out", runs=runs, trust=True)
    assert marker.read_text() == "executed"


def test_no_pickle_is_read_for_a_record(runs, monkeypatch):
    (record,) = Store(runs).records()
    path = runs / "initial.pt"
    torch.save(load_file(Store(runs).weights_path(record.id)), path)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("a pickle was read"))
    record = changed(runs, initialisation=f"FromFile(path={str(path)!r})")
    (pretrained,) = (runs / "pretrained").glob("*.safetensors")
    pretrained.rename(pretrained.with_name(f"{experiment_of(record).pretraining_id}.safetensors"))
    export(record, "safetensors", runs / "out", runs=runs)


def test_the_record_says_what_makes_no_experiment(runs):
    record = changed(runs, rounds="many")
    with pytest.raises(UsageError, match=f"the run {record.id}: rounds: 'many' is not allowed"):
        export(record, "safetensors", runs / "out", runs=runs)


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def text(path):
    path.write_text("these are no weights")


def renamed(path):
    save_file({f"x.{name}": tensor for name, tensor in load_file(path).items()}, path)


def reshaped(path):
    save_file({name: tensor[None] for name, tensor in load_file(path).items()}, path)


def emptied(path):
    save_file({}, path)


@pytest.mark.parametrize("damage", [cut, text, renamed, reshaped, emptied])
@pytest.mark.parametrize("command", ["export", "measure", "heatmap", "export of the dense"])
def test_damaged_and_foreign_weights_get_one_sentence_with_their_file(
    runs, capsys, damage, command
):
    (record,) = Store(runs).records()
    path = Store(runs).weights_path(record.id)
    if command.endswith("dense"):
        (path,) = (runs / "pretrained").glob("*.safetensors")
    damage(path)
    arguments = {
        "measure": ["measure", str(runs)],
        "heatmap": ["heatmap", record.id, "--runs", str(runs), "-o", str(runs / "heat")],
    }.get(command, ["export", record.id, "--runs", str(runs), "-o", str(runs / "out")])
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert str(path) in said
    assert said.count("prunebench: ") == 1
    assert "Traceback" not in said


def test_a_network_is_never_trained_to_restore_it(runs):
    (report,) = (each for each in (runs / "pretrained").glob("*.json") if "-" not in each.name)
    report.unlink()
    (record,) = Store(runs).records()
    export(record, "safetensors", runs / "out", runs=runs)
    assert not report.exists()


@pytest.mark.slow
@pytest.mark.parametrize("command", ["export", "heatmap", "show", "measure"])
def test_a_record_that_is_named_by_its_path_has_its_weights_beside_it(
    runs, tmp_path, capsys, monkeypatch, command
):
    (record,) = Store(runs).records()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    path = Path("..") / "runs" / record.id[:2] / f"{record.id}.json"
    quick = ["--runtimes", "Eager", "--batch-sizes", "2", "--repeats", "3"]
    assert main([command, str(path), *(quick if command == "measure" else [])]) == 0
    monkeypatch.chdir(path.parent)
    if command != "measure":
        assert main([command, path.name]) == 0
    else:
        assert (runs / "inference.csv").exists()
