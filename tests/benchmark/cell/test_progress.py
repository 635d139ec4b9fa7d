"""The progress of a sweep: what was promised is what is trained, however it is trained."""

import re
from pathlib import Path

import pytest

import prunebench
from prunebench.benchmark.cell.checkpoint import Checkpoint
from prunebench.benchmark.cell.epochs import Purpose, Training
from prunebench.benchmark.cell.pace import Pace
from prunebench.benchmark.cell.progress import listen
from prunebench.benchmark.cell.training import train
from prunebench.benchmark.recipe import Recipe
from prunebench.benchmark.sweeps.executors import ThisProcess, WorkerProcesses
from prunebench.benchmark.sweeps.jobs import Job
from prunebench.benchmark.sweeps.sweep import epochs_to_train
from prunebench.models import LeNetSmall


class Notes:
    """What a sweep has told."""

    def __init__(self) -> None:
        self.trained: list[float] = []
        self.texts: list[str] = []

    def train(self, epochs: float) -> None:
        self.trained.append(epochs)

    def describe(self, text: str) -> None:
        self.texts.append(text)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"rounds": 2},
        {"recovery": "NoRecovery"},
        {"recovery": "Rewind(epoch=2)", "rounds": 2},
        {"recovery": "RewindLearningRate(epoch=1)", "rounds": 2},
        {"timing": "DuringTraining", "rounds": 3},
        {"start_epoch": 1},
    ],
    ids=str,
)
def test_a_training_tells_of_as_many_epochs_as_were_expected(experiment, tmp_path, settings):
    jobs = [
        Job(
            experiment(compression=compression, **settings),
            tmp_path,
            Path(),
            weights=False,
            forced=True,
        )
        for compression in (2.0, 4.0)
    ]
    experiments = [job.experiment for job in jobs]
    for _ in range(2):  # the second time the dense networks are there
        expected = epochs_to_train(experiments, tmp_path)
        watcher = Notes()
        list(ThisProcess().run(jobs, watcher))
        assert sum(watcher.trained) == pytest.approx(expected)
        assert len(watcher.trained) >= 10 * expected  # within epochs too
        assert watcher.texts == ["GlobalMagnitude"] * 2


@pytest.mark.slow
def test_workers_tell_of_their_epochs(experiment, tmp_path):
    jobs = [Job(experiment(seed=seed), tmp_path, Path(), weights=False) for seed in (0, 1)]
    watcher = Notes()
    list(WorkerProcesses(workers=2).run(jobs, watcher))
    assert sum(watcher.trained) == pytest.approx(8)
    assert watcher.texts[0] == "dense networks to train: 2"
    assert watcher.texts[-1] == "dense networks trained"


@pytest.mark.slow
def test_a_training_that_was_finished_before_counts_in_full(digits, tmp_path):
    told: list[float] = []
    for expected in (2, 4):
        listen(told.append)
        checkpoint = Checkpoint(tmp_path / "checkpoint.pt", 0)
        train(
            Training(
                LeNetSmall(), digits, Recipe(epochs=2), Purpose(0, "test"), checkpoint=checkpoint
            )
        )
        listen(None)
        assert sum(told) == pytest.approx(expected)
    assert told[-1] == 2


def test_cells_that_do_not_train_are_not_taken_for_as_long_as_the_epochs_before_them():
    """Eighteen epochs of 75 seconds, then sixty cells of 10."""
    pace = Pace()
    assert pace.left(18, 60) is None
    for epochs in range(1, 19):
        pace.note(75 * epochs, epochs, 0)
    assert pace.left(0, 60) == pytest.approx(60 * 75)  # none has ended: as long as an epoch
    for cells in range(1, 4):
        pace.note(75 * 18 + 10 * cells, 18, cells)
    assert pace.left(0, 57) == pytest.approx(57 * 10, rel=0.5)
    for cells in range(4, 31):
        pace.note(75 * 18 + 10 * cells, 18, cells)
    assert pace.left(0, 30) == pytest.approx(30 * 10, rel=0.01)


def test_where_all_cells_are_alike_the_rest_takes_its_share():
    pace = Pace()
    for cells in range(1, 11):
        pace.note(7 * cells, 2 * cells, cells)
    assert pace.left(20, 10) == pytest.approx(70, rel=0.01)


@pytest.mark.parametrize(("slower", "faster"), [((4, 1), (5, 9)), ((1, 4), (9, 5))])
def test_neither_epochs_nor_cells_take_less_than_nothing(slower, faster):
    """What took longer although more was done: the other of the two explains it alone."""
    pace = Pace()
    pace.note(100, *slower)
    pace.note(101, *faster)
    assert pace.left(1, 0) >= 0
    assert pace.left(0, 1) >= 0


@pytest.mark.slow
def test_the_bar_ends_full_with_all_cells(experiment, tmp_path, capsys):
    experiments = [experiment(compression=compression) for compression in (2.0, 4.0)]
    prunebench.sweep(experiments[:1], runs=tmp_path)
    assert re.search(r"100%\|█+\| \d\d:\d\d<00:00, 1/1 cells", last_line(capsys))
    prunebench.sweep(experiments, runs=tmp_path)
    assert re.search(r"100%\|█+\| \d\d:\d\d<00:00, 2/2 cells", last_line(capsys))
    failing = experiment(compression=2.0, least_dense_quality=1.0)
    prunebench.sweep([experiments[0], failing], runs=tmp_path)
    assert re.search(r"100%\|█+\| \d\d:\d\d<00:00, 2/2 cells, 1 failed", last_line(capsys))


def last_line(capsys) -> str:
    return capsys.readouterr().err.rstrip().rpartition("\r")[2]
