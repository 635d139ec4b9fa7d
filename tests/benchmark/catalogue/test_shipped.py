"""The experiments and examples that come with prunebench, by name."""

from pathlib import Path

import pytest

from prunebench.benchmark.catalogue.shipped import SHIPPED, settings_file, shipped
from prunebench.benchmark.command_line import main
from prunebench.errors import UsageError

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("kind", "files"), [("experiments", "*.yaml"), ("examples", "*.*")])
def test_all_files_are_listed_each_with_a_whole_sentence(kind, files, capsys):
    assert main(["list", kind]) == 0
    lines = capsys.readouterr().out.splitlines()
    names, sentences = lines[::2], lines[1::2]
    assert names == [f"  {path.stem}" for path in sorted((ROOT / kind).glob(files))]
    for sentence in sentences:
        assert sentence.endswith(".")
        assert len(sentence) > 30


@pytest.mark.parametrize("kind", SHIPPED)
def test_what_is_listed_by_name_is_the_file_itself(kind, capsys):
    for name, path in shipped(kind).items():
        assert main(["list", kind, name]) == 0
        assert capsys.readouterr().out == path.read_text()


def test_an_experiment_that_comes_along_is_run_by_its_name_and_it_is_said_which(capsys):
    assert main(["run", "digits", "--dry-run"]) == 0
    output = capsys.readouterr()
    assert "108 cells, 0 finished, 108 to run" in output.out
    assert f"comes with prunebench, {ROOT / 'experiments/digits.yaml'}" in output.err


def test_a_file_of_that_name_here_goes_before_and_it_is_said(capsys):
    Path("digits.yaml").write_text((ROOT / "experiments/digits.yaml").read_text())
    assert settings_file("digits") == Path("digits.yaml")
    assert "in this folder, digits.yaml" in capsys.readouterr().err
    Path("digits").write_text("dataset: Digits\n")
    assert settings_file("digits") == Path("digits")


def test_a_path_is_never_taken_for_a_name(capsys):
    with pytest.raises(UsageError, match=r"no file experiments/digits\.yaml; give digits"):
        settings_file("experiments/digits.yaml")
    assert settings_file("./other") == Path("other")
    assert capsys.readouterr().err == ""


def test_a_name_with_a_dot_in_it_is_a_name():
    name = "lottery-tickets-3.6"
    assert settings_file(name) == ROOT / f"experiments/{name}.yaml"


def test_an_unknown_name_is_refused_with_the_nearest(capsys):
    assert main(["run", "digit", "--dry-run"]) == 2
    assert "did you mean 'digits'? (allowed: all-strategies, " in capsys.readouterr().err
    assert main(["list", "experiments", "digit"]) == 2
    assert "did you mean 'digits'?" in capsys.readouterr().err
