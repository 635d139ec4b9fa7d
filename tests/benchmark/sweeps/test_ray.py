"""Cells on Ray: what is lost is begun again, and what comes of it are the same bits."""

import time
from dataclasses import replace
from threading import Thread

import pytest

import prunebench
from prunebench.benchmark.sweeps.executors import RayCluster, ThisProcess, WorkerProcesses
from prunebench.benchmark.sweeps.jobs import Job
from prunebench.results import Store

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_cluster")]

LOST = '''
import os, time
from pathlib import Path
from prunebench.strategies import GlobalMagnitude

FOLDER = Path({folder!r})

class Lost(GlobalMagnitude):
    """Does not come to its end in the second round of the first try."""

    def score(self, context):
        calls = len(list(FOLDER.glob("call-*")))
        (FOLDER / f"call-{{calls}}").write_text(str(list((FOLDER / "shared").rglob("*.pt"))))
        if calls == 1:
            {end}
        return super().score(context)
'''


@pytest.fixture
def lost(experiment, tmp_path):
    """Make the job of a cell that is lost as its second round begins, and then is not."""

    def make(end: str) -> Job:
        path = tmp_path / "lost.py"
        path.write_text(LOST.format(folder=str(tmp_path), end=end))
        made = experiment(
            model="Perceptron",
            strategy=f"{path}:Lost",
            rounds=2,
            pretraining={"epochs": 1},
            measurements=["Size"],
            least_dense_quality=0.0,
        )
        return Job(made, tmp_path / "runs", tmp_path, weights=True, checkpoint_seconds=0.0)

    return make


def run(executor, job, watcher):
    (record,) = executor.run([job], watcher)
    assert record.status == "ok", record.error
    return record.result()


def undisturbed(job, tmp_path, watcher):
    """The result of the same cell where nothing is lost, since it has been before."""
    alone = replace(job, runs=tmp_path / "undisturbed", checkpoint_seconds=None)
    return run(ThisProcess(), alone, watcher)


def test_a_cell_whose_worker_is_killed_goes_on_from_its_checkpoint_in_a_shared_folder(
    lost, tmp_path, watcher
):
    job = lost("os.kill(os.getpid(), 9)")
    found = run(RayCluster(retries=1, shared_folder=tmp_path / "shared"), job, watcher)
    assert found == undisturbed(job, tmp_path, watcher)
    checkpoints = [(tmp_path / f"call-{n}").read_text().count(".pt") for n in range(4)]
    assert checkpoints == [0, 1, 1, 1]  # that of the first round's training is there all the time
    assert not list((tmp_path / "shared").rglob("*.pt"))


def test_a_cell_whose_node_is_lost_is_begun_again_on_another(lost, tmp_path, watcher, ray_cluster):
    found_out = "(FOLDER / 'node').write_text(ray.get_runtime_context().get_node_id())"
    job = lost(f"import ray; {found_out}; time.sleep(600)")
    node = {"num_cpus": 3, "object_store_memory": 100_000_000}  # more than the first node has
    nodes = [ray_cluster.add_node(**node) for _ in range(2)]

    def remove() -> None:
        while not (tmp_path / "node").exists():
            time.sleep(0.05)
        time.sleep(0.5)  # until it is written
        lost_one = (tmp_path / "node").read_text()
        (removed,) = (each for each in nodes if each.node_id == lost_one)
        nodes.remove(removed)
        ray_cluster.remove_node(removed)

    Thread(target=remove, daemon=True).start()
    found = run(RayCluster(cpus=3, retries=1), job, watcher)
    (kept,) = nodes
    ray_cluster.remove_node(kept)
    assert found == undisturbed(job, tmp_path, watcher)
    assert len(list(tmp_path.glob("call-*"))) == 6  # two tries on Ray, of two rounds, and one here


def test_a_cell_that_takes_too_long_fails_and_no_other(experiment, tmp_path, hours):
    """Hour after hour passes once the other, which runs beside it, is finished."""
    path, records = tmp_path / "sleeping.py", f"{str(tmp_path / 'runs')!r}).glob('??/*.json')"
    path.write_text(
        "import time\n"
        "from pathlib import Path\n"
        "from prunebench.strategies import GlobalMagnitude\n"
        "class Sleeping(GlobalMagnitude):\n"
        "    '''Takes forever.'''\n"
        "    def score(self, context):\n"
        "        while True:\n"
        "            time.sleep(0.5)\n"
        f"            if list(Path({records}):\n"
        f"                with open({str(hours)!r}, 'a') as hours: hours.write('.')\n"
    )
    settings = {"model": "Perceptron", "measurements": ["Size"]}
    made = [experiment(strategy=each, **settings) for each in (f"{path}:Sleeping", "Random")]
    slow, quick = prunebench.sweep(
        made, runs=tmp_path / "runs", executor=RayCluster(timeout=1800), progress=False
    )
    assert (slow.error.type, quick.status) == ("TimeoutError", "ok")
    assert "not finished after 1800 seconds" in slow.error.message


def test_many_cells_have_the_same_records_one_by_one_on_two_workers_and_on_ray(tmp_path):
    experiments = prunebench.grid(
        dataset="Digits",
        model="Perceptron",
        strategy=["Random", "GlobalGradientMagnitude"],
        compression=[2, 3, 4, 6],
        seed=[0, 1, 2],
        pretraining={"epochs": 1},
        recovery="NoRecovery",
        measurements=["Size"],
        least_dense_quality=0,
    )
    found = []
    for executor in (None, WorkerProcesses(2), RayCluster()):
        runs = tmp_path / f"{len(found)}"
        records = prunebench.sweep(experiments, runs=runs, executor=executor, progress=False)
        assert [record.id for record in records] == [each.id for each in experiments]
        assert {record.status for record in records} <= {"ok", "collapsed"}
        found.append([record.result() for record in records])
        assert len(list(Store(runs).ids())) == 24
    assert found[0] == found[1] == found[2]
