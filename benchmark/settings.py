"""Settings: plain, checked, frozen data, of which components are held by name.

Components (data set, model, strategy, …) are only looked up when settings are made, so that these
modules, and with them the command line's help, load without torch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib import import_module
from typing import Annotated, Any, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    ValidationInfo,
    field_validator,
)
from pydantic_core import to_jsonable_python

from ..registry import Component


def _lookup(package: str, registry: str) -> BeforeValidator:
    """Look a component up in the registry of that name in one of our packages."""

    def component(value: object) -> Component[Any]:
        if isinstance(value, Component):
            return value
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
TimingComponent = Annotated[Any, _lookup("strategies", "TIMINGS"), _written]
PenaltyComponent = Annotated[Any, _lookup("strategies", "PENALTIES"), _written]
InitialisationComponent = Annotated[Any, _lookup("models", "INITIALISATIONS"), _written]
MetricComponent = Annotated[Any, _lookup("metrics", "METRICS"), _written]


@lru_cache
def _defaults(settings: type[BaseModel]) -> dict[str, Any]:
    """The defaults of those settings that have one, as plain data."""
    return {
        name: to_jsonable_python(field.default)
        for name, field in settings.model_fields.items()
        if not field.is_required()
    }


class Settings(BaseModel):
    """Settings that are data; nested ones are settings too."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        validate_default=True,
        allow_inf_nan=False,
    )

    @field_validator(
        "optimizer",
        "learning_rate_schedule",
        "precision",
        "finetuned_network",
        "device",
        mode="before",
        check_fields=False,
    )
    @classmethod
    def _in_any_case(cls, value: object, info: ValidationInfo) -> object:
        """A word as the setting spells it, whose letters may be large or small."""
        if not isinstance(value, str):
            return value
        words = ("auto", *get_args(cls.model_fields[str(info.field_name)].annotation))
        return next((word for word in words if word.lower() == value.lower()), value)

    def canonical(self) -> dict[str, Any]:
        """The settings as plain data, without those that have their default value."""
        return self._unusual(self.model_dump(mode="json"))

    def _unusual(self, dumped: Mapping[str, Any]) -> dict[str, Any]:
        """Of all settings as plain data those that do not have their default value."""
        defaults, settings = _defaults(type(self)), {}
        for name, value in dumped.items():
            if name in defaults and value == defaults[name]:
                continue
            own = getattr(self, name)
            if not isinstance(own, Settings):
                settings[name] = value
            elif inner := own._unusual(value):
                settings[name] = inner
        return settings

    def identified(self) -> dict[str, Any]:
        """As :meth:`canonical`, a component from a user's file by its contents, not by its path."""
        return self._identified(self.canonical())

    def _identified(self, settings: dict[str, Any]) -> dict[str, Any]:
        for name in settings:
            value = getattr(self, name)
            if isinstance(value, Settings):
                settings[name] = value._identified(settings[name])
            elif isinstance(value, Component):
                settings[name] = value.identity
            elif isinstance(value, tuple) and any(isinstance(each, Component) for each in value):
                settings[name] = [each.identity for each in value]
        return settings

    def components(self) -> Iterator[tuple[str, Component[Any]]]:
        """All components in the settings and those within them, each with its place.

        Of several in one place, such as metrics of one name, the later ones have a number.
        """
        counts: Counter[str] = Counter()
        for place, component in self._components():
            counts[place] += 1
            yield place if counts[place] == 1 else f"{place} {counts[place]}", component

    def _components(self) -> Iterator[tuple[str, Component[Any]]]:
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, Settings):
                yield from ((f"{name}.{inner}", each) for inner, each in value.components())
            elif isinstance(value, Component):
                yield from value.parts(name)
            elif isinstance(value, tuple):
                for each in value:
                    if isinstance(each, Component):
                        yield from each.parts(f"{name}.{each.factory.__name__}")
