"""The register of published numbers: what papers report, beside what our published records give.

``literature.yaml`` has the papers and, row by row, what their tables say. What a number came to
here stands nowhere in it: that is read from the records, and so the verdict is computed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ..errors import UsageError
from .record import Record
from .record_file import RECORDS_FILE, read_records
from .statistics import describe
from .targets import TARGETS

REGISTER = Path(__file__).with_name("literature.yaml")
"""The register that comes with prunebench."""

Verdict = Literal["reproduced", "missed", "set out", "cannot be run here"]
"""What came of a published number: the first two by its tolerance, where there are records of it;
``set out`` where there is an experiment and none of its records are published."""

DENSE = "dense"
"""What stands for a target where a number is of the network before pruning."""

UNITS: dict[str, Callable[[float, float], float]] = {
    "accuracy %": lambda value, dense: 100 * value,
    "error %": lambda value, dense: 100 - 100 * value,
    "change of accuracy, points": lambda value, dense: 100 * (value - dense),
}
"""Unit of a published number → that number, of a network's accuracy and of that before pruning."""

_KINDS = {kind.name: kind for kind in TARGETS}
_Text = Annotated[str, Field(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Paper(_Strict):
    """Where numbers were published."""

    title: _Text
    authors: _Text
    year: Annotated[int, Field(ge=1980)]
    url: _Text


class PublishedNumber(_Strict):
    """One published number.

    Attributes:
        at: the target as the paper gives it, or ``dense``, or whatever else it stands under.
        value: the number.
        spread: its standard deviation, where the paper gives one.
        ours: the target in our experiment, where that is written otherwise.
        tolerance: how far ours may be from it, where that is not as in the rest of the row.
        miss: why it was missed, where the reason is not that of the rest of the row.
    """

    at: float | str
    value: float
    spread: float | None = None
    ours: float | None = None
    tolerance: float | None = None
    miss: str = ""


class Row(_Strict):
    """Numbers that stand in one row of a table, or on one line of a figure.

    Attributes:
        paper: key of the paper.
        table: where in it.
        read: where we read it; empty where it was written down by heart and not looked up.
        target: what numbers stand under, such as ``sparsity``.
        unit: their unit, one of :data:`UNITS` where there is an experiment.
        experiment: name of our YAML file and of the folder of its records; empty where there is
            none.
        strategy: which of the experiment's strategies.
        where: further settings of the experiment by which its records are chosen.
        tolerance: how far our mean may be from the number.
        because: the reason for the tolerance.
        miss: why numbers were missed, where they were.
        cannot: why there is no experiment.
    """

    paper: str
    table: _Text
    read: str = ""
    network: _Text
    data: _Text
    method: _Text
    target: _Text
    unit: _Text
    cells: Annotated[tuple[PublishedNumber, ...], Field(min_length=1)]
    experiment: str = ""
    strategy: str = ""
    where: Mapping[str, str | float | int | None] = {}
    tolerance: float | None = None
    because: str = ""
    miss: str = ""
    cannot: str = ""

    @model_validator(mode="after")
    def _is_run_or_not(self) -> Row:
        if bool(self.experiment) == bool(self.cannot):
            raise ValueError(f"{self}: give either an experiment or why there cannot be one")
        if len({cell.at for cell in self.cells}) < len(self.cells):
            raise ValueError(f"{self}: two numbers stand under the same target")
        if self.experiment:
            self._can_be_compared()
        return self

    def _can_be_compared(self) -> None:
        if self.unit not in UNITS or self.target not in _KINDS:
            raise ValueError(f"{self}: records have no {self.unit} at a {self.target}")
        if not self.because or any(self.tolerance_of(cell) is None for cell in self.cells):
            raise ValueError(f"{self}: a tolerance and the reason for it are needed")
        if not self.strategy and any(cell.at != DENSE for cell in self.cells):
            raise ValueError(f"{self}: which strategy of {self.experiment} is it?")

    def __str__(self) -> str:
        """Where it stands, for people."""
        return f"{self.table} · {self.network} on {self.data} · {self.method} · {self.unit}"

    def tolerance_of(self, cell: PublishedNumber) -> float | None:
        """How far our mean may be from a number."""
        return self.tolerance if cell.tolerance is None else cell.tolerance

    def values(self, cell: PublishedNumber, records: Iterable[Record]) -> list[float]:
        """What a number is in the records that it concerns, a value for each seed.

        Raises:
            UsageError: the row says too little to choose among them.
        """
        by_seed: dict[int, float] = {}
        for record in records:
            if not record.finished or not self._concerns(cell, record.experiment):
                continue
            value = self._number(cell, record)
            if by_seed.setdefault(int(record.experiment["seed"]), value) != value:
                raise UsageError(f"{self}: several records of {self.experiment} fit {cell.at}")
        return [value for _, value in sorted(by_seed.items())]

    def _number(self, cell: PublishedNumber, record: Record) -> float:
        dense, final = record.dense.get("top1"), record.final.get("top1")
        if dense is None or final is None:
            return math.nan
        return UNITS[self.unit](dense if cell.at == DENSE else final, dense)

    def _concerns(self, cell: PublishedNumber, experiment: Mapping[str, object]) -> bool:
        if self.strategy and experiment["strategy"] != self.strategy:
            return False
        if any(experiment.get(name) != value for name, value in self.where.items()):
            return False
        wanted = cell.at if cell.ours is None else cell.ours
        return cell.at == DENSE or experiment.get(self.target) == wanted


class Register(_Strict):
    """All that is registered."""

    papers: Mapping[str, Paper]
    rows: tuple[Row, ...]

    @model_validator(mode="after")
    def _papers_are_known(self) -> Register:
        if unknown := {row.paper for row in self.rows} - self.papers.keys():
            raise ValueError(f"papers has no {', '.join(sorted(unknown))}")
        return self


@dataclass(frozen=True)
class Reproduction:
    """A published number beside ours.

    Attributes:
        paper: where it was published.
        row: the row in which it stands.
        cell: the number itself.
        values: what it came to here, for each seed; empty where there are no records.
    """

    paper: Paper
    row: Row
    cell: PublishedNumber
    values: Sequence[float]

    @property
    def difference(self) -> float:
        """Our mean minus the published number; NaN where there are no records."""
        return describe(self.values).mean - self.cell.value

    @property
    def verdict(self) -> Verdict:
        """What came of it."""
        if self.row.cannot:
            return "cannot be run here"
        if not self.values:
            return "set out"
        tolerance = self.row.tolerance_of(self.cell)
        assert tolerance is not None  # a row with an experiment has one
        return "reproduced" if abs(self.difference) <= tolerance + 1e-9 else "missed"

    @property
    def explanation(self) -> str:
        """Why it was missed or cannot be run; empty where neither is so."""
        if self.verdict == "missed":
            return self.cell.miss or self.row.miss
        return self.row.cannot

    @property
    def at(self) -> str:
        """The target in words."""
        kind = _KINDS.get(self.row.target)
        if kind is None or isinstance(self.cell.at, str):
            return f"{self.cell.at:g}" if isinstance(self.cell.at, float) else self.cell.at
        return kind.written(self.cell.at)


LITERATURE_COLUMNS: dict[str, str] = {
    "paper": "Key of the paper.",
    "title": "Its title.",
    "authors": "Its authors.",
    "year": "When it was published.",
    "url": "Where it is.",
    "table": "Table, figure or section that has the number.",
    "read": "Where it was read; empty where it was written down by heart and not looked up.",
    "network": "Network, as the paper calls it.",
    "data": "Data set, as the paper calls it.",
    "method": "Method, as the paper calls it.",
    "target": "What is said of how far was pruned: `sparsity`, `compression`, …",
    "at": "How far was pruned, or `dense`.",
    "unit": "Unit of the numbers.",
    "published": "The published number.",
    "spread": "Its standard deviation, where the paper gives one.",
    "experiment": "Our experiment: a YAML file, and the folder of its published records.",
    "strategy": "Which of its strategies.",
    "ours_mean": "Mean over seeds of what it came to here; empty where no records are published.",
    "ours_std": "Sample standard deviation over seeds; empty for one seed.",
    "seeds": "Number of seeds.",
    "difference": "Our mean minus the published number.",
    "tolerance": "How far apart they may be.",
    "because": "The reason for the tolerance.",
    "verdict": "`reproduced`, `missed`, `set out` (an experiment without published records) or "
    "`cannot be run here`.",
    "explanation": "Why it was missed or cannot be run.",
}
"""Column → definition, in the order of the table."""


def read_register(path: Path = REGISTER) -> Register:
    """The register in a YAML file.

    Raises:
        UsageError: there is none, or what is in it is no register.
    """
    try:
        return Register.model_validate(YAML(typ="safe", pure=True).load(path))
    except OSError as error:
        raise UsageError(f"cannot read the register {path}: {error.strerror}") from None
    except (YAMLError, ValidationError) as error:
        raise UsageError(f"{path} is no register of published numbers: {error}") from None


def compared(register: Register, published: Path) -> list[Reproduction]:
    """Every published number beside ours, in the order of the register.

    Args:
        register: what was published.
        published: the folder of our published comparisons.

    Raises:
        UsageError: records cannot be read, or a row says too little to choose among them.
    """
    records = {
        name: list(_records(published / name))
        for name in dict.fromkeys(row.experiment for row in register.rows if row.experiment)
    }
    return [
        Reproduction(
            register.papers[row.paper], row, cell, row.values(cell, records.get(row.experiment, ()))
        )
        for row in register.rows
        for cell in row.cells
    ]


def _records(folder: Path) -> Iterator[Record]:
    path = folder / RECORDS_FILE
    return read_records(path) if path.is_file() else iter(())


def literature_table(reproductions: Iterable[Reproduction]) -> pd.DataFrame:
    """A row for each published number, with the columns of :data:`LITERATURE_COLUMNS`."""
    return pd.DataFrame([_line(each) for each in reproductions], columns=list(LITERATURE_COLUMNS))


def _line(each: Reproduction) -> dict[str, object]:
    ours = describe(each.values)
    return {
        **each.paper.model_dump(),
        **each.row.model_dump(include=set(LITERATURE_COLUMNS)),
        "at": each.at,
        "published": each.cell.value,
        "spread": each.cell.spread,
        "ours_mean": ours.mean,
        "ours_std": ours.std,
        "seeds": len(each.values),
        "difference": each.difference,
        "tolerance": each.row.tolerance_of(each.cell),
        "verdict": each.verdict,
        "explanation": each.explanation,
    }
