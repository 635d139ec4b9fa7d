"""Names of a package that are loaded when they are first used: importing it then costs nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def lazily(package: str, homes: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """The ``__getattr__`` of a package whose names live in modules that are loaded at their use.

    No name may be that of a module of the package itself, which would take its place.

    Args:
        package: the package's name.
        homes: module, relative to the package → the names that it has.
    """
    places = {name: home for home, names in homes.items() for name in names}

    def attribute(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(places[name], package), name)
        setattr(sys.modules[package], name, value)
        return value

    return attribute
