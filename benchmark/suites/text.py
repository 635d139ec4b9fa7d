"""A suite in words: its tasks, budgets and methods."""

from __future__ import annotations

from typing import Any

from ...results.text_table import text_table
from .suite import Suite, Task

_HEADERS = ("task", "data set", "network", "epochs", "operating points", "mark")


def suite_as_text(suite: Suite, digest: str | None) -> str:
    """What is run in a suite.

    Args:
        suite: the suite.
        digest: the SHA-256 of the file if it is released.
    """
    state = f"released, sha256:{digest}" if digest else "not released: it may still be changed"
    rows = [_row(name, task) for name, task in suite.tasks.items()]
    points = sum(len(task.compression) for task in suite.tasks.values())
    return "\n".join(
        [
            f"{suite.name} ({state})",
            "",
            text_table(rows, _HEADERS),
            "",
            "epochs: of pretraining + after pruning; mark: what dense networks must reach",
            f"seeds: {', '.join(map(str, suite.seeds))}",
            f"cells of a method: {points * len(suite.seeds)}",
            f"methods: {', '.join(suite.strategies)}, and dense networks as small as pruned ones",
        ]
    )


def _row(name: str, task: Task) -> tuple[Any, ...]:
    cell = task.cells("Random", (0,))[0]
    return (
        name,
        cell.dataset,
        cell.model,
        f"{cell.pretraining.epochs} + {cell.finetuning.epochs * cell.rounds}",
        " ".join(f"{each:g}×" for each in task.compression),
        f"{cell.least_dense_quality:g}",
    )
