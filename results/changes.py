"""Changes of prunebench that moved results: which records were made before, and are stale.

An experiment's id says what is run and not by which version of the code, so that a change which
gives other numbers has to be named here. A record has the number of changes that there were when
it was made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .record import Record


@dataclass(frozen=True)
class Change:
    """A change after which some experiments give other numbers.

    Attributes:
        summary: what is different now.
        concerns: whether a record that was made before would be another one today.
    """

    summary: str
    concerns: Callable[[Record], bool]


def _clips(record: Record) -> bool:
    recipes = (record.experiment["pretraining"], record.experiment["finetuning"])
    return any(recipe.get("gradient_clipping") is not None for recipe in recipes)


def _multiplies_by_parts(record: Record) -> bool:
    """Whether modules multiply by parts of weights, by those of others, or by tied ones."""
    names = ("in_proj_weight", "relative_position_bias_table")
    return any(
        layer.name.endswith(names) or layer.weight_class == "embeddings and softmax"
        for layer in record.layers
    )


def _has_grown(record: Record) -> bool:
    return record.dense.get("parameters") != record.final.get("parameters")


CHANGES: tuple[Change, ...] = (
    Change(
        "records have the epochs of trainings and the distributions of weights",
        lambda record: not record.distributions,
    ),
    Change("gradients of pruned weights do not count where gradients are clipped", _clips),
    Change("multiply–adds count for the very weight that each product uses", _multiplies_by_parts),
    Change("the compression of a network that has grown is relative to the dense one", _has_grown),
)
"""All changes so far, the oldest first; new ones are added at the end."""


def outdated_by(record: Record) -> list[Change]:
    """The changes since a record was made that concern it; none of a run that failed."""
    if not record.finished:
        return []
    return [change for change in CHANGES[record.revision :] if change.concerns(record)]


def staleness(records: Iterable[Record]) -> list[str]:
    """A sentence for each change that makes some of ``records`` stale."""
    counts = Counter(change.summary for record in records for change in outdated_by(record))
    return [f"made before a change: {summary} ({n} records)" for summary, n in counts.items()]
