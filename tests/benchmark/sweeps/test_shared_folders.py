"""Two sweeps that are started by hand on one folder: nothing is lost, nothing replaced."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import prunebench
from prunebench.benchmark.cell.loop import run_together
from prunebench.benchmark.sweeps.jobs import Job, run_stack
from prunebench.results import Store

COMMAND = ["run", "--dataset", "Digits", "--model", "LeNetSmall", "--measurements", "Size",
           "--pretraining.epochs", "1", "--finetuning.epochs", "1",
           "--strategy", "Random", "GlobalMagnitude", "--compression", "2", "4"]  # fmt: skip


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


@pytest.mark.slow
def test_two_sweeps_on_one_folder_lose_and_replace_no_record(tmp_path):
    runs = tmp_path / "runs"
    sweeps = [
        subprocess.Popen(
            [sys.executable, "-m", "prunebench", *COMMAND, "--runs", runs],
            cwd=tmp_path, env={**os.environ}, stderr=subprocess.PIPE, text=True,
            stdout=subprocess.DEVNULL,
        )
        for _ in range(2)
    ]  # fmt: skip
    first: dict[Path, tuple[int, int]] = {}
    while any(each.poll() is None for each in sweeps):
        for path in runs.glob("??/*.json"):
            stat = path.stat()
            state = stat.st_ino, stat.st_mtime_ns
            assert first.setdefault(path, state) == state, "it has been replaced"
        time.sleep(0.01)
    said = [each.communicate()[1] for each in sweeps]
    assert [each.returncode for each in sweeps] == [0, 0], said
    assert any("another sweep keeps its records in" in each for each in said)
    assert len(first) == 4
    alone = prunebench.sweep(
        prunebench.grid(
            dataset="Digits", model="LeNetSmall", measurements=["Size"],
            pretraining={"epochs": 1}, finetuning={"epochs": 1},
            strategy=["Random", "GlobalMagnitude"], compression=[2, 4],
        ),
        runs=tmp_path / "alone", progress=False,
    )  # fmt: skip
    for record in alone:
        assert Store(runs).load(record.id).result() == record.result()
