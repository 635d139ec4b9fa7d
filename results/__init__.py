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
    from .files import remove_abandoned, write_atomically
    from .inference import inference_as_text, inference_table
    from .record import (
        Calibration,
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
    from .remote import Place, place_of
    from .statistics import Statistics, describe
    from .store import Store
    from .tables import as_text, write_csv

__all__ = [
    "COLUMNS",
    "Calibration",
    "Distribution",
    "Epoch",
    "Failure",
    "Inference",
    "Layer",
    "Measurements",
    "Outcome",
    "Place",
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
    "place_of",
    "remove_abandoned",
    "write_atomically",
    "write_csv",
]

__getattr__ = lazily(
    __name__,
    {
        ".aggregation": ("leaderboard",),
        ".columns": ("COLUMNS", "columns_as_markdown"),
        ".files": ("remove_abandoned", "write_atomically"),
        ".inference": ("inference_as_text", "inference_table"),
        ".record": (
            *(
                "Calibration",
                "Distribution",
                "Epoch",
                "Failure",
                "Inference",
                "Layer",
                "Measurements",
            ),
            *("Outcome", "QualityMetric", "Record", "Round"),
        ),
        ".remote": ("Place", "place_of"),
        ".statistics": ("Statistics", "describe"),
        ".store": ("Store",),
        ".tables": ("as_text", "write_csv"),
    },
)
