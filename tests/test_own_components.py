"""Components from a user's own file: alone and within others, however an experiment is given."""

import json
import subprocess
import sys

import pytest
from ruamel.yaml import YAML

from prunebench import Experiment, leaderboard, sweep
from prunebench.benchmark.command_line import main
from prunebench.results import Store

FILE = """
from dataclasses import dataclass
from prunebench.datasets import Digits
from prunebench.metrics import Accuracy
from prunebench.models import Initialisation, LeNet300100
from prunebench.strategies import (
    Allocation, Curvature, FineTune, GaussNewton, GlobalMagnitude, L2, Linear, Uniform
)

@dataclass(frozen=True)
class Score(GlobalMagnitude):
    '''The largest first.'''
    power: float = 1.0
    def score(self, context):
        return {name: weight.abs().pow(self.power) for name, weight in context.weights.items()}

@dataclass(frozen=True)
class Share(Uniform):
    '''As Uniform.'''

@dataclass(frozen=True)
class Slope(GaussNewton):
    '''As GaussNewton.'''

@dataclass(frozen=True)
class Steps(Linear):
    '''As Linear.'''

@dataclass(frozen=True)
class Again(FineTune):
    '''As FineTune.'''

@dataclass(frozen=True)
class Small(L2):
    '''As L2.'''

@dataclass(frozen=True)
class Right(Accuracy):
    '''As Accuracy, by another name.'''
    definitions = {"right": "fraction of examples"}
    quality = {"right": "higher"}
    def measure(self, subject):
        return {"right": super().measure(subject)["top1"]}
    def by_class(self, subject):
        return {}

@dataclass(frozen=True)
class Figures(Digits):
    '''As Digits.'''

class Net(LeNet300100):
    '''As LeNet300100.'''
"""

OWN = {
    "score": {"strategy": "{file}:Score(power=2)"},
    "allocation within a strategy": {"strategy": "GlobalMagnitude(allocation={file}:Share)"},
    "allocation within an own score": {"strategy": "{file}:Score(allocation={file}:Share())"},
    "curvature within a strategy": {"strategy": "OBD(curvature={file}:Slope(batches=2))"},
    "schedule": {"schedule": "{file}:Steps", "rounds": 2},
    "recovery": {"recovery": "{file}:Again"},
    "recovery within a recovery": {
        "recovery": "LastRound(last={file}:Again, before=Rewind())",
    },
    "penalty within a recipe": {
        "finetuning": {"epochs": 1, "penalty": "{file}:Small(strength=0.1)"}
    },
    "metric": {"metrics": ["{file}:Right"]},
    "data set": {"dataset": "{file}:Figures"},
    "model": {"model": "{file}:Net"},
}
QUICK = {
    "dataset": "Digits",
    "model": "LeNetSmall",
    "strategy": "GlobalMagnitude",
    "compression": 2,
    "pretraining": {"epochs": 1},
    "finetuning": {"epochs": 1},
    "least_dense_quality": 0.0,
}


def filled(value, file):
    """Settings in which the path of the file stands."""
    return json.loads(json.dumps(value).replace("{file}", str(file)))


def written(folder):
    path = folder / "mine.py"
    path.write_text(f"{FILE}# {folder}\n")
    return path


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The file, and the folder in which two workers have run all of the experiments."""
    folder = tmp_path_factory.mktemp("own")
    file = written(folder)
    experiments = [Experiment(**filled(QUICK | own, file)) for own in OWN.values()]
    records = sweep(experiments, runs=folder / "runs", workers=2, progress=False)
    assert [record.error for record in records] == [None] * len(OWN)
    return file, folder / "runs"


@pytest.mark.slow
@pytest.mark.parametrize("own", OWN.values(), ids=OWN)
def test_own_components_run_in_workers_however_they_are_given(own, ran, tmp_path, capsys):
    file, runs = ran
    settings = filled(QUICK | own, file)
    experiment = Experiment(**settings)
    record = Store(runs).load(experiment.id)

    # By YAML and by the command line it is the same cell.
    config = tmp_path / "config.yaml"
    YAML().dump(settings, config)
    for given in ([str(config)], as_options(settings)):
        assert main(["run", *given, "--runs", str(runs), "--dry-run"]) == 0
        assert "1 cell, 1 finished" in capsys.readouterr().out

    # The record alone is enough to build the network, and no table has a path in it.
    assert "mine.py" not in leaderboard([record]).to_csv()
    output = tmp_path / "out.safetensors"
    exported = ["export", record.id, "--runs", str(runs), "-o", str(output)]
    assert main(exported) == 2
    assert "--trust" in capsys.readouterr().err
    assert main([*exported, "--trust"]) == 0


@pytest.mark.parametrize("own", OWN.values(), ids=OWN)
def test_what_is_in_a_file_counts_and_where_it_is_does_not(own, tmp_path):
    file = written(tmp_path)
    before = Experiment(**filled(QUICK | own, file)).id
    moved = file.rename(tmp_path / "moved.py")
    assert Experiment(**filled(QUICK | own, moved)).id == before
    moved.write_text(moved.read_text() + "# edited\n")
    assert Experiment(**filled(QUICK | own, moved)).id != before


def as_options(settings):
    """Settings as the command line takes them."""
    options = []
    for name, value in settings.items():
        parts = value.items() if isinstance(value, dict) else [("", value)]
        for part, each in parts:
            flag = f"--{name}{part and '.'}{part}".replace("_", "-")
            options += [flag, *map(str, each if isinstance(each, list) else [each])]
    return options


@pytest.mark.slow
def test_a_class_of_a_script_is_found_by_its_workers(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(f"""
{FILE}
from prunebench import Experiment, sweep
if __name__ == "__main__":
    strategy = GlobalMagnitude(allocation=Share(minimum=2))
    experiments = [Experiment(**{QUICK} | dict(strategy=strategy, seed=seed)) for seed in (0, 1)]
    records = sweep(experiments, runs="runs", workers=2, progress=False)
    print(*(record.status for record in records), records[0].experiment["strategy"])
""")
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(f"ok ok GlobalMagnitude(allocation={script}:Share(minimum=2))")


def test_a_class_that_a_file_has_from_another_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "helper_of_mine.py").write_text(FILE)
    path = tmp_path / "mine.py"
    path.write_text("from helper_of_mine import Score\n")
    options = ["run", "--dataset", "Digits", "--model", "LeNet300100", "--compression", "2"]
    assert main([*options, "--strategy", f"{path}:Score", "--dry-run"]) == 2
    said = capsys.readouterr().err
    assert f"{path} has Score from helper_of_mine: name the file that defines it" in said
    for strategy in (f"{tmp_path}/helper_of_mine.py:Score", "helper_of_mine:Score"):
        assert main([*options, "--strategy", strategy, "--dry-run"]) == 0
