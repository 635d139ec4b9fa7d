"""Finding how far a network can be pruned: by bisection, from few cells that are records like all.

The targets that are tried are those of a grid of equal ratios, so that a search ends when a target
that held and the next one that did not are known. What is tried next follows from the records there
are, of whichever sweep, so that a search that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from ...errors import UsageError
from ...quality import titled
from ...results import Outcome, Store, place_of
from ...results.naming import shown
from ...results.targets import TARGET_NAMES, TargetKind, given
from ..cell.record import described
from ..experiment import Experiment
from ..sweeps.checking import check
from ..sweeps.sweep import data_folder, sweep


@dataclass(frozen=True)
class Aim:
    """What is to be found.

    Attributes:
        kind: the kind of target.
        loss: points of the task's primary quality that may be lost, as tables have them: of an
            accuracy, percent.
        highest: the largest target that is tried, as a ratio: with 64, a sixty-fourth is left.
        resolution: the ratio of one target that is tried to the one before.
    """

    kind: TargetKind
    loss: float
    highest: float = 256.0
    resolution: float = 1.1

    def values(self) -> list[float]:
        """The targets that may be tried, by how far they prune."""
        steps = math.floor(math.log(self.highest) / math.log(self.resolution) + 1e-9)
        ratios = [self.resolution**step for step in range(1, steps + 1)]
        values = [float(f"{1 - 1 / r if self.kind.is_fraction else r:.4g}") for r in ratios]
        return [value for value in values if not (self.kind.is_fraction and value == 1)]


def find(
    experiments: Sequence[Experiment], aim: Aim, *, data: str | Path | None = None, **options: Any
) -> pd.DataFrame:
    """The highest target at which no more than so many points are lost, for each experiment.

    All searches go on side by side, a cell of each in every round, so that workers have something
    to do.

    Args:
        experiments: say all but the target; those that differ in nothing else count once.
        aim: what is to be found.
        data: the folder of data sets, as for a sweep.
        **options: what :func:`prunebench.sweep` takes beside them.

    Returns:
        For each experiment the highest target that held and the lowest above it that did not, each
        with the points that were lost; empty where there is none.

    Raises:
        UsageError: as a sweep does, or the aim leaves nothing to try.
    """
    if not aim.values():
        raise UsageError(
            f"highest: {aim.highest:g} is not allowed: no target is as low with a resolution of "
            f"{aim.resolution:g}"
        )
    searches = {_key(described(each)): _Search(each, aim) for each in experiments}
    runs = place_of(options.get("runs", "runs"))
    if runs.is_dir():
        # What failed before is tried again, as in any sweep.
        _learn(searches, (each for each in Store(runs).outcomes() if each.finished), aim)
    while probes := [probe for each in searches.values() if (probe := each.next(data))]:
        _learn(searches, sweep(probes, data=data, **options), aim)
    return pd.DataFrame([each.row() for each in searches.values()])


def _learn(searches: Mapping[str, _Search], outcomes: Iterable[Outcome], aim: Aim) -> None:
    for outcome in outcomes:
        kind, value = given(outcome.experiment)[0]
        search = searches.get(_key(outcome.experiment)) if kind == aim.kind else None
        if search is not None:
            search.learn(value, outcome)


def _key(experiment: Mapping[str, Any]) -> str:
    """What experiments share that differ in their targets alone."""
    settings = {name: each for name, each in experiment.items() if name not in TARGET_NAMES}
    return json.dumps(settings, sort_keys=True)


@dataclass
class _Search:
    """The search for one experiment, and what is known of it.

    Attributes:
        experiment: says all but the target.
        aim: what is to be found.
        losses: points that are lost, by target; infinite where it cannot be reached.
        ended: why nothing more is tried.
    """

    experiment: Experiment
    aim: Aim
    losses: dict[float, float] = field(default_factory=dict)
    ended: str = ""

    def learn(self, value: float, outcome: Outcome) -> None:
        """Take note of a record."""
        if outcome.finished:
            self.losses[value] = points_lost(outcome)
            self.ended = ""
        elif value not in self.losses:
            self.ended = f"the cell at {self.aim.kind.phrase.format(value)} failed"

    def next(self, data: str | Path | None) -> Experiment | None:
        """The cell that is to be run now, in the middle of what is not known."""
        while not self.ended and (open_ := list(self._open())):
            value = open_[(len(open_) - 1) // 2]
            probe = self._at(value)
            try:
                check([probe], data_folder(data))
            except UsageError:
                check([self._at(self.aim.values()[0])], data_folder(data))  # is it the target?
                self.losses[value] = math.inf
            else:
                return probe
        return None

    def row(self) -> dict[str, Any]:
        """What was found."""
        held, not_held = self._bracket()
        loss_of = self.losses.get
        return {
            "dataset": shown(str(self.experiment.dataset)),
            "model": shown(str(self.experiment.model)),
            "strategy": shown(str(self.experiment.strategy)),
            "settings": f"sha256:{self.experiment.comparison}",
            "seed": self.experiment.seed,
            "target": self.aim.kind.name,
            "loss_at_most": self.aim.loss,
            "held": held,
            "held_loss": loss_of(held) if held is not None else None,
            "not_held": not_held,
            "not_held_loss": loss_of(not_held) if not_held is not None else None,
            "cells": sum(map(math.isfinite, self.losses.values())),
            "note": "; ".join(filter(None, (self.ended, self._not_monotone(held)))),
        }

    def _at(self, value: float) -> Experiment:
        targets: dict[str, Any] = {**dict.fromkeys(TARGET_NAMES), self.aim.kind.name: value}
        return self.experiment.revised(**targets)

    def _bracket(self) -> tuple[float | None, float | None]:
        """The highest target that held, and the lowest above it that did not."""
        held = max((v for v, loss in self.losses.items() if loss <= self.aim.loss), default=None)
        above = [v for v in self.losses if held is None or v > held]
        return held, min(above, default=None)

    def _open(self) -> Iterator[float]:
        """The targets of the grid between those two."""
        held, not_held = self._bracket()
        for value in self.aim.values():
            if (held is None or value > held) and (not_held is None or value < not_held):
                yield value

    def _not_monotone(self, held: float | None) -> str:
        written = self.aim.kind.phrase.format
        below = [v for v, loss in self.losses.items() if held and v < held and loss > self.aim.loss]
        return f"not monotone: {written(max(below))} did not hold" if below else ""


def points_lost(outcome: Outcome) -> float:
    """How many points of its primary quality a network has lost, in the unit of tables."""
    name, better = next(iter(outcome.quality.items()))
    quality = outcome.descriptions().get(name) or titled(name, better)
    dense, final = outcome.dense.get(name), outcome.final.get(name)
    if dense is None or final is None:
        return math.inf
    lost = dense - final if quality.higher_is_better else final - dense
    return round(quality.factor * lost, 9)  # so that 0.98 − 0.97 is a point
