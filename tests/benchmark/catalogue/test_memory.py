"""What ``prunebench list`` remembers is what it would find out, and else is forgotten."""

import json
import os
import subprocess
import sys

import pytest

from prunebench.benchmark.catalogue import components
from prunebench.benchmark.catalogue.memory import answers
from prunebench.benchmark.command_line import main


@pytest.fixture
def file(tmp_path, monkeypatch):
    """Where it is remembered."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "prunebench" / "catalogue.json"


def test_what_is_remembered_is_what_would_be_found_out(file):
    first = answers()
    assert first == answers() == components.all_answers()
    assert first[None, None] == components.overview()
    assert first["strategies", "SNIP"] == components.detail("strategies", "SNIP")
    assert file.is_file()


def test_nothing_is_found_out_twice(file, monkeypatch, capsys):
    answers()
    source = json.loads(file.read_text())["source"]
    monkeypatch.setattr(components, "all_answers", None)
    file.write_text(json.dumps({"source": source, "answers": [["models", None, "by heart"]]}))
    assert main(["list", "models"]) == 0
    assert capsys.readouterr().out == "by heart\n"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"source": 0}', "null", "half of a fi"])
def test_what_is_damaged_or_of_another_source_is_found_out_anew(file, content):
    file.parent.mkdir()
    file.write_text(content)
    assert answers() == components.all_answers()
    assert json.loads(file.read_text())["answers"]


def test_a_folder_that_cannot_be_written_is_no_obstacle(file, capsys):
    file.parent.write_text("a file where the folder should be")
    assert main(["list", "timings"]) == 0
    assert "DuringTraining" in capsys.readouterr().out


@pytest.mark.slow
def test_a_plug_in_is_listed_although_there_is_something_to_remember(file, tmp_path):
    answers()
    installed = tmp_path / "installed"  # beside the cache, whose folder is called prunebench too
    folder = installed / "plug_in-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: plug-in\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[prunebench.timings]\nMine = plug_in_timing:Mine\n")
    (installed / "plug_in_timing.py").write_text(
        "from prunebench.strategies import BetweenTrainings\n"
        "class Mine(BetweenTrainings):\n"
        "    '''A plug-in that is listed.'''\n"
    )
    path = os.pathsep.join([str(installed), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "prunebench", "list", "timings"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "A plug-in that is listed." in done.stdout
