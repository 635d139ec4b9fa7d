"""Scheduling: what is told of tasks that others do."""

from prunebench.benchmark.sweeps.jobs import Job
from prunebench.benchmark.sweeps.scheduling import run_in
from prunebench.benchmark.sweeps.tasks import Ended


class Busy:
    """A pool of one place, in which something is trained whenever one looks at it."""

    places = 1

    def __init__(self):
        self.epochs, self.task = 0, None

    @property
    def busy(self):
        return self.task is not None

    @property
    def trained(self):
        self.epochs += 1
        return self.epochs

    def work(self, tasks, seconds):
        ended = [] if self.task is None else [Ended(self.task)]
        self.task = tasks.popleft() if tasks else None
        return ended

    def close(self):
        pass


def test_no_epoch_that_is_trained_goes_untold(experiment, tmp_path, watcher):
    pool = Busy()
    made = [experiment(strategy="Random", seed=seed) for seed in range(3)]
    jobs = [Job(each, tmp_path, tmp_path, weights=False) for each in made]
    first = 1
    assert list(run_in(pool, jobs, watcher, stack=1, timeout=None)) == []
    assert sum(watcher.trained) == pool.epochs - first
