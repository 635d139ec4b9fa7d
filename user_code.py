"""Code from outside prunebench: the user's files and modules, loaded, hashed, and asked about."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib.abc import SourceLoader
from pathlib import Path
from types import MappingProxyType, ModuleType

from .errors import UsageError, message_of

Admission = Callable[[str, str | None], None]
"""Is told of code from outside prunebench before it is run: its file or module, and the SHA-256 of
a file. It raises what is to be raised if that is not to be run."""

_PACKAGE = __name__.partition(".")[0]
_LOADED_FROM_FILE = "prunebench_file_"
_admission: ContextVar[Admission] = ContextVar("_admission", default=lambda code, digest: None)
_carried: ContextVar[Mapping[str, bytes]] = ContextVar("_carried", default=MappingProxyType({}))


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


@contextmanager
def carrying(files: Mapping[str, bytes]) -> Iterator[None]:
    """Have Python files, inside the block, hold what is given, as on the machine they are from.

    Args:
        files: contents by path, as components are written with it.
    """
    token = _carried.set(files)
    try:
        yield
    finally:
        _carried.reset(token)


def ask(code: str, digest: str | None) -> None:
    """Ask whoever admits code, if anybody does, before it is run; see :func:`admitting`."""
    _admission.get()(code, digest)


def is_from_file(module: str) -> bool:
    """Whether a module is a script or was loaded from a file by its path."""
    return module == "__main__" or module.startswith(_LOADED_FROM_FILE)


def source_of(module: str) -> str | None:
    """SHA-256 of the file of a module that is loaded; None for prunebench's own modules."""
    path = sys.modules[module].__file__
    return None if module.partition(".")[0] == _PACKAGE or not path else _digest(module, path)


def imported(module: str, reference: str) -> ModuleType:
    """The module named by a dotted path or by the path of a Python file."""
    try:
        if not module.endswith(".py"):
            if module.partition(".")[0] != _PACKAGE:
                ask(module, None)
            return importlib.import_module(module)
        return _from_file(module)
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
            + (
                "; name it by its import path, as package.module:Name"
                if _is_relative(error)
                else ""
            )
        ) from error


def _is_relative(error: BaseException) -> bool:
    """Whether a file asked for another of its package, of which it is none if loaded by a path."""
    return isinstance(error, ImportError) and "no known parent package" in str(error)


class _Contents(SourceLoader):
    """Runs the very bytes that were hashed: neither what came after them nor compiled code."""

    def __init__(self, path: str, content: bytes) -> None:
        self._path, self.content = path, content

    def get_filename(self, fullname: str) -> str:
        return self._path

    def get_data(self, path: str | bytes | memoryview) -> bytes:
        return self.content


def _from_file(written: str) -> ModuleType:
    path = Path(written).resolve()
    main = sys.modules["__main__"]
    if getattr(main, "__file__", None) and Path(str(main.__file__)).resolve() == path:
        return main  # loading a script a second time would make a second, unequal class
    carried = _carried.get()
    content = carried[written] if written in carried else path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    ask(str(path), digest)
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


@cache
def _digest(module: str, path: str) -> str:
    """SHA-256 of a module's file: of what was loaded from it, whatever becomes of the file."""
    loader = sys.modules[module].__loader__
    content = loader.content if isinstance(loader, _Contents) else Path(path).read_bytes()
    return hashlib.sha256(content).hexdigest()
