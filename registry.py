"""How components are named, found, configured and written down.

A *component* is a class that an experiment names: a strategy, an allocation, a model, a data set,
a metric. It is written the same way everywhere (command line, YAML, records, CSV) as a call with
the defaults left out: ``GlobalMagnitude``, ``SNIP(batches=4)``,
``GlobalMagnitude(allocation=Global(minimum=1))``, ``mymethod.py:MyScore(alpha=2)``.
Such a text is parsed, never evaluated, and its values are checked against the type hints of the
class.

Each kind of component has one :class:`Registry`, with three ways in: the ``register`` decorator,
an import path (``package.module:Class`` or ``path/to/file.py:Class``), and an entry point of the
group ``prunebench.<kinds>`` in an installed distribution.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, is_dataclass
from functools import cache, cached_property
from importlib.abc import SourceLoader
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, ClassVar, Generic, TypeVar, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from .errors import UsageError, message_of, sentence_of, shown, suggestion

T = TypeVar("T")

Admission = Callable[[str, str | None], None]
"""Is told of code from outside prunebench before it is run: its file or module, and the SHA-256 of
a file. It raises what is to be raised if that is not to be run."""

_PACKAGE = __name__.rpartition(".")[0]


_admission: ContextVar[Admission] = ContextVar("_admission", default=lambda code, digest: None)


@contextmanager
def admitting(admission: Admission) -> Iterator[None]:
    """Have ``admission`` asked, inside the block, before code from outside prunebench is run.

    It is what plug-ins, import paths and Python files have; else all that is named is run.
    """
    token = _admission.set(admission)
    try:
        yield
    finally:
        _admission.reset(token)


@dataclass(frozen=True)
class Parameter:
    """One hyperparameter of a component: its name, its type hint, its default."""

    name: str
    annotation: Any
    default: Any

    def __str__(self) -> str:
        default = "" if self.default is inspect.Parameter.empty else f" = {self.default!r}"
        return f"{self.name}: {_hint_as_text(self.annotation)}{default}"


def _hint_as_text(hint: Any) -> str:
    """A type hint for people: without what pydantic is told beside it."""
    if get_origin(hint) is Annotated:
        return _hint_as_text(hint.__origin__)
    if hint is ...:
        return "..."
    if arguments := get_args(hint):
        inner = ", ".join(map(_hint_as_text, arguments))
        return f"{getattr(hint, '__name__', 'Union')}[{inner}]"
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
    return _written(type(component).__name__, changed)


def _written(reference: str, arguments: Mapping[str, Any]) -> str:
    inner = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    return f"{reference}({inner})" if inner else reference


@dataclass(frozen=True)
class Component(Generic[T]):
    """A class chosen by name, with those of its arguments that differ from the defaults."""

    reference: str
    factory: type[T]
    arguments: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        return _written(self.reference, dict(self.arguments))

    def create(self, **given: Any) -> T:
        """A new instance; ``given`` is passed where the class takes it and was not configured.

        Raises:
            UsageError: the class does not take these arguments, or fails on them.
        """
        accepted = inspect.signature(self.factory).parameters
        offered = {name: value for name, value in given.items() if name in accepted}
        try:
            return self.factory(**{**offered, **dict(self.arguments)})
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

        Editing a method makes it another method, but not in a process that has loaded it before.
        """
        module = sys.modules[self.factory.__module__]
        if module.__name__.split(".")[0] == _PACKAGE.split(".")[0] or not module.__file__:
            return None
        return _digest(module.__name__, module.__file__)

    @property
    def identity(self) -> str:
        """The component as it counts in an identity: with the digest of its source, if it has one.

        Moving the file changes nothing, so that of a path only the class's name stays.
        """
        by_contents = getattr(self.factory, "identity_of", None)
        if by_contents is not None:  # it is made from a file
            return str(by_contents(dict(self.arguments)))
        if self.source is None:
            return str(self)
        name = self.reference.rpartition(":")[2]
        return f"{_written(name, dict(self.arguments))}@{self.source}"


class Registry(Generic[T]):
    """The components of one kind, by name.

    ``home`` is the package of prunebench whose import registers our own; it is imported when a
    name is first looked up. ``given`` names the arguments that the benchmark fills in (a model's
    ``classes``), which are therefore no hyperparameters. ``elsewhere`` has what others call ours,
    in small letters without underscores.
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
    ) -> None:
        self.kind, self.kinds, self.base = kind, kinds, base
        self.given = frozenset(given)
        self._elsewhere = elsewhere or {}
        self._home = home
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
            reference, arguments = _parse(value, self.kind)
            return self._checked(reference, self.find(reference), arguments)
        if isinstance(value, type) and issubclass(value, self.base):
            return self._checked(self._reference(value), value, {})
        if isinstance(value, Configured) and isinstance(value, self.base):
            factory = type(value)
            fields = {name: getattr(value, name) for name in hyperparameters(factory)}
            return self._checked(self._reference(factory), factory, fields)
        raise UsageError(
            f"{self.kind} must be the name of one, such as {self.names()[0]!r}, not {value!r}"
        )

    def find(self, reference: str) -> type[T]:
        """The class that a name, ``package.module:Class`` or ``path/to/file.py:Class`` means.

        Raises:
            UsageError: there is none, or it is no component of this kind.
        """
        module, separator, name = reference.rpartition(":")
        if separator:
            found = getattr(_imported(module, reference), name, None)
            if found is None:
                raise UsageError(f"{self.kind} {reference!r}: {module} defines no {name!r}")
        else:
            self._load_home()
            if reference in self._plug_ins:
                _admission.get()(self._plug_ins[reference].value, None)
                self._classes[reference] = self._plug_ins[reference].load()
            found = self._classes.get(reference)
            library, _, rest = reference.partition("/")
            if found is None and library in self._libraries:
                found = self._libraries[library](rest)
            if found is None:
                hint = suggestion(reference, self.names(), self._meant(reference))
                raise UsageError(f"unknown {self.kind} {shown(reference)}: {hint}")
        if not (isinstance(found, type) and issubclass(found, self.base)):
            raise UsageError(
                f"{self.kind} {reference!r} must be a subclass of {self.base.__name__}"
            )
        return found

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
        values = {
            name: self._nested(reference, name, value, parameters.get(name))
            for name, value in arguments.items()
        }
        checker = _checker(factory, tuple(parameters))  # type: ignore[arg-type] # classes do hash
        try:
            checked = checker.model_validate(values)
        except ValidationError as error:
            raise UsageError(f"{self.kind} {reference}: {sentence_of(error, checker)}") from None
        changed = tuple(
            (name, getattr(checked, name))
            for name, parameter in parameters.items()
            if getattr(checked, name) != parameter.default
        )
        return Component(reference, factory, changed)

    def _nested(self, reference: str, name: str, value: Any, parameter: Parameter | None) -> Any:
        """An argument's value: a component written inside another is built, all else stays."""
        if not isinstance(value, _Call) or parameter is None:
            return value
        for registry in Registry._all:
            hint = parameter.annotation
            # Python 3.10 takes tuple[int, ...] for a type.
            if isinstance(hint, type) and not get_origin(hint) and issubclass(hint, registry.base):
                return registry.component(value.text).create()
        raise UsageError(
            f"{self.kind} {reference}: {name}: {value.text} is not allowed: "
            "give a number or a text in quotes"
        )

    def _reference(self, cls: type[T]) -> str:
        """How another process finds ``cls``: its name if registered, else a path."""
        self._load_home()
        if self._classes.get(cls.__name__) is cls:
            return cls.__name__
        module = sys.modules[cls.__module__]
        path = getattr(module, "__file__", None)
        if module.__name__ == "__main__" or module.__name__.startswith(_LOADED_FROM_FILE):
            if path is None:
                raise UsageError(
                    f"{self.kind} {cls.__name__}: a class defined at a prompt or in a notebook "
                    "cannot be run again from its record; put it into a file"
                )
            return f"{path}:{cls.__qualname__}"
        return f"{cls.__module__}:{cls.__qualname__}"

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


def hyperparameters(factory: type) -> dict[str, Parameter]:
    """The keyword arguments of a component class, in order, with their type hints."""
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
    return {
        name: Parameter(name, hints.get(name, Any), parameter.default)
        for name, parameter in inspect.signature(factory).parameters.items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }


@cache
def _checker(factory: type[Any], names: tuple[str, ...]) -> type[BaseModel]:
    """A pydantic model that checks the named arguments of ``factory`` against its type hints."""
    fields: dict[str, Any] = {
        name: (
            parameter.annotation,
            ... if parameter.default is inspect.Parameter.empty else parameter.default,
        )
        for name, parameter in hyperparameters(factory).items()
        if name in names
    }
    config = ConfigDict(
        extra="forbid", strict=True, arbitrary_types_allowed=True, protected_namespaces=()
    )
    return create_model(factory.__name__, __config__=config, **fields)


@cache
def _digest(module: str, path: str) -> str:
    """SHA-256 of a module's file: of what was loaded from it, whatever becomes of the file."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


@dataclass(frozen=True)
class _Call:
    """A component written inside another one's arguments."""

    text: str


def _parse(text: str, kind: str) -> tuple[str, dict[str, Any]]:
    """Split ``Name(argument=value, ...)`` into the name and the values, evaluating nothing."""
    name, opening, rest = text.strip().partition("(")
    name = name.strip()
    problem = f"cannot read the {kind} {shown(text)}: write it as Name or Name(argument=value, ...)"
    if not name or ")" in name or (opening and not rest.endswith(")")):
        raise UsageError(problem)
    try:
        call = ast.parse(f"call({rest[:-1]})", mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
            raise ValueError
        arguments = {item.arg: _literal(item.value) for item in call.keywords if item.arg}
        if len(arguments) < len(call.keywords):  # an argument given twice, or **unpacked
            raise ValueError
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise UsageError(problem) from None
    return name, arguments


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Name | ast.Call):
        return _Call(ast.unparse(node))
    return ast.literal_eval(node)


_LOADED_FROM_FILE = "prunebench_file_"


def _imported(module: str, reference: str) -> ModuleType:
    """The module named by a dotted path or by the path of a Python file."""
    try:
        if not module.endswith(".py"):
            if module.partition(".")[0] != _PACKAGE.partition(".")[0]:
                _admission.get()(module, None)
            return importlib.import_module(module)
        return _from_file(Path(module).resolve())
    except FileNotFoundError:
        raise UsageError(f"cannot load {reference!r}: there is no file {module!r}") from None
    except UsageError:
        raise
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever a user's file raises as it is imported
        raise UsageError(
            f"cannot load {reference!r}: importing {module} failed with "
            f"{type(error).__name__}: {message_of(error)}"
        ) from error


class _Contents(SourceLoader):
    """Runs the very bytes that were hashed: neither what came after them nor compiled code."""

    def __init__(self, path: str, content: bytes) -> None:
        self._path, self._content = path, content

    def get_filename(self, fullname: str) -> str:
        return self._path

    def get_data(self, path: str | bytes | memoryview) -> bytes:
        return self._content


def _from_file(path: Path) -> ModuleType:
    main = sys.modules["__main__"]
    if getattr(main, "__file__", None) and Path(str(main.__file__)).resolve() == path:
        return main  # loading a script a second time would make a second, unequal class
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    _admission.get()(str(path), digest)
    name = _LOADED_FROM_FILE + digest[:16]
    if name not in sys.modules:
        loader = _Contents(str(path), content)
        spec = importlib.util.spec_from_file_location(name, path, loader=loader)
        assert spec is not None
        assert spec.loader is not None  # it has one: the path ends in .py
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses look their module up while it is being run
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]
