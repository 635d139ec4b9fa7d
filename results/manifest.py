"""The manifest of a published folder: digests of its files, what its records were made with, and
whose results they are.

Whoever publishes says where results come from: the maintainers ran them, or somebody reports them.
``prunebench verify --record`` adds which cells were run again, by whom, where, and what came of it;
that holds as long as the records are those that were verified.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import UsageError
from .files import write_atomically
from .record import Record
from .record_file import RECORDS_FILE

MANIFEST_FILE = "manifest.json"
"""What it is called in a published folder."""

CONFIG_FILE = "experiments.yaml"
"""What the configuration of the experiments is called there."""

METHODS = "methods"
"""The folder in a published one of Python files from outside prunebench that were run."""

Label = Literal["self-reported", "maintainer-run"]

_CONDITIONS = ("processor", "instructions", "gpu", "torch", "numpy", "python", "threads")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Verification(_Frozen):
    """Cells that somebody has run again.

    ``cells`` has what came of each, by the id of its record: ``identical`` bits, or ``equal``
    within the tolerance. ``records`` is the SHA-256 of the file of records that was verified.
    """

    date: str
    by: str
    processor: str
    torch: str
    commit: str | None
    cells: Mapping[str, Literal["identical", "equal"]]
    records: str


class Manifest(_Frozen):
    """What a published folder says of itself.

    ``files`` has the SHA-256 of each file by its name, ``made`` what the records say in sum
    (:func:`summary`), and ``code_licence`` and ``code_source`` the licence of the Python files in
    the folder and where they come from.
    """

    version: Literal[1] = 1
    label: Label
    by: str
    code_licence: str = ""
    code_source: str = ""
    made: Mapping[str, Mapping[str, int]]
    files: Mapping[str, str]
    verifications: tuple[Verification, ...] = ()

    def valid(self) -> tuple[Verification, ...]:
        """Those verifications that are of the records that are there now."""
        now = self.files.get(RECORDS_FILE)
        return tuple(each for each in self.verifications if each.records == now)

    def provenance(self, record_id: str) -> str:
        """Where the result of a cell comes from: ``verified``, or the folder's label."""
        ran = any(record_id in each.cells for each in self.valid())
        return "verified" if ran else self.label


def provenance(folder: str | Path) -> str:
    """Where the results in a published folder come from, in a sentence; empty where nobody says.

    >>> provenance("results/published/all-strategies")
    'Run by the maintainers.'
    """
    path = Path(folder) / MANIFEST_FILE
    if not path.is_file():
        return ""
    manifest = read_manifest(path.parent)
    ours = manifest.label == "maintainer-run"
    first = f"Run by {manifest.by}." if ours else f"Reported by {manifest.by} (self-reported)."
    return " ".join([first, *map(_verified, manifest.valid())])


def _verified(found: Verification) -> str:
    """A verification in a sentence."""
    identical = sum(verdict == "identical" for verdict in found.cells.values())
    count = len(found.cells)
    cells = f"{count} cell{'s' * (count > 1)} run again"
    bits = "with identical bits" if identical == count else f"{identical} with identical bits"
    commit = f", commit {found.commit}" if found.commit else ""
    return (
        f"Verified by {found.by} on {found.date}: {cells}, {bits} "
        f"({found.processor}, torch {found.torch}{commit})."
    )


def read_manifest(folder: Path) -> Manifest:
    """The manifest in a published folder.

    Raises:
        UsageError: there is none, or it cannot be read.
    """
    path = folder / MANIFEST_FILE
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except OSError:
        raise UsageError(f"{folder} has no {MANIFEST_FILE}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise UsageError(f"{path} is no manifest ({place}: {first['msg']})") from None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write a manifest into its folder.

    Raises:
        OSError: it could not be written; an earlier one is as it was.
    """
    write_atomically(folder / MANIFEST_FILE, manifest.model_dump_json(indent=1).encode() + b"\n")


def describe(folder: Path, records: Iterable[Record], **said: Any) -> Manifest:
    """The manifest of a folder as it is now.

    What an earlier one says that does not follow from files and records stays: the label, by whom,
    licence, source, and those verifications that are of these records.

    Args:
        folder: what is published.
        records: those in it.
        said: what its publisher says instead: fields of :class:`Manifest`.
    """
    known: dict[str, Any] = {"label": "maintainer-run", "by": "the maintainers"}
    if (folder / MANIFEST_FILE).is_file():
        earlier = read_manifest(folder)
        kept = ("label", "by", "code_licence", "code_source", "verifications")
        known = {name: getattr(earlier, name) for name in kept}
    manifest = Manifest(**{**known, **said}, made=summary(records), files=digests(folder))
    return manifest.model_copy(update={"verifications": manifest.valid()})


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of each file in a published folder but its manifest, by its path in it."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / MANIFEST_FILE and "__pycache__" not in path.parts
    }


def summary(records: Iterable[Record]) -> dict[str, dict[str, int]]:
    """How many records are of each commit, environment, data and dense network.

    The digests of data and of dense networks are counted only where records have them.
    """
    records = list(records)
    return {name: _counted(records, said) for name, said in _SAID.items()}


def _counted(records: Iterable[Record], said: Callable[[Record], str]) -> dict[str, int]:
    return dict(sorted(Counter(text for each in records if (text := said(each))).items()))


def conditions(record: Record) -> dict[str, str]:
    """What the bits of a result depend on beside the experiment, as far as the record has it."""
    return {
        name: str(record.environment[name])
        for name in _CONDITIONS
        if record.environment.get(name) is not None
    }


def _commit(record: Record) -> str:
    commit = record.environment.get("commit")
    return str(commit or f"prunebench {record.environment.get('prunebench')}, installed")


def _environment(record: Record) -> str:
    return ", ".join(f"{name} {value}" for name, value in conditions(record).items())


def _data(record: Record) -> str:
    digest = record.digests.get("data")
    return f"{record.experiment['dataset']} {digest}" if digest else ""


def _dense(record: Record) -> str:
    digest = record.digests.get("dense")
    model, seed = record.experiment["model"], record.experiment["seed"]
    return f"{model} seed {seed} {digest}" if digest else ""


_SAID: Mapping[str, Callable[[Record], str]] = {
    "commits": _commit,
    "environments": _environment,
    "data": _data,
    "dense": _dense,
}
