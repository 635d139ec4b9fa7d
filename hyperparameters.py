"""The hyperparameters of component classes, read off their fields or constructors.

What a class takes, with which type hints and defaults, is found by looking at it, and what it is
given is checked against that by pydantic.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, is_dataclass
from enum import Enum
from functools import cache
from pathlib import PurePath
from types import MappingProxyType, NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, create_model

from .errors import UsageError
from .notation import noted, written


@dataclass(frozen=True)
class Parameter:
    """One hyperparameter of a component: its name, its type hint, its default."""

    name: str
    annotation: Any
    default: Any

    def __str__(self) -> str:
        default = "" if self.default is inspect.Parameter.empty else f" = {noted(self.default)!r}"
        return f"{self.name}: {_hint_as_text(self.annotation)}{default}"


def _hint_as_text(hint: Any) -> str:
    """A type hint for people: without what pydantic is told beside it."""
    if get_origin(hint) is Annotated:
        return _hint_as_text(hint.__origin__)
    if hint is ... or hint is NoneType:
        return "..." if hint is ... else "None"
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return " | ".join(map(repr, arguments))
    if origin in (Union, UnionType):
        return " | ".join(map(_hint_as_text, arguments))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return " | ".join(repr(noted(member)) for member in hint)
    if arguments:
        return f"{hint.__name__}[{', '.join(map(_hint_as_text, arguments))}]"
    return hint.__name__ if isinstance(hint, type) else str(hint)


class Configured:
    """A component configured by dataclass fields; its repr leaves the defaults out.

    >>> GlobalMagnitude(allocation=Global())
    GlobalMagnitude
    """

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        # Set on every class: a dataclass writes no repr of its own where the class has one.
        cls.__repr__ = _concise_repr  # type: ignore[method-assign]


def _concise_repr(component: object) -> str:
    changed = {
        name: getattr(component, name)
        for name, parameter in hyperparameters(type(component)).items()
        if getattr(component, name) != parameter.default
    }
    return written(type(component).__name__, changed)


def hyperparameters(factory: type) -> Mapping[str, Parameter]:
    """The keyword arguments of a component class, in order, with their type hints."""
    return _hyperparameters(factory)


@cache
def _hyperparameters(factory: type) -> Mapping[str, Parameter]:
    if is_dataclass(factory):
        hints = get_type_hints(factory, include_extras=True)
        undeclared = set(vars(factory).get("__annotations__", {})) - {*factory.__dataclass_fields__}
        if undeclared - {name for name, hint in hints.items() if "ClassVar" in str(hint)}:
            raise UsageError(
                f"{factory.__name__} declares {', '.join(sorted(undeclared))} but is no dataclass: "
                "write @dataclass(frozen=True) above the class"
            )
    else:
        hints = get_type_hints(factory.__init__, include_extras=True)  # type: ignore[misc]
    made = {
        name: field.default_factory()
        for name, field in getattr(factory, "__dataclass_fields__", {}).items()
        if field.default_factory is not MISSING
    }
    return MappingProxyType(
        {
            name: Parameter(name, hints.get(name, Any), made.get(name, parameter.default))
            for name, parameter in inspect.signature(factory).parameters.items()
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        }
    )


def _as_it_is_written(hint: Any) -> Any:
    """A type hint by which an Enum may be its value, and a path a text, as they are written."""
    if isinstance(hint, type) and issubclass(hint, Enum | PurePath):
        return Annotated[hint, Field(strict=False)]
    origin, inner = get_origin(hint), tuple(map(_as_it_is_written, get_args(hint)))
    if origin in (Union, UnionType):
        return Union[inner]  # noqa: UP007 # of as many as there are
    if origin is Annotated:
        return Annotated[(inner[0], *hint.__metadata__)]
    return origin[inner] if origin in (list, tuple, set, frozenset, dict) else hint


@cache
def checker(factory: type[Any], names: tuple[str, ...]) -> type[BaseModel]:
    """A pydantic model that checks the named arguments of ``factory`` against its type hints."""
    fields: dict[str, Any] = {
        name: (
            _as_it_is_written(parameter.annotation),
            ... if parameter.default is inspect.Parameter.empty else parameter.default,
        )
        for name, parameter in hyperparameters(factory).items()
        if name in names
    }
    config = ConfigDict(
        extra="forbid",
        strict=True,
        arbitrary_types_allowed=True,
        protected_namespaces=(),
        allow_inf_nan=False,  # which has no notation
    )
    return create_model(factory.__name__, __config__=config, **fields)
