"""A suite: a versioned file of tasks and methods, which nobody changes once it is released.

The digests of released suites stand in ``suites/RELEASED``, as ``sha256sum`` writes them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ...errors import UsageError, sentence_of, shown, suggestion
from ...results.targets import TARGET_NAMES
from ..catalogue.shipped import shipped
from ..experiment import Experiment
from ..grid import grid, read_settings

REGISTER = "RELEASED"
"""The file beside the suites that has the digests of those released."""

BASELINES = ("Random", "GlobalMagnitude")
"""Strategies that stand in every table, beside the narrower networks of the tasks."""

_CHOSEN = ("strategy", "seed", *TARGET_NAMES)

Ratio = Annotated[float, Field(gt=1)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Task(_Frozen):
    """A task of a suite."""

    experiment: dict[str, Any] = Field(
        description="settings of its cells but for strategy, target and seed"
    )
    compression: tuple[Ratio, ...] = Field(min_length=1, description="the operating points")
    narrower: tuple[str, ...] = Field(
        description="for each operating point a network of at most so many parameters, which is "
        "trained for as long and not pruned"
    )
    floor: float = Field(
        description="quality of a network that knows nothing, accuracies as fractions: the least "
        "that counts, and what a failure counts as"
    )
    loss_at_most: float = Field(
        default=1.0, gt=0, description="loss whose compression is told, in the unit of tables"
    )

    @model_validator(mode="after")
    def _fits(self) -> Task:
        for name in _CHOSEN:
            if name in self.experiment:
                raise UsageError(f"experiment: {name} is not allowed: the suite itself says it")
        if list(self.compression) != sorted(set(self.compression)):
            raise UsageError("compression: give operating points in ascending order, each once")
        if len(self.narrower) != len(self.compression):
            raise UsageError("narrower: give one network for each operating point")
        if self.experiment.get("least_dense_quality") is None:
            raise UsageError(
                "experiment: least_dense_quality, the mark of dense networks, is missing"
            )
        return self

    def at_rate(self, factor: float) -> Task:
        """The task with another learning rate after pruning."""
        if factor == 1:
            return self
        own = self.cells(BASELINES[1], (0,))[0].finetuning.learning_rate
        return self.changed({"finetuning": {"learning_rate": factor * own}})

    def changed(self, settings: Mapping[str, Any]) -> Task:
        """The task with other settings, of recipes those that are given."""
        experiment = dict(self.experiment)
        for name, value in settings.items():
            is_recipe = isinstance(value, Mapping)
            experiment[name] = {**experiment.get(name, {}), **value} if is_recipe else value
        return self.model_copy(update={"experiment": experiment})

    def cells(self, strategy: str, seeds: tuple[int, ...]) -> list[Experiment]:
        """The cells of a strategy: each operating point with each seed."""
        return grid(
            **self.experiment, strategy=strategy, compression=list(self.compression), seed=seeds
        )

    def narrower_cells(self, seeds: tuple[int, ...]) -> list[Experiment]:
        """The narrower networks, trained as pruned ones are: nothing of them is pruned."""
        settings = {k: v for k, v in self.experiment.items() if k != "least_dense_quality"}
        settings["model"] = list(self.narrower)
        return grid(**settings, strategy=BASELINES[1], compression=1, seed=seeds)

    def int8_cells(self, seeds: tuple[int, ...]) -> list[Experiment]:
        """The network itself, trained as pruned ones are, whose weights are rounded to 8 bits."""
        settings = dict(self.experiment)
        settings["metrics"] = [*settings.get("metrics", ()), "Int8Weights"]
        return grid(**settings, strategy=BASELINES[1], compression=1, seed=seeds)


class Tuning(_Frozen):
    """What methods are given in the tuned division, each the same."""

    trials: int = Field(ge=1, description="settings of a method that are tried")
    seed: int = Field(ge=0, description="seed of all trials, which is none of the suite's own")
    learning_rates: tuple[float, ...] = Field(
        default=(0.1, 0.3, 1.0, 3.0),
        description="by what the learning rate after pruning may be multiplied in all tasks",
    )


class Suite(_Frozen):
    """A suite as its file has it."""

    name: str = Field(pattern=r"^[a-z]+(-[a-z]+)*-[0-9]+$", description="with its version")
    seeds: tuple[int, ...] = Field(min_length=2, description="seeds of every task")
    strategies: tuple[str, ...] = Field(min_length=1, description="those that `all` stands for")
    tuning: Tuning = Field(description="of the tuned division")
    tasks: dict[str, Task] = Field(min_length=2, description="the tasks by name")

    @model_validator(mode="after")
    def _fits(self) -> Suite:
        for name in BASELINES:
            if name not in self.strategies:
                raise UsageError(f"strategies: {name} is missing, which stands in every table")
        if self.tuning.seed in self.seeds:
            raise UsageError("tuning: seed is not allowed: it is one of the suite's own")
        return self


def suite(text: str) -> Suite:
    """A suite that comes along, by its name, or one of a user's file, by its path.

    Raises:
        UsageError: there is none, it is malformed, or it has the name of one that is released and
            is not that.
    """
    ours = shipped("suites")
    path = ours.get(text, Path(text))
    if not path.is_file():
        raise UsageError(f"there is no suite {text!r}: {suggestion(text, ours)}")
    settings = read_settings(path)
    try:
        found = Suite(**settings)
    except ValidationError as error:
        raise UsageError(f"{path}: {sentence_of(error, Suite)}") from None
    refuse_changes(found.name, path.read_bytes())
    return found


def refuse_changes(name: str, content: bytes) -> None:
    """Make sure that what has the name of a released suite is that suite, byte for byte.

    Raises:
        UsageError: it is not.
    """
    noted = released().get(name)
    if noted is not None and noted != hashlib.sha256(content).hexdigest():
        kind, _, version = name.rpartition("-")
        raise UsageError(
            f"{name} is released and may not be changed: make {kind}-{int(version) + 1}, so that "
            f"tables of {name} stay what they are"
        )


def released() -> dict[str, str]:
    """The SHA-256 of each released suite, by its name."""
    register = Path(__file__).resolve().parents[2] / "suites" / REGISTER
    lines = register.read_text(encoding="utf-8").splitlines()
    return {name.removesuffix(".yaml"): digest for digest, name in map(str.split, lines)}


def strategies_of(chosen: list[str], found: Suite) -> list[str]:
    """The strategies to run: those chosen, or ``all`` of the suite; the baselines always.

    Raises:
        UsageError: nothing is chosen, or ``all`` stands beside others.
    """
    if "all" in chosen:
        if len(chosen) > 1:
            raise UsageError(f"--strategies: {shown(chosen)} is not allowed: all, or their names")
        return list(found.strategies)
    return list(dict.fromkeys([*BASELINES, *chosen]))
