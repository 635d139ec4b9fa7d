"""What comes out of a run: records, their store, and the leaderboard and plots made of them.

Everything here is a function of records and knows nothing of how they came about, nor of torch.
The plots are in :mod:`prunebench.results.plots` and its neighbours, which alone import matplotlib,
and the page that holds them in :mod:`prunebench.results.report`; neither is imported before it is
used.
"""

from .columns import COLUMNS, columns_as_markdown
from .inference import inference_as_text, inference_table
from .leaderboard import leaderboard
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
