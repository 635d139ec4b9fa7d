"""Two sweeps that are started by hand on one folder: nothing is lost, nothing replaced."""

import subprocess
import sys

import pytest

from prunebench.benchmark.cell.loop import run_together
from prunebench.benchmark.sweeps.jobs import Job, run_stack
from prunebench.results import Store


def test_what_another_sweep_has_finished_meanwhile_is_not_run_again(experiment, tmp_path, capfd):
    made = experiment(pretraining={"epochs": 1}, measurements=["Size"])
    job = Job(made, tmp_path, tmp_path, weights=True)
    begun = job.cell()  # which is to train first
    (record,) = run_stack((job,))
    path = Store(tmp_path).record_path(made.id)
    before = path.read_bytes()
    assert run_stack((job,)) == [record]
    run_together([begun], 1)  # which ends later
    assert path.read_bytes() == before
    assert capfd.readouterr().err.count("another sweep keeps its records in") == 1


MEETING = '''
import os, time
from dataclasses import dataclass
from pathlib import Path
from prunebench.strategies import GlobalMagnitude

FOLDER = Path({folder!r})
RECORDS = "runs/[0-9a-f][0-9a-f]/*.json"

@dataclass(frozen=True)
class Meeting(GlobalMagnitude):
    """Waits for another sweep: in the first cell to be in it too, in the second for its result."""

    number: int = 0  # cells of one method have one scoring in common

    def score(self, context):
        mine = FOLDER / f"sweep-{{os.getpid()}}"
        second = mine.exists()
        mine.touch()
        while len(list(FOLDER.glob(RECORDS if second else "sweep-*"))) < 2:
            time.sleep(0.01)
        return super().score(context)
'''

SWEEP = """
import sys
import prunebench

experiments = prunebench.grid(
    dataset="Digits", model="Perceptron", recovery="NoRecovery", compression=2.0,
    strategy=[f"meeting.py:Meeting(number={each})" for each in sys.argv[1:]],
    pretraining={"epochs": 1}, measurements=["Size"], least_dense_quality=0,
)
for record in prunebench.sweep(experiments, progress=False):
    print(record.id, record.timings)
"""


@pytest.mark.slow
def test_two_sweeps_started_by_hand_say_that_they_share_a_folder_and_keep_what_is_there(tmp_path):
    (tmp_path / "meeting.py").write_text(MEETING.format(folder=str(tmp_path)))
    sweeps = [
        subprocess.Popen(
            [sys.executable, "-c", SWEEP, *numbers],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for numbers in (["1", "2"], ["2", "1"])
    ]
    printed, said = zip(*(sweep.communicate(timeout=900) for sweep in sweeps), strict=True)
    assert [sweep.returncode for sweep in sweeps] == [0, 0], said
    records = {record.id: record for record in Store(tmp_path / "runs").records()}
    assert [record.status for record in records.values()] == ["ok", "ok"]
    expected = sorted(f"{record.id} {record.timings}" for record in records.values())
    for out, error in zip(printed, said, strict=True):
        assert sorted(out.splitlines()) == expected  # the times of the sweep that was first
        assert error.count("another sweep keeps its records in runs too") == 1
