"""The experiment: everything that can change a result, as plain, checked, frozen data.

Components (data set, model, strategy, …) are held by name and only looked up when an experiment is
made, so that this module, and with it the command line's help, loads without torch.
"""

from __future__ import annotations

import hashlib
import json
from importlib import import_module
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator
from pydantic_core import to_jsonable_python

from ..errors import UsageError
from ..registry import Component


def _lookup(package: str, registry: str) -> BeforeValidator:
    """Look a component up in the registry of that name in one of our packages."""

    def component(value: object) -> Component[Any]:
        home = import_module(f"..{package}", __package__)
        found: Component[Any] = getattr(home, registry).component(value)
        return found

    return BeforeValidator(component)


_written = PlainSerializer(str, return_type=str)

# A field of these types holds a Component, and is given one, an instance, a class, or a text; Any
# says both to a type checker.
DatasetComponent = Annotated[Any, _lookup("datasets", "DATASETS"), _written]
ModelComponent = Annotated[Any, _lookup("models", "MODELS"), _written]
StrategyComponent = Annotated[Any, _lookup("strategies", "STRATEGIES"), _written]
ScheduleComponent = Annotated[Any, _lookup("strategies", "SCHEDULES"), _written]
RecoveryComponent = Annotated[Any, _lookup("strategies", "RECOVERIES"), _written]
MetricComponent = Annotated[Any, _lookup("metrics", "METRICS"), _written]


class _Settings(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        validate_default=True,
        allow_inf_nan=False,
    )

    def canonical(self) -> dict[str, Any]:
        """The settings as plain data, without those that have their default value."""
        dumped = self.model_dump(mode="json")
        settings: dict[str, Any] = {}
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if isinstance(value, _Settings):
                if inner := value.canonical():
                    settings[name] = inner
            elif field.is_required() or dumped[name] != to_jsonable_python(field.default):
                settings[name] = dumped[name]
        return settings


class Recipe(_Settings):
    """How a network is trained."""

    epochs: int = Field(default=10, ge=1, description="passes over the training split")
    batch_size: int = Field(default=64, ge=1, description="examples in a training step")
    optimizer: Literal["SGD", "Adam", "AdamW"] = Field(
        default="Adam", description="the optimizer, with torch's defaults where nothing is said"
    )
    learning_rate: float = Field(default=1e-3, gt=0, description="learning rate at the start")
    learning_rate_schedule: Literal["constant", "cosine"] = Field(
        default="constant", description="cosine anneals to zero over the recipe's steps"
    )
    momentum: float = Field(default=0.0, ge=0, lt=1, description="momentum of SGD")
    weight_decay: float = Field(default=0.0, ge=0, description="weight decay of the optimizer")

    @model_validator(mode="after")
    def _momentum_needs_sgd(self) -> Recipe:
        if self.momentum and self.optimizer != "SGD":
            raise UsageError(
                f"momentum: {self.momentum} is not allowed: only the optimizer SGD takes one, "
                f"and this is {self.optimizer}"
            )
        return self


class Pretraining(Recipe):
    """How the dense network is trained, before anything is pruned."""


class FineTuning(Recipe):
    """How the network is trained after each round of pruning."""

    epochs: int = Field(default=2, ge=1, description="passes over the training split, each round")


class Experiment(_Settings):
    """One run: train → (prune → fine-tune) × K → measure.

    How far to prune is said by exactly one of ``compression`` and ``sparsity``.

    Raises:
        UsageError: a component does not exist or has a wrong argument, or settings contradict
            each other.
        pydantic.ValidationError: a value is missing, of the wrong type, or out of range.
    """

    dataset: DatasetComponent = Field(description="what is learned")
    model: ModelComponent = Field(description="the network")
    strategy: StrategyComponent = Field(description="the pruning method")
    compression: float | None = Field(
        default=None, ge=1, description="parameters of the whole network / nonzero ones, at the end"
    )
    sparsity: float | None = Field(
        default=None, ge=0, lt=1, description="fraction of the prunable weights removed at the end"
    )
    rounds: int = Field(default=1, ge=1, description="how often to prune and recover (K)")
    schedule: ScheduleComponent = Field(
        default="Geometric",
        description="how the rounds divide the pruning among them",
    )
    recovery: RecoveryComponent = Field(
        default="FineTune",
        description="the weights from which training goes on after pruning",
    )
    prune_classifier: bool = Field(
        default=True, description="false leaves the output layer dense, as ShrinkBench does"
    )
    pretraining: Pretraining = Field(
        default=Pretraining(), description="how the dense network is trained"
    )
    finetuning: FineTuning = Field(
        default=FineTuning(), description="how the network is trained after each pruning"
    )
    metrics: Annotated[tuple[MetricComponent, ...], Field(strict=False)] = Field(
        default=(), description="metrics to record beside accuracy, size, FLOPs and latency"
    )
    seed: int = Field(default=0, ge=0, description="source of everything random")
    threads: int = Field(
        default=1, ge=1, description="CPU threads; bits of the result depend on it"
    )

    @model_validator(mode="after")
    def _settings_agree(self) -> Experiment:
        if (self.compression is None) == (self.sparsity is None):
            given = "neither is" if self.compression is None else "both are"
            raise UsageError(f"give exactly one of compression and sparsity; {given} given")
        needed = self.recovery.create().epochs_needed
        if needed > self.pretraining.epochs:
            raise UsageError(
                f"recovery: {self.recovery} is not allowed: pretraining has only "
                f"{self.pretraining.epochs} epochs"
            )
        return self

    @property
    def id(self) -> str:
        """The identity: 16 hex digits of a hash of all that can change the result.

        Defaults are left out, so that a setting added later gives no old run a new identity. Of a
        component from a user's own file the contents count, not the path.
        """
        return _digest({name: self._identified(name, v) for name, v in self.canonical().items()})

    @property
    def pretraining_id(self) -> str:
        """The identity of the pretrained network: of what it depends on, and nothing else."""
        shared = ("dataset", "model", "pretraining", "seed", "threads")
        settings = self.canonical()
        return _digest({n: self._identified(n, settings[n]) for n in shared if n in settings})

    @property
    def sources(self) -> dict[str, str]:
        """For each component from outside prunebench the SHA-256 of its file."""
        named = ("dataset", "model", "strategy", "schedule", "recovery")
        components = {name: getattr(self, name) for name in named}
        components |= {f"metrics.{metric.factory.__name__}": metric for metric in self.metrics}
        return {name: part.source for name, part in components.items() if part.source}

    def _identified(self, name: str, written: Any) -> Any:
        """A setting as it counts in an identity: a component by its contents, not by its path."""
        value = getattr(self, name)
        if isinstance(value, Component):
            return value.identity
        if isinstance(value, tuple):
            return [component.identity for component in value]
        return written


def _digest(settings: dict[str, Any]) -> str:
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
