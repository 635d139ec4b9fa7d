"""Two sweeps that are started by hand on one folder: nothing is lost, nothing replaced."""

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
