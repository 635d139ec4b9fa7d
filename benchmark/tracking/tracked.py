"""What a tracker is told of a cell, and what a tracker is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from ...errors import message_of, tell
from ...results import Place, Record, Store
from ...results.brief import title

Numbers = Mapping[str, float]


class Point(NamedTuple):
    """What is known at a step of a curve."""

    step: int
    numbers: Numbers


@dataclass(frozen=True)
class Tracked:
    """A cell, as trackers take it.

    Attributes:
        id: of its record.
        name: what it is, in words.
        comparison: the identity of all settings but those that rows of a table differ in.
        status: ``ok``, ``collapsed`` or ``failed``.
        settings: of the experiment, those within others as ``finetuning.epochs``.
        epochs: the loss and the quality on the validation split, of all its trainings one after
            the other; the first step is 1.
        rounds: what is kept, and quality on the test split before and after recovery, by round.
        final: the numbers of the end, those of the dense network, and times.
        record: the file of the record.
    """

    id: str
    name: str
    comparison: str
    status: str
    settings: Mapping[str, Any]
    epochs: Sequence[Point]
    rounds: Sequence[Point]
    final: Numbers
    record: Place


class Tracker(Protocol):
    """Something that keeps runs."""

    def track(self, cell: Tracked) -> None:
        """Keep a run of its own for a cell, from its first point to its last."""


def track(record: Record, store: Store, trackers: Sequence[Tracker]) -> None:
    """Tell trackers of a record that has been saved; one that fails costs nothing but its run."""
    for tracker in trackers:
        try:
            tracker.track(tracked(record, store))
        except Exception as error:  # whatever a tracker's server or its package raises
            tell(
                f"{record.id} is not tracked by {type(tracker).__name__}: "
                f"{type(error).__name__}: {message_of(error)}"
            )


def tracked(record: Record, store: Store) -> Tracked:
    """What trackers are told of a record in a store."""
    epochs = [
        {"loss": epoch.loss, **_within("validation", epoch.validation)} for epoch in record.history
    ]
    rounds = {
        each.round: {
            "round/density": each.density,
            "round/kept": each.kept,
            **_within("round/before", each.before),
            **_within("round/after", each.after),
        }
        for each in record.rounds
    }
    final = {
        **_within("final", record.final),
        **_within("dense", record.dense),
        **_within("times", record.timings),
    }
    path = store.record_path if record.finished else store.failure_path
    return Tracked(
        id=record.id,
        name=title(record.experiment),
        comparison=str(record.experiment["comparison"]),
        status=record.status,
        settings=dict(_flat(record.experiment)),
        epochs=[Point(step, _finite(each)) for step, each in enumerate(epochs, start=1)],
        rounds=[Point(number, _finite(each)) for number, each in rounds.items()],
        final=_finite(final),
        record=path(record.id).absolute(),
    )


def _within(group: str, numbers: Mapping[str, object]) -> dict[str, object]:
    return {f"{group}/{name}": number for name, number in numbers.items()}


def _finite(numbers: Mapping[str, object]) -> dict[str, float]:
    """Those that are numbers: what was not finite is None in a record."""
    return {name: float(n) for name, n in numbers.items() if isinstance(n, (int, float))}


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Settings without any within others; lists as texts, and what is None left out."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif value is not None:
            plain = value if isinstance(value, (bool, int, float, str)) else str(value)
            yield f"{prefix}{name}", plain
