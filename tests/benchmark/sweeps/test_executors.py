"""Executors: every one runs the same jobs to the same records, and ends when it is closed."""

import multiprocessing
from pathlib import Path

import pytest

from prunebench.benchmark.cell.progress import SweepBar
from prunebench.benchmark.sweeps.executors import ThisProcess, WorkerProcesses
from prunebench.benchmark.sweeps.jobs import Job, job_of
from prunebench.errors import UsageError
from prunebench.results import Store

EXECUTORS = [ThisProcess(), WorkerProcesses(2)]


@pytest.fixture
def bar():
    return SweepBar(cells=3, finished=0, epochs=12, hidden=True)


def jobs_in(folder: Path, experiment) -> list[Job]:
    return [Job(experiment(seed=0, compression=n), folder, folder, False) for n in (2, 4, 8)]


@pytest.mark.slow
def test_all_run_the_same_jobs_to_the_same_records(experiment, tmp_path, bar):
    found = []
    for number, executor in enumerate(EXECUTORS):
        jobs = jobs_in(tmp_path / str(number), experiment)
        records = {record.id: record.result() for record in executor.run(jobs, bar)}
        assert records.keys() == {job.experiment.id for job in jobs}
        store = Store(tmp_path / str(number))
        assert {each: store.load(each).result() for each in store.ids()} == records
        found.append(records)
    assert found[0] == found[1]


@pytest.mark.slow
@pytest.mark.parametrize("executor", EXECUTORS, ids=lambda each: type(each).__name__)
def test_what_is_closed_runs_nothing_more(executor, experiment, tmp_path, bar):
    records = executor.run(jobs_in(tmp_path, experiment), bar)
    first = next(records)
    records.close()
    assert not multiprocessing.active_children()
    assert first.id in Store(tmp_path).ids()
    assert len(list(Store(tmp_path).ids())) < 3


def test_a_job_is_the_same_in_another_process_unless_a_file_of_it_changed(experiment, tmp_path):
    job = Job(experiment(), tmp_path, tmp_path, weights=True, checkpoint_seconds=60.0)
    assert job_of(*job.plain()) == job
    _, *others = job.plain()
    with pytest.raises(UsageError, match="has changed since the sweep began"):
        job_of("0" * 64, *others)
