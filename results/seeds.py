"""The table of single runs: what every seed of a leaderboard's rows came to."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from .naming import digest
from .points import Point, point_of, point_of_row
from .record import Outcome
from .targets import TARGET_COLUMNS, TARGETS

_MEASURED = {
    "compression": "Achieved compression of the whole network: parameters per nonzero one.",
    "prunable_sparsity": "Achieved fraction of zeros among the prunable weights.",
    "nonzero": "Parameters of the pruned network that are not zero.",
    "effective_flops": "Multiply–adds of the pruned network whose weight is not zero.",
    "theoretical_speedup": "FLOPs of the unpruned network per effective FLOP.",
}

SEED_COLUMNS: dict[str, str] = {
    "dataset": "As in the leaderboard.",
    "model": "As in the leaderboard.",
    "strategy": "As in the leaderboard.",
    "strategy_source": "As in the leaderboard.",
    **dict.fromkeys(TARGET_COLUMNS, "As in the leaderboard."),
    "settings": "As in the leaderboard.",
    "seed": "The seed.",
    "id": "Identity of the experiment, by which its record is found.",
    "status": "`ok`, `collapsed` (a layer lost all of its weights) or `failed`.",
    **_MEASURED,
    "<quality>": "The quality metric on the test set after the last round.",
    "<quality>_dense": "The same of the unpruned network.",
}
"""Column → definition, in the order of the table."""


def single_seeds(records: Iterable[Outcome], rows: pd.DataFrame | None = None) -> pd.DataFrame:
    """A row for each record, in the order of the leaderboard and then of the seeds.

    Given some rows of the leaderboard, in any order, those records that are behind them, in theirs.
    """
    ordered = sorted(records, key=lambda each: (point_of(each.experiment), _seed(each)))
    if rows is not None:
        behind: dict[Point, list[Outcome]] = {point_of_row(row): [] for _, row in rows.iterrows()}
        for each in ordered:
            behind.get(point_of(each.experiment).as_shown(), []).append(each)
        ordered = [each for records in behind.values() for each in records]
    qualities = list(dict.fromkeys(name for record in ordered for name in record.quality))
    columns = [name for name in SEED_COLUMNS if "<quality>" not in name]
    columns += [each for name in qualities for each in (name, f"{name}_dense")]
    return pd.DataFrame([_row(record) for record in ordered], columns=columns)


def _row(record: Outcome) -> dict[str, object]:
    point = point_of(record.experiment)
    return {
        "dataset": point.key.dataset,
        "model": point.key.model,
        **point.method._asdict(),
        **{kind.column: record.experiment.get(kind.name) for kind in TARGETS},
        "settings": point.key.settings,
        "seed": _seed(record),
        "id": digest(record.id),
        "status": record.status,
        **{name: record.final.get(name) for name in (*_MEASURED, *record.quality)},
        **{f"{name}_dense": record.dense.get(name) for name in record.quality},
    }


def _seed(record: Outcome) -> int:
    return int(record.experiment["seed"])
