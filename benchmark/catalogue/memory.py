"""What there was to list the last time, kept in a file, since finding out takes importing torch.

It holds as long as the source does that it was made of. Where plug-ins are installed nothing is
remembered: their source may be anywhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import entry_points

from ...errors import UsageError
from ...folders import cache_folder, source_digest

Asked = tuple[str | None, str | None]
"""A kind of components, if it is one, and the name of one of them, if it is that."""

_SOURCES = ("*.py", "benchmark/catalogue/*.py", "datasets/**/*.py", "metrics/**/*.py",
            "models/**/*.py", "strategies/**/*.py", "experiments/*.yaml",
            "examples/*.py", "examples/*.sh")  # fmt: skip


def answers() -> Mapping[Asked, str]:
    """The texts that ``prunebench list`` knows by heart, by what it is asked."""
    if any(group.startswith("prunebench.") for group in entry_points().groups):
        return {}
    path, source = cache_folder() / "catalogue.json", source_digest(*_SOURCES)
    with suppress(OSError, ValueError, LookupError, TypeError):  # it is not there, or is damaged
        known = json.loads(path.read_bytes())
        if known["source"] == source:
            return {(kind, name): answer for kind, name, answer in known["answers"]}
    from ...results import write_atomically
    from .components import all_answers

    found = all_answers()
    with suppress(OSError, UsageError):  # it is only slower without
        rows = [(*asked, answer) for asked, answer in found.items()]
        write_atomically(path, json.dumps({"source": source, "answers": rows}).encode())
    return found
