"""What there is to choose from: the texts of ``prunebench list`` and the page of methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...datasets import DATASETS
from ...errors import UsageError, suggestion
from ...hyperparameters import Parameter, hyperparameters
from ...metrics import METRICS, RUNTIMES, Metric
from ...models import INITIALISATIONS, MODELS
from ...registry import Registry
from ...strategies import (
    ALLOCATIONS,
    CURVATURES,
    PENALTIES,
    RECOVERIES,
    SCHEDULES,
    STRATEGIES,
    STRUCTURES,
    TIMINGS,
)
from . import shipped
from .description import Description, description

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
        RUNTIMES,
    )
}


def overview(kinds: str | None = None) -> str:
    """The components of one kind or of all, a line each, with hyperparameters and defaults.

    The files that come with prunebench are kinds too, by their first sentence.
    """
    if kinds is None:
        return "\n\n".join(f"{name}\n{overview(name)}" for name in (*_REGISTRIES, *shipped.SHIPPED))
    if kinds in shipped.SHIPPED:
        return shipped.overview(kinds)
    registry = _registry(kinds)
    lines = []
    for name in registry.names():
        factory = registry.find(name)
        arguments = ", ".join(map(str, _parameters(registry, factory)))
        lines.append(f"  {name}({arguments})\n      {_summary(factory)}")
    return "\n".join(lines)


def detail(kinds: str, name: str) -> str:
    """All that one component's docstring says, and its hyperparameters; what is in one file."""
    if kinds in shipped.SHIPPED:
        return shipped.content(kinds, name)
    registry = _registry(kinds)
    factory = registry.find(name)
    known = description(factory)
    parts = [f"{name}: {known.summary}"]
    if known.prose:
        parts.append(known.prose)
    parts += [f"{entry}: {text}" for entry, text in known.entries.items()]
    if parameters := _parameters(registry, factory):
        lines = [_explained(parameter, known) for parameter in parameters]
        parts.append("Hyperparameters:\n" + "\n".join(lines))
    if issubclass(factory, Metric):
        numbers = "\n".join(f"  {each}: {text}" for each, text in factory.definitions.items())
        parts.append(f"Numbers:\n{numbers}")
    return "\n\n".join(parts)


def all_answers() -> dict[tuple[str | None, str | None], str]:
    """All overviews and details that there are, by the kind and the name asked for."""
    found: dict[tuple[str | None, str | None], str] = {(None, None): overview()}
    for kinds, registry in _REGISTRIES.items():
        found[kinds, None] = overview(kinds)
        for name in registry.names():
            found[kinds, name] = detail(kinds, name)
    for kinds in shipped.SHIPPED:
        found[kinds, None] = overview(kinds)
        found |= {(kinds, name): detail(kinds, name) for name in shipped.shipped(kinds)}
    return found


def methods_as_markdown() -> str:
    """The page of all strategies and of all that goes into them: ``strategies/README.md``."""
    registry = _REGISTRIES["strategies"]
    rows = [
        (f"[{name}](#{name.lower()})", known.summary.rstrip("."), known.entries.get("Cost", ""))
        for name in registry.names()
        for known in [description(registry.find(name))]
    ]
    parts = [_PAGE_HEAD, _table(("strategy", "what it does", "cost of scoring"), rows)]
    parts += [_section(registry, name) for name in registry.names()]
    for kinds, other in _REGISTRIES.items():
        if kinds in ("strategies", "models", "datasets", "metrics"):
            continue
        parts.append(f"## {kinds.capitalize()}")
        parts += [_section(other, name) for name in other.names()]
    return "\n\n".join(parts) + "\n"


_PAGE_HEAD = """\
# Pruning methods

This page is made of the docstrings, by `prunebench list --markdown > strategies/README.md`.

A method is a point in score × allocation × structure × schedule × recovery. Most strategies have a
score and defaults for allocation and structure, which are hyperparameters like others; the
experiment names the schedule, the timing and the recovery. Any of one kind goes with any of the
others: `GlobalMagnitude(allocation=ERK())`, `SNIP(structure=Filters())`,
`OBD(curvature=Hutchinson(probes=100))`. Scores are ranked, and the lowest go. Those that lack an
allocation or a structure below choose by rules of their own, or rank nothing.

## Strategies"""


def _section(registry: Registry[Any], name: str) -> str:
    """One component: what it is, its entries, and its hyperparameters in a table."""
    factory = registry.find(name)
    known = description(factory)
    parts = [f"### {name}", known.summary, *([known.prose] if known.prose else [])]
    if known.entries:
        parts.append("\n".join(f"- **{entry}**: {text}" for entry, text in known.entries.items()))
    if parameters := _parameters(registry, factory):
        rows = [
            (f"`{each}`", known.arguments.get(each.name, _SHARED_ARGUMENTS.get(each.name, "")))
            for each in parameters
        ]
        parts.append(_table(("hyperparameter", "meaning"), rows))
    return "\n\n".join(parts)


_SHARED_ARGUMENTS = {
    "allocation": "how what is kept is divided among the layers",
    "structure": "which weights go together",
}


def _explained(parameter: Parameter, known: Description) -> str:
    text = known.arguments.get(parameter.name, _SHARED_ARGUMENTS.get(parameter.name, ""))
    return f"  {parameter}" + (f"\n      {text}" if text else "")


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    # A bar would end the cell.
    lines = [heads, ("---",) * len(heads), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def _registry(kinds: str) -> Registry[Any]:
    if kinds not in _REGISTRIES:
        if of := next((k for k, each in _REGISTRIES.items() if kinds in each.names()), ""):
            raise UsageError(f"cannot list {kinds!r}: did you mean 'prunebench list {of} {kinds}'?")
        kinds_of_all = (*_REGISTRIES, *shipped.SHIPPED)
        raise UsageError(f"cannot list {kinds!r}: {suggestion(kinds, kinds_of_all)}")
    return _REGISTRIES[kinds]


def _parameters(registry: Registry[Any], factory: type) -> list[Parameter]:
    parameters = hyperparameters(factory).values()
    return [parameter for parameter in parameters if parameter.name not in registry.given]


def _summary(factory: type) -> str:
    return description(factory).summary
