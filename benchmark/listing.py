"""What there is to choose from: the texts of ``prunebench list``."""

from __future__ import annotations

import inspect
from typing import Any

from ..datasets import DATASETS
from ..errors import UsageError, suggestion
from ..metrics import METRICS, Metric
from ..models import INITIALISATIONS, MODELS
from ..registry import Parameter, Registry, hyperparameters
from ..strategies import (
    ALLOCATIONS,
    CURVATURES,
    PENALTIES,
    RECOVERIES,
    SCHEDULES,
    STRATEGIES,
    STRUCTURES,
    TIMINGS,
)

_REGISTRIES: dict[str, Registry[Any]] = {
    registry.kinds: registry
    for registry in (
        STRATEGIES,
        ALLOCATIONS,
        STRUCTURES,
        CURVATURES,
        SCHEDULES,
        TIMINGS,
        RECOVERIES,
        PENALTIES,
        INITIALISATIONS,
        MODELS,
        DATASETS,
        METRICS,
    )
}


def overview(kinds: str | None = None) -> str:
    """The components of one kind or of all, a line each, with hyperparameters and defaults."""
    if kinds is None:
        return "\n\n".join(f"{name}\n{overview(name)}" for name in _REGISTRIES)
    registry = _registry(kinds)
    lines = []
    for name in registry.names():
        factory = registry.find(name)
        arguments = ", ".join(map(str, _parameters(registry, factory)))
        lines.append(f"  {name}({arguments})\n      {_summary(factory)}")
    return "\n".join(lines)


def detail(kinds: str, name: str) -> str:
    """All that one component's docstring says, and its hyperparameters."""
    registry = _registry(kinds)
    factory = registry.find(name)
    parts = [f"{name}: {inspect.getdoc(factory) or ''}"]
    if parameters := _parameters(registry, factory):
        parts.append("Hyperparameters:\n" + "\n".join(f"  {each}" for each in parameters))
    if issubclass(factory, Metric):
        numbers = "\n".join(f"  {each}: {text}" for each, text in factory.definitions.items())
        parts.append(f"Numbers:\n{numbers}")
    return "\n\n".join(parts)


def _registry(kinds: str) -> Registry[Any]:
    if kinds not in _REGISTRIES:
        raise UsageError(f"cannot list {kinds!r}: {suggestion(kinds, _REGISTRIES)}")
    return _REGISTRIES[kinds]


def _parameters(registry: Registry[Any], factory: type) -> list[Parameter]:
    parameters = hyperparameters(factory).values()
    return [parameter for parameter in parameters if parameter.name not in registry.given]


def _summary(factory: type) -> str:
    return (inspect.getdoc(factory) or "").partition("\n")[0]
