"""What other processes do in which order: train dense networks, then run what begins with them."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence

from ...results import Record
from ..cell.progress import Watcher
from ..cell.record import failed_record
from .jobs import Job, Stack, run_stack, stacks
from .tasks import Ended, Pool, Task

Records = Generator[Record, None, None]
"""Records as they are made; closing it ends what is being run."""

_LISTENING_SECONDS = 0.5


def run_in(
    pool: Pool, jobs: Sequence[Job], watcher: Watcher, stack: int, timeout: float | None
) -> Records:
    """Run jobs in a pool, which is closed in the end.

    The dense networks are trained first, each once, and a job starts as soon as its own is there.

    Args:
        pool: where.
        jobs: what to run.
        watcher: is told what is going on.
        stack: how many networks of one shape may train together.
        timeout: seconds after which a job is stopped; a stack has as many times that as it has
            jobs.
    """
    waiting: dict[str, list[Job]] = {}
    for job in jobs:
        waiting.setdefault(job.experiment.pretraining_id, []).append(job)
    tasks = deque(Task(_pretrain, (same[0],)) for same in waiting.values())
    # No place is to be idle because others have all there is in their stacks.
    most = min(stack, -(-len(jobs) // pool.places))
    try:
        watcher.describe(f"dense networks to train: {len(waiting)}")
        for ended in _ended(pool, tasks, watcher):
            ran = ended.task.jobs
            if ended.task.function is run_stack:
                if ended.error is None:
                    yield from ended.records
                elif len(ran) == 1:
                    yield _failure(ran[0], ended.error)
                else:  # one of them may have done it: each has a process to itself now
                    tasks.extend(_tasks(ran, 1, timeout))
                continue
            # A network that could not be trained fails again, on record, in each job.
            same = waiting.pop(ran[0].experiment.pretraining_id)
            tasks.extend(_tasks(same, most, timeout))
            left = len(waiting)
            watcher.describe(
                f"dense networks to train: {left}" if left else "dense networks trained"
            )
    finally:
        pool.close()


def _tasks(jobs: Sequence[Job], most: int, timeout: float | None) -> Iterator[Task]:
    for stack in stacks(jobs, most):
        seconds = None if timeout is None else timeout * len(stack)
        yield Task(run_stack, stack, seconds)


def _pretrain(jobs: Stack) -> Sequence[Record]:
    for job in jobs:
        job.pretrain()
    return ()


def _ended(pool: Pool, tasks: deque[Task], watcher: Watcher) -> Iterator[Ended]:
    """Each task as it ends, until none is left; and tell meanwhile how much is trained."""
    told = pool.trained
    while tasks or pool.busy:
        done = pool.work(tasks, _LISTENING_SECONDS)
        before, told = told, pool.trained
        watcher.train(told - before)
        yield from done


def _failure(job: Job, error: Exception) -> Record:
    """The record, which is saved, of a job whose process did not live to leave one."""
    failure = failed_record(job.experiment, error)
    job.store.save(failure)
    return failure
