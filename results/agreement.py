"""Whether a run that was repeated agrees with its record: to the bit, within a tolerance, or not.

On the same kind of processor, with the same versions and threads, the same experiment gives the
same bits, and nothing else agrees. Elsewhere the last bits of sums differ, which training magnifies
until the run is like one of another seed. So a number of quality may there differ by three standard
deviations of a difference of two seeds, and by half a percent where seeds differ less; what is left
of the network may differ by 2 % and its FLOPs by 10 %, since last bits decide which weights go; and
all that follows from the settings must be equal.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from .differences import Difference, differing
from .manifest import conditions
from .points import point_of
from .record import Record

Verdict = Literal["identical", "equal", "different"]

DEVIATIONS = 3 * math.sqrt(2)
"""How many standard deviations over seeds a number of quality may differ elsewhere."""

LEAST = 0.005
"""The part of a number of quality by which it may always differ elsewhere."""

_RELATIVE = {
    "nonzero": 0.02,
    "compression": 0.02,
    "effective_flops": 0.1,
    "theoretical_speedup": 0.1,
}
"""The part by which other numbers of the pruned network may differ elsewhere."""

_EXACT = ("parameters", "prunable_parameters", "flops")
NO_NUMBERS = ("stacked", "revision")
"""What two runs of one experiment may differ in with the same numbers: how and when they ran."""


@dataclass(frozen=True)
class Agreement:
    """What came of repeating a run.

    Attributes:
        verdict: ``identical``, ``equal`` (within the tolerance), or ``different``.
        first: the first number that differs; None where none does.
        beyond: the first that differs by more than its tolerance; where bits had to be equal that
            is the first.
        conditions: what else differs, in words: processor, versions, threads.
    """

    verdict: Verdict
    first: Difference | None = None
    beyond: Difference | None = None
    conditions: tuple[str, ...] = ()


class Tolerances:
    """How far numbers of quality may be from those recorded, from how far seeds are apart.

    Variances are pooled over all points with the same data set, network, settings and target.

    Args:
        records: all that are published together.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        points: dict[tuple[Any, ...], list[Record]] = defaultdict(list)
        for record in records:
            if record.finished:
                points[point_of(record.experiment)].append(record)
        self._variances: dict[tuple[Any, ...], list[float]] = defaultdict(list)
        for runs in points.values():
            for where, name in _qualities(runs[0]):
                values = [v for run in runs if (v := getattr(run, where).get(name)) is not None]
                if len(values) > 1:
                    place = (*_target(runs[0]), where, name)
                    self._variances[place].append(statistics.variance(values))

    def of(self, record: Record, where: str, name: str) -> float:
        """The tolerance of a number of quality in a record's part ``dense`` or ``final``."""
        variances = self._variances.get((*_target(record), where, name), [0.0])
        recorded = getattr(record, where).get(name) or 0.0
        return max(DEVIATIONS * math.sqrt(statistics.mean(variances)), LEAST * abs(recorded))


def agreement(recorded: Record, found: Record, tolerances: Tolerances) -> Agreement:
    """Hold a run that was repeated against its record.

    A failure agrees with one of the same name: its text may tell of the machine.

    Args:
        recorded: the record.
        found: what came of it now.
        tolerances: how far it may be off where bits may differ.
    """
    if recorded.error is not None or found.error is not None:
        if recorded.error and found.error and recorded.error.type == found.error.type:
            return Agreement("identical")
        failed = Difference("status", _ended(recorded), _ended(found))
        return Agreement("different", failed, failed)
    first = next(differences(recorded, found), None)
    if first is None:
        return Agreement("identical")
    differing = other_conditions(recorded, found)
    beyond = next(_beyond(recorded, found, tolerances), None) if differing else first
    return Agreement("different" if beyond else "equal", first, beyond, tuple(differing))


def _ended(record: Record) -> str:
    """How a run ended, in words."""
    error = record.error
    return record.status if error is None else f"failed ({error.type}: {error.message})"


def differences(recorded: Record, found: Record) -> Iterator[Difference]:
    """All that differs between two runs of an experiment, in the order of the record.

    Times are not compared, and digests where both records have them.
    """
    first, second = recorded.result(), found.result()
    for name in ("id", "experiment", *NO_NUMBERS):
        first.pop(name), second.pop(name)
    yield from differing(first, second)
    for name in recorded.digests.keys() & found.digests.keys():
        yield from differing(recorded.digests[name], found.digests[name], f"digests.{name}")


def other_conditions(recorded: Record, found: Record) -> list[str]:
    """What may make the last bits differ, in words; nothing where they have to be equal."""
    then, now = conditions(recorded), conditions(found)
    differing = [
        f"{name} {then.get(name, 'not recorded')} then and {now.get(name, 'none')} now"
        for name in dict.fromkeys([*then, *now])
        if then.get(name) != now.get(name)
    ]
    if recorded.stacked != found.stacked:
        differing.append(
            f"trained at once with {recorded.stacked - 1} others then and {found.stacked - 1} now"
        )
    return differing


def _beyond(recorded: Record, found: Record, tolerances: Tolerances) -> Iterator[Difference]:
    """What differs by more than it may on other hardware."""
    for place, first, second, tolerance in _compared(recorded, found, tolerances):
        numbers = isinstance(first, int | float) and isinstance(second, int | float)
        near = numbers and abs(first - second) <= tolerance
        if first != second and not near:
            yield Difference(place, first, second)


def _compared(
    recorded: Record, found: Record, tolerances: Tolerances
) -> Iterator[tuple[str, Any, Any, float]]:
    """What is compared on other hardware: its place, both values, and the tolerance."""
    yield "status", recorded.status, found.status, 0
    yield "layers", _shapes(recorded), _shapes(found), 0
    for where in ("dense", "final"):
        first, second = getattr(recorded, where), getattr(found, where)
        for name in _EXACT:
            yield f"{where}.{name}", first.get(name), second.get(name), 0
        for name, part in _RELATIVE.items():
            tolerance = part * abs(first.get(name) or 0)
            yield f"{where}.{name}", first.get(name), second.get(name), tolerance
    for where, name in _qualities(recorded):
        first, second = (getattr(each, where).get(name) for each in (recorded, found))
        yield f"{where}.{name}", first, second, tolerances.of(recorded, where, name)


def _shapes(record: Record) -> list[tuple[str, tuple[int, ...]]]:
    return [(each.name, each.shape) for each in record.layers]


def _qualities(record: Record) -> list[tuple[str, str]]:
    return [(where, name) for where in ("dense", "final") for name in record.quality]


def _target(record: Record) -> tuple[Any, ...]:
    point = point_of(record.experiment)
    return point.key, point.target
