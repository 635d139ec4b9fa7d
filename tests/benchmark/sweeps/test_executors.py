"""Executors: every one runs the same jobs to the same records, whatever becomes of some of them."""

import multiprocessing
from dataclasses import replace

import pytest

from prunebench.benchmark.sweeps.executors import RayCluster, ThisProcess, WorkerProcesses
from prunebench.benchmark.sweeps.jobs import Job, job_of
from prunebench.errors import UsageError
from prunebench.results import Store

pytestmark = pytest.mark.slow

METHODS = '''
import os, time
from prunebench.strategies import GlobalMagnitude

class Killed(GlobalMagnitude):
    """Ends its process by force."""

    def score(self, context):
        os.kill(os.getpid(), 9)

class Sleeping(GlobalMagnitude):
    """Never comes to its end."""

    def score(self, context):
        time.sleep(3600)

class Raising(GlobalMagnitude):
    """Cannot score."""

    def score(self, context):
        raise ArithmeticError("no scores today")
'''


@pytest.fixture(params=["here", "processes", "ray"])
def executor(request):
    if request.param == "ray":
        request.getfixturevalue("ray_cluster")
        return RayCluster(retries=1)
    return ThisProcess() if request.param == "here" else WorkerProcesses(2)


@pytest.fixture
def methods(tmp_path):
    path = tmp_path / "methods.py"
    path.write_text(METHODS)
    return path


@pytest.fixture
def jobs(experiment, tmp_path):
    """Make jobs that take a moment each, one for each of the settings given."""

    def make(*settings, **options):
        quick = {
            "model": "Perceptron",
            "pretraining": {"epochs": 1},
            "measurements": ["Size"],
            "least_dense_quality": 0.0,
        }
        made = [experiment(**{**quick, **each}) for each in settings]
        return [Job(each, tmp_path / "runs", tmp_path, weights=True, **options) for each in made]

    return make


@pytest.fixture
def run(watcher):
    """Run jobs, and give their records by id."""
    return lambda executor, jobs: {each.id: each for each in executor.run(jobs, watcher)}


def results(records):
    return {each: record.result() for each, record in records.items()}


class TestEveryExecutor:
    def test_it_gives_the_records_of_cells_that_are_run_alone_and_keeps_them(
        self, executor, run, jobs, tmp_path
    ):
        made = jobs(*({"compression": 2.0 + n, "seed": seed} for n in range(2) for seed in (0, 1)))
        found = run(executor, made)
        alone = [replace(job, runs=tmp_path / job.experiment.id) for job in made]
        expected = {}
        for job in alone:
            expected |= run(ThisProcess(), [job])
        assert results(found) == results(expected)
        store = Store(tmp_path / "runs")
        assert {each: store.load(each).result() for each in store.ids()} == results(expected)
        for job in alone:
            name = job.experiment.id
            weights = Store(job.runs).weights_path(name).read_bytes()
            assert store.weights_path(name).read_bytes() == weights

    def test_dense_networks_are_trained_once_and_told_of_in_full(
        self, executor, run, jobs, tmp_path, watcher
    ):
        made = jobs(*({"compression": c, "seed": s} for c in (2.0, 3.0, 4.0) for s in (0, 1)))
        found = run(executor, made)
        assert len(list((tmp_path / "runs/pretrained").glob("????????????????.json"))) == 2
        seconds = {
            (each.experiment["seed"], each.timings["pretraining_seconds"])
            for each in found.values()
        }
        assert len(seconds) == 2
        assert sum(watcher.trained) == pytest.approx(2 * 1 + 6 * 1)

    def test_a_cell_that_fails_leaves_a_record_that_says_why(self, executor, run, jobs, methods):
        made = jobs({"strategy": f"{methods}:Raising"}, {"strategy": "Random"})
        found = run(executor, made)
        failed, finished = (found[job.experiment.id] for job in made)
        assert finished.status == "ok"
        assert (failed.error.type, failed.error.message) == ("ArithmeticError", "no scores today")
        assert Store(made[0].runs).load(failed.id) == failed

    def test_a_failure_is_told_of_where_a_finished_record_stays(self, executor, run, jobs, methods):
        (job,) = jobs({"strategy": f"{methods}:Raising"}, forced=True)
        (finished,) = run(ThisProcess(), jobs({"strategy": "Random"})).values()
        Store(job.runs).save(before := finished.model_copy(update={"id": job.experiment.id}))
        (found,) = run(executor, [job]).values()
        assert found.error.type == "ArithmeticError"
        assert Store(job.runs).load(job.experiment.id) == before

    def test_a_lost_worker_costs_only_its_own_cell_and_not_those_it_was_stacked_with(
        self, executor, run, jobs, methods
    ):
        if isinstance(executor, ThisProcess):
            pytest.skip("this process has no other to lose")
        strategies = ["Random", f"{methods}:Killed", "GlobalMagnitude"]
        made = jobs(*({"strategy": each} for each in strategies))
        found = run(replace(executor, stack=3), made)
        lost = found.pop(made[1].experiment.id)
        assert {record.status for record in found.values()} == {"ok"}
        assert len(found) == 2
        assert lost.error.type == "ChildProcessError"
        assert "SIGKILL" in lost.error.message or "lost in 2 of 2 tries" in lost.error.message

    def test_what_is_closed_runs_nothing_more(self, executor, jobs, methods, tmp_path, watcher):
        made = jobs({"strategy": "Random"}, {"strategy": f"{methods}:Sleeping"})
        records = executor.run(made, watcher)
        first = next(records)
        records.close()
        assert not multiprocessing.active_children()
        assert [first.id] == list(Store(tmp_path / "runs").ids()) == [made[0].experiment.id]

    def test_without_jobs_there_are_no_records(self, executor, run):
        assert run(executor, []) == {}


def test_a_job_is_the_same_in_another_process_unless_a_file_of_it_changed(experiment, tmp_path):
    job = Job(experiment(), tmp_path, tmp_path, weights=True, checkpoint_seconds=60.0)
    assert job_of(*job.plain()) == job
    _, *others = job.plain()
    with pytest.raises(UsageError, match="has changed since the sweep began"):
        job_of("0" * 64, *others)
