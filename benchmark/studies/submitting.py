"""Submitting: a folder to be published, made of a user's runs."""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ruamel.yaml import YAML

from ...errors import UsageError
from ...results import Record, as_text, leaderboard
from ...results.manifest import METHODS
from ...results.naming import with_labels
from ...results.publication import publish
from ...results.record_file import read_records
from ..experiment import Experiment
from ..grid import LISTS, grid, parse_yaml, read_labels
from .plan import relocated
from .published import Published
from .restoring import experiment_of
from .rules import Finding, validate
from .submission_rules import SUBMISSION, remarks


@dataclass(frozen=True)
class Submission:
    """What became of runs that are to be submitted.

    Attributes:
        folder: the folder; nothing is there where it was refused.
        records: how many records are in it.
        findings: why it is refused.
        remarks: what readers should know.
        table: the leaderboard, as text.
    """

    folder: Path
    records: int
    findings: list[Finding]
    remarks: list[str]
    table: str


@dataclass(frozen=True)
class Code:
    """What the authors say of the Python files that were run: under which licence, from where."""

    licence: str = ""
    source: str = ""


def submit(
    runs: Path, folder: Path, *, by: str, config: Path | None, code: Code, trust: bool
) -> Submission:
    """Make a folder that can be published of finished runs, unless it breaks a rule.

    Args:
        runs: the folder of records, or a file of them.
        folder: what to make, which must not be there.
        by: who reports it.
        config: the YAML file of the experiments; None derives one from the records.
        code: of the Python files from outside prunebench that were run.
        trust: whether these may be executed.

    Raises:
        UsageError: there are no runs, their Python files are not what was run or nobody says under
            which licence they are, or the folder is there already.
    """
    if folder.exists():
        raise UsageError(f"{folder} is there already: give another name, or remove it")
    records = list(read_records(runs))
    if not records:
        raise UsageError(f"there are no records in {runs}")
    files = _own_files(records)
    if files and not (code.licence and code.source):
        raise UsageError(
            f"{', '.join(map(str, files))} would be published with the results: give "
            "--code-licence and --code-source, such as MIT and the address of its repository"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent, prefix=".submission-") as temporary:
        made = Path(temporary) / folder.name
        _write(made, records, files, config, by=by, code=code, trust=trust)
        published = Published(made, trust)
        findings = validate(published, SUBMISSION)
        notes = [] if findings else list(remarks(published))
        table = as_text(with_labels(leaderboard(published.records), published.labels()))
        if not findings:
            made.rename(folder)
    return Submission(folder, len(records), findings, notes, table)


def _write(
    folder: Path,
    records: Sequence[Record],
    files: Mapping[str, str],
    config: Path | None,
    *,
    by: str,
    code: Code,
    trust: bool,
) -> None:
    folder.mkdir()
    for path, place in files.items():
        (folder / place).parent.mkdir(exist_ok=True)
        shutil.copyfile(path, folder / place)

    def moved(path: str) -> str:
        return files.get(path, path)

    text = _configuration(records, trust) if config is None else config.read_bytes()
    if files:
        text = _as_yaml(relocated(parse_yaml(text.decode()), moved))
    labels = {} if config is None else read_labels(config)
    placed = [
        each.model_copy(update={"experiment": relocated(each.experiment, moved)})
        for each in records
    ]
    said: dict[str, Any] = {"label": "self-reported", "by": by}
    if files:
        said |= {"code_licence": code.licence, "code_source": code.source}
    publish(placed, labels, folder, text, **said)


def _own_files(records: Sequence[Record]) -> dict[str, str]:
    """The Python files that were run, each with its place in the folder."""
    places: dict[str, str] = {}
    for record in records:
        sources = set(record.experiment.get("sources", {}).values())
        relocated(record.experiment, _noting(places, record.id, sources))
        found = {_digest(Path(path)) for path in places}
        if sources - found:
            raise UsageError(
                f"the run {record.id} has a component of an installed package that is no part of "
                "prunebench: run it from a file of its own, so that others can"
            )
    return places


def _noting(places: dict[str, str], run: str, sources: set[str]) -> Callable[[str], str]:
    """A function that notes the path of each file that was run, and gives it back."""

    def note(path: str) -> str:
        if not path.endswith(".py"):
            return path
        if not Path(path).is_file():
            raise UsageError(f"there is no {path}, which the run {run} names: go where it was run")
        digest = _digest(Path(path))
        if digest not in sources:
            raise UsageError(f"{path} is not what was run: it has changed since the run {run}")
        places[path] = f"{METHODS}/{Path(path).stem}-{digest[:8]}.py"
        return path

    return note


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _configuration(records: Sequence[Record], trust: bool) -> bytes:
    """The YAML of a grid whose cells are those of the records.

    Raises:
        UsageError: there is none.
    """
    experiments = [experiment_of(record, trust=trust) for record in records]
    settings = _axes(experiments)
    cells = set()
    with suppress(UsageError):  # as of targets of two kinds
        cells = {each.id for each in grid(**settings)} if settings else set()
    if cells != {each.id for each in experiments}:
        raise UsageError(
            f"the {len(records)} runs are not all cells of one grid: give its YAML file by "
            "--config, or keep the runs of each comparison in a folder of their own"
        )
    return _as_yaml(settings)


def _axes(experiments: Sequence[Experiment]) -> dict[str, Any]:
    """The values of each setting that is not at its default everywhere; none if it is no grid."""
    plain = [each.model_dump(mode="json") for each in experiments]
    short = [each.canonical() for each in experiments]
    settings: dict[str, Any] = {}
    for name in dict.fromkeys(name for each in short for name in each):
        default = not all(name in each for each in short)
        values: list[Any] = []
        for each in plain if default else short:
            if each[name] not in values:
                values.append(each[name])
        if name in LISTS and len(values) > 1:
            return {}
        numbers = all(isinstance(value, int | float) for value in values)
        ordered = sorted(values) if numbers else values
        settings[name] = ordered[0] if len(ordered) == 1 else ordered
    return settings


def _as_yaml(settings: Mapping[str, Any]) -> bytes:
    stream = io.BytesIO()
    YAML().dump(dict(settings), stream)
    return stream.getvalue()
