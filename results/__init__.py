"""What comes out of a run: records, their store, and the leaderboard and plots made of them.

Everything here is a function of records and knows nothing of how they came about, nor of torch.
The plots are in :mod:`prunebench.results.plots` and its neighbours, which alone import matplotlib,
and the page that holds them in :mod:`prunebench.results.report`; neither is imported before it is
used. So are the modules of the names below, so that records are read without pandas.
"""

from typing import TYPE_CHECKING

from ..lazy import lazily

if TYPE_CHECKING:
    from .aggregation import leaderboard
    from .columns import COLUMNS, columns_as_markdown
    from .inference import inference_as_text, inference_table
    from .record import (
        Distribution,
        Epoch,
        Failure,
        Inference,
        Layer,
        Measurements,
        Outcome,
        QualityMetric,
        Record,
        Round,
    )
    from .statistics import Statistics, describe
    from .store import Store, remove_abandoned, write_atomically
    from .tables import as_text, write_csv

__all__ = [
    "COLUMNS",
    "Distribution",
    "Epoch",
    "Failure",
    "Inference",
    "Layer",
    "Measurements",
    "Outcome",
    "QualityMetric",
    "Record",
    "Round",
    "Statistics",
    "Store",
    "as_text",
    "columns_as_markdown",
    "describe",
    "inference_as_text",
    "inference_table",
    "leaderboard",
    "remove_abandoned",
    "write_atomically",
    "write_csv",
]

__getattr__ = lazily(
    __name__,
    {
        ".aggregation": ("leaderboard",),
        ".columns": ("COLUMNS", "columns_as_markdown"),
        ".inference": ("inference_as_text", "inference_table"),
        ".record": (
            *("Distribution", "Epoch", "Failure", "Inference", "Layer", "Measurements"),
            *("Outcome", "QualityMetric", "Record", "Round"),
        ),
        ".statistics": ("Statistics", "describe"),
        ".store": ("Store", "remove_abandoned", "write_atomically"),
        ".tables": ("as_text", "write_csv"),
    },
)
