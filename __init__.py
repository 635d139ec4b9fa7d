"""prunebench: compare neural-network pruning methods fairly.

Every method goes through one loop, train → (prune → fine-tune) × K → measure, under the same
conditions; an experiment is data, running it gives a record, and everything that people look at
is made from records.

>>> import prunebench
>>> record = prunebench.run(prunebench.Experiment(
...     dataset="Digits", model="LeNetSmall", strategy="GlobalMagnitude", compression=8))
>>> prunebench.leaderboard("runs")

The names are loaded when they are first used, so that importing prunebench costs nothing.
"""

from typing import TYPE_CHECKING

from .lazy import lazily

if TYPE_CHECKING:
    from prunebench.benchmark.experiment import Experiment
    from prunebench.benchmark.grid import grid
    from prunebench.benchmark.recipe import FineTuning, Pretraining
    from prunebench.benchmark.studies.restoring import load
    from prunebench.benchmark.sweeps.sweep import run, sweep
    from prunebench.errors import UsageError
    from prunebench.results import Record, leaderboard

__version__ = "0.1.0"

__all__ = [
    "Experiment",
    "FineTuning",
    "Pretraining",
    "Record",
    "UsageError",
    "grid",
    "leaderboard",
    "load",
    "run",
    "sweep",
]


__getattr__ = lazily(
    __name__,
    {
        ".benchmark.experiment": ("Experiment",),
        ".benchmark.grid": ("grid",),
        ".benchmark.recipe": ("FineTuning", "Pretraining"),
        ".benchmark.studies.restoring": ("load",),
        ".benchmark.sweeps.sweep": ("run", "sweep"),
        ".errors": ("UsageError",),
        ".results": ("Record", "leaderboard"),
    },
)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
