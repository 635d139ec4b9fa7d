"""How components are named, found, configured and written down.

A *component* is a class that an experiment names: a strategy, an allocation, a model, a data set,
a metric. It is written the same way everywhere (command line, YAML, records, CSV) as a call with
the defaults left out: ``GlobalMagnitude``, ``SNIP(batches=4)``,
``GlobalMagnitude(allocation=Global(minimum=1))``, ``mymethod.py:MyScore(alpha=2)``,
``GlobalMagnitude(allocation=mymethod.py:MyAllocation())``. A component may be an argument of
another wherever its type hint names one, alone, in a list or in a mapping.
Such a text is parsed, never evaluated, and its values are checked against the type hints of the
class.

Each kind of component has one :class:`Registry`, with three ways in: the ``register`` decorator,
an import path (``package.module:Class`` or ``path/to/file.py:Class``), and an entry point of the
group ``prunebench.<kinds>`` in an installed distribution.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, Any, ClassVar, Generic, TypeVar, get_args, get_origin

from pydantic import ValidationError

from .errors import UsageError, apart, message_of, sentence_of, shown, suggestion
from .hyperparameters import Configured, Parameter, checker, hyperparameters
from .notation import Call, Verbatim, is_literal, mapped, parse, quoted, written
from .protocols import MadeFromFile, declared
from .user_code import ask, imported, is_from_file, source_of

T = TypeVar("T")


@dataclass(frozen=True, repr=False)
class Component(Generic[T]):
    """A class chosen by name, with those of its arguments that differ from the defaults.

    An argument that is a component itself is held as such, however deep it is.
    """

    reference: str
    factory: type[T]
    arguments: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        return self._text

    @cached_property
    def _text(self) -> str:
        return written(self.reference, dict(self.arguments))

    def __repr__(self) -> str:
        """The text as an argument of another component: in quotes where its path needs them."""
        return quoted(str(self), self.reference)

    def create(self, **given: Any) -> T:
        """A new instance; ``given`` is passed where the class takes it and was not configured.

        Raises:
            UsageError: the class does not take these arguments, or fails on them.
        """
        offered = {}
        if given:
            accepted = inspect.signature(self.factory).parameters
            offered = {name: value for name, value in given.items() if name in accepted}
        own = {name: _created(value) for name, value in self.arguments}
        try:
            return self.factory(**{**offered, **own})
        except UsageError:
            raise
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # whatever a user's class raises, SystemExit too
            reason = f"{type(error).__name__}: {message_of(error)}"
            raise UsageError(f"{self} cannot be made: {reason}") from error

    @property
    def source(self) -> str | None:
        """SHA-256 of the file that defines the class; None for prunebench's own components.

        Editing a method makes it another method.
        """
        return source_of(self.factory.__module__)

    @cached_property
    def identity(self) -> str:
        """The component as it counts in an identity: with the digest of its source, if it has one.

        So it is with every component among its arguments. Moving a file changes nothing, so that of
        a path only the class's name stays.
        """
        if (made := declared(self.factory, MadeFromFile)) is not None:
            return made.identity_of(dict(self.arguments))
        arguments = {name: mapped(value, _identified) for name, value in self.arguments}
        if self.source is None:
            return written(self.reference, arguments)
        name = self.reference.rpartition(":")[2]
        return f"{written(name, arguments)}@{self.source}"

    def parts(self, place: str) -> Iterator[tuple[str, Component[Any]]]:
        """This component and all that are among its arguments, each with its place.

        Args:
            place: that of this component, such as ``strategy``; an argument's is then
                ``strategy.allocation``.
        """
        yield place, self
        for name, value in self.arguments:
            for each in _inside(value):
                inner = name if each is value else f"{name}.{each.factory.__name__}"
                yield from each.parts(f"{place}.{inner}")


class Registry(Generic[T]):
    """The components of one kind, by name.

    ``home`` is a module in the room of prunebench whose import registers our own; the room is
    imported when a name is first looked up. ``given`` names the arguments that the benchmark fills
    in (a model's ``classes``), which are therefore no hyperparameters. ``elsewhere`` has what
    others call ours, in small letters without underscores. ``example`` is the shipped file in which
    one of a user's own can be read.
    """

    _all: ClassVar[list[Registry[Any]]] = []

    def __init__(
        self,
        kind: str,
        kinds: str,
        base: type[T],
        *,
        home: str,
        given: Iterable[str] = (),
        elsewhere: Mapping[str, Sequence[str]] | None = None,
        example: str = "",
    ) -> None:
        self.kind, self.kinds, self.base = kind, kinds, base
        self.given = frozenset(given)
        self._elsewhere = elsewhere or {}
        self._example = example
        self._home = ".".join(home.split(".")[:2])
        self._classes: dict[str, type[T]] = {}
        self._libraries: dict[str, Callable[[str], type[T]]] = {}
        Registry._all.append(self)

    def register(self, cls: type[T]) -> type[T]:
        """Class decorator: make ``cls`` known by its name. A name is given once."""
        known = self._classes.setdefault(cls.__name__, cls)
        if known is not cls:
            raise UsageError(
                f"two {self.kinds} are called {cls.__name__!r}: "
                f"{known.__module__} and {cls.__module__}; rename one"
            )
        return cls

    def library(self, name: str) -> Callable[[Callable[[str], type[T]]], Any]:
        """Decorator: what is written ``name/rest`` is the class that the function gives for rest.

        It is how another library's classes are known without being listed.
        """

        def known(find: Callable[[str], type[T]]) -> Callable[[str], type[T]]:
            self._libraries[name] = find
            return find

        return known

    def names(self) -> list[str]:
        """All names that can be used without a path, sorted."""
        self._load_home()
        return sorted({*self._classes, *self._plug_ins})

    def component(self, value: object) -> Component[T]:
        """The component that ``value`` means: a text, an instance, a class, or a component.

        Raises:
            UsageError: the text cannot be read, names nothing, or has a wrong argument.
        """
        if isinstance(value, Component):
            return value
        if isinstance(value, str):
            return self._named(parse(value, self.kind))
        if isinstance(value, type) and issubclass(value, self.base):
            return self._checked(self._reference(value), value, {})
        if isinstance(value, Configured) and isinstance(value, self.base):
            factory = type(value)
            fields = {name: getattr(value, name) for name in hyperparameters(factory)}
            return self._checked(self._reference(factory), factory, fields)
        raise UsageError(
            f"{self.kind} must be the name of one, such as {self.names()[0]!r}, not {value!r}"
        )

    def _named(self, call: Call) -> Component[T]:
        """The component that a text means which has been parsed."""
        factory = self.find(call.reference)
        reference = call.reference
        if ":" not in reference and "/" not in reference:  # as it is registered, or where it is
            reference = self._reference(factory)
        return self._checked(reference, factory, call.arguments)

    def find(self, reference: str) -> type[T]:
        """The class that a name, ``package.module:Class`` or ``path/to/file.py:Class`` means.

        Of a name without path the case of letters does not matter, as long as it means one class.

        Raises:
            UsageError: there is none, or it is no component of this kind.
        """
        module, separator, name = reference.rpartition(":")
        if separator:
            found = getattr(imported(module, reference), name, None)
            if found is None:
                hint = suggestion(name, self._defined_in(module, reference))
                raise UsageError(f"{self.kind} {reference!r}: {module} defines no {name!r}: {hint}")
        elif reference.endswith(".py"):
            classes = [f"{reference}:{name}" for name in self._defined_in(reference, reference)]
            raise UsageError(
                f"{self.kind} {reference!r} is a file"
                + (
                    f": name the class in it: {' or '.join(classes)}"
                    if classes
                    else f" that defines no subclass of {self.base.__name__}"
                )
            )
        else:
            name = self._spelled(reference)
            if name in self._plug_ins:
                ask(self._plug_ins[name].value, None)
                self._classes[name] = self._loaded(self._plug_ins[name])
            found = self._classes.get(name)
            library, _, rest = reference.partition("/")
            if found is None and library in self._libraries:
                found = self._libraries[library](rest)
            if found is None:
                parts = [part.strip() for part in reference.split(",")]
                if len(parts) > 1 and {*map(self._spelled, parts)} <= {*self.names()}:
                    hint = apart(parts)
                else:
                    hint = suggestion(reference, self.names(), self._meant(reference))
                raise UsageError(f"unknown {self.kind} {shown(reference)}: {hint}")
        if not (isinstance(found, type) and issubclass(found, self.base)):
            raise UsageError(f"{self.kind} {reference!r} {self._unsuitable(found, module)}")
        # What counts is the file that the path names; records have the digest of the class's own.
        if module.endswith(".py") and found.__module__ != imported(module, reference).__name__:
            raise UsageError(
                f"{self.kind} {reference!r}: {module} has {name} from {found.__module__}: name the "
                "file that defines it"
            )
        return found

    def _defined_in(self, module: str, reference: str) -> list[str]:
        """The names of the components of this kind that a file or module defines itself."""
        loaded = imported(module, reference)
        return [
            name
            for name, each in vars(loaded).items()
            if isinstance(each, type)
            and issubclass(each, self.base)
            and each.__module__ == loaded.__name__
            and not inspect.isabstract(each)
        ]

    def _unsuitable(self, found: object, module: str) -> str:
        """The end of a sentence about what a path leads to, which is no component of this kind."""
        package = self.base.__module__.partition(".")[0]
        base = self.base.__name__
        wanted = f"{self._home}.{base}" if package == __package__ else f"{package}'s {base}"
        pointer = f" (see `prunebench list examples {self._example}`)" if self._example else ""
        if not isinstance(found, type):
            made = type(found).__name__
            what = f"is {'a function' if inspect.isroutine(found) else f'an instance of {made}'}"
            if isinstance(found, self.base) and made in self._defined_in(module, module):
                return f"{what}: name the class, {module}:{made}"
            return f"{what}: name a class that derives from {wanted}{pointer}"
        alike = [each for each in found.__mro__ if each.__name__ == base]
        what = (
            f"derives from {alike[0].__module__.partition('.')[0]}'s {base}, and " if alike else ""
        )
        return f"{what}must be a subclass of {wanted}{pointer}"

    def _spelled(self, name: str) -> str:
        """The one name that differs from this in the case of letters alone, if there is one."""
        names = self.names()
        alike = [each for each in names if each.lower() == name.lower()]
        return alike[0] if len(alike) == 1 and name not in names else name

    def _meant(self, reference: str) -> Sequence[str]:
        """What an unknown name is elsewhere: in another library that we know, or another's word."""
        if called := self._elsewhere.get(reference.replace("_", "").lower()):
            return called
        found = []
        for library, find in self._libraries.items():
            try:
                find(reference)
            except UsageError:
                continue
            found.append(f"{library}/{reference}")
        return found

    def _checked(
        self, reference: str, factory: type[T], arguments: Mapping[str, Any]
    ) -> Component[T]:
        parameters = {
            name: parameter
            for name, parameter in hyperparameters(factory).items()
            if name not in self.given
        }
        built: dict[int, Component[Any]] = {}
        values = dict(arguments)
        for name in values.keys() & parameters.keys():
            place = f"{self.kind} {reference}: {name}"
            value = _with_parts(place, values[name], parameters[name], built)
            values[name] = _as_hinted(value, parameters[name].annotation)
        model = checker(factory, tuple(parameters))  # type: ignore[arg-type] # classes do hash
        try:
            checked = model.model_validate(values)
        except ValidationError as error:
            raise UsageError(f"{self.kind} {reference}: {sentence_of(error, model)}") from None
        changed = tuple(
            (name, mapped(getattr(checked, name), lambda part: _as_component(part, built)))
            for name, parameter in parameters.items()
            if getattr(checked, name) != parameter.default
        )
        for name, value in changed:
            if not is_literal(mapped(value, _without_component)):
                raise UsageError(
                    f"{self.kind} {reference}: {name}: {shown(value)} cannot be written into a "
                    "record: give numbers, texts, paths, members of an Enum, or components"
                )
        return Component(reference, factory, changed)

    def _reference(self, cls: type[T]) -> str:
        """How another process finds ``cls``: by its file if a user's file has it, else by its name.

        A class that is not registered has the path of its module.
        """
        self._load_home()
        module = sys.modules[cls.__module__]
        path = getattr(module, "__file__", None)
        if is_from_file(module.__name__):
            if path is None:
                raise UsageError(
                    f"{self.kind} {cls.__name__}: a class defined at a prompt or in a notebook "
                    "cannot be run again from its record; put it into a file"
                )
            return f"{path}:{cls.__qualname__}"
        registered = next((name for name, each in self._classes.items() if each is cls), None)
        return registered or f"{cls.__module__}:{cls.__qualname__}"

    def _load_home(self) -> None:
        importlib.import_module(self._home)

    @cached_property
    def _plug_ins(self) -> dict[str, EntryPoint]:
        """The entry points of installed distributions, by name; they are loaded when asked for."""
        points: dict[str, EntryPoint] = {}
        for point in entry_points(group=f"prunebench.{self.kinds}"):
            if point.name in points or point.name in self._classes:
                raise UsageError(
                    f"the installed plug-in {point.value} gives a {self.kind} called "
                    f"{point.name!r}, which exists already; uninstall it or rename the entry point"
                )
            points[point.name] = point
        return points

    def _loaded(self, point: EntryPoint) -> type[T]:
        try:
            loaded: type[T] = point.load()
        except (UsageError, KeyboardInterrupt):
            raise
        except BaseException as error:  # whatever a distribution raises as it is imported
            raise UsageError(
                f"the installed plug-in {point.value}, which gives the {self.kind} {point.name!r}, "
                f"cannot be loaded: {type(error).__name__}: {message_of(error)}"
            ) from error
        return loaded


def _inside(value: Any) -> list[Component[Any]]:
    """The components that an argument is or holds."""
    found: list[Component[Any]] = []
    mapped(value, lambda part: found.append(part) if isinstance(part, Component) else None)
    return found


def _created(value: Any) -> Any:
    """An argument, with instances in place of components."""
    return mapped(value, lambda part: part.create() if isinstance(part, Component) else part)


def _without_component(part: Any) -> Any:
    return None if isinstance(part, Component) else part


def _identified(part: Any) -> Any:
    return Verbatim(part.identity) if isinstance(part, Component) else part


def _with_parts(
    place: str, value: Any, parameter: Parameter, built: dict[int, Component[Any]]
) -> Any:
    """An argument with the components in it as instances, as its type hint wants them.

    Args:
        place: what the argument is called in a sentence.
        value: a value, the text of a component, or what was parsed of one.
        parameter: has the type hint.
        built: takes for the ``id`` of each instance the component that it was made of.
    """
    allowed = list(dict.fromkeys(_registries(parameter.annotation)))

    def instance(part: Any) -> Any:
        if isinstance(part, str) and allowed:
            part = parse(part, allowed[0].kind)
        if not isinstance(part, Call):
            return part
        if not allowed:
            raise UsageError(
                f"{place}: {part.text} is not allowed: give a number or a text in quotes"
            )
        component = _first_known(allowed, part)
        made = component.create()
        built[id(made)] = component
        return made

    return mapped(value, instance)


def _as_hinted(value: Any, hint: Any) -> Any:
    """A list or set as the tuple or frozenset that a type hint asks for, which have no notation."""
    if get_origin(hint) is Annotated:
        return _as_hinted(value, hint.__origin__)
    origins = {get_origin(each) or each for each in (hint, *get_args(hint))}
    for written_as, wanted in ((list, tuple), (set, frozenset)):
        if isinstance(value, written_as) and wanted in origins and written_as not in origins:
            return wanted(value)
    return value


def _as_component(part: Any, built: Mapping[int, Component[Any]]) -> Any:
    """The component of which an instance was made; what is none stays."""
    if id(part) in built:
        return built[id(part)]
    for registry in Registry._all:
        if isinstance(part, Configured) and isinstance(part, registry.base):
            return registry.component(part)
    return part


def _registries(hint: Any) -> Iterator[Registry[Any]]:
    """The registries of those components that a type hint speaks of, at any depth."""
    inner = get_args(hint)
    for each in inner:
        yield from _registries(each)
    if isinstance(hint, type) and not inner:
        yield from (each for each in Registry._all if issubclass(hint, each.base))


def _first_known(registries: Sequence[Registry[Any]], call: Call) -> Component[Any]:
    """The component that a call means in the first of some registries which knows its class."""
    for registry in registries[:-1]:
        try:
            registry.find(call.reference)
        except UsageError:
            continue
        return registry._named(call)
    return registries[-1]._named(call)
