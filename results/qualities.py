"""Metrics of quality in records and tables: what they are, and by which of them rows are compared.

Rows are compared by a task's primary metric, and by each that was chosen beside the task's own. Of
prunebench's own metrics the names say enough; of others a record has a description, and a table
the columns of :data:`DESCRIPTION_COLUMNS`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..quality import Quality, chosen_of_ours, known, titled

if TYPE_CHECKING:
    import pandas as pd

TITLE_COLUMNS: dict[str, str] = {
    "<quality>_title": "What people call the quality metric, where it is none of prunebench's own; "
    "empty where rows are not compared by it.",
    "<quality>_unit": "Its unit, where it is none of prunebench's own; `%` where values are "
    "fractions, which people read in percent.",
}
"""Column → definition, of what a table says of metrics whose names say too little."""

DESCRIPTION_COLUMNS: dict[str, str] = {
    **TITLE_COLUMNS,
    "<quality>_better": "Whether a `higher` or a `lower` value of it is better, where it is none "
    "of prunebench's own.",
}
"""The same with the direction, which some tables say of all metrics."""

_TITLE = "_title"


def descriptions(own: Mapping[str, Quality], chosen: Mapping[str, Quality]) -> dict[str, Quality]:
    """Those metrics by which rows are compared and whose name says too little.

    Args:
        own: the task's own, the primary one first.
        chosen: those that were chosen beside them.
    """
    primary = next(iter(own))
    said = {**chosen_of_ours(primary), primary: titled(primary, own[primary].better)}
    compared = {primary: own[primary], **chosen}
    return {name: quality for name, quality in compared.items() if said.get(name) != quality}


def description_columns(name: str) -> list[str]:
    """The columns that describe a metric."""
    return [column.replace("<quality>", name) for column in DESCRIPTION_COLUMNS]


def description(name: str, quality: Quality) -> dict[str, str]:
    """What stands in the columns that describe a metric."""
    values = (quality.title, quality.unit, quality.better)
    return dict(zip(description_columns(name), values, strict=True))


def titles(name: str, quality: Quality) -> dict[str, str]:
    """The same for a table that has no column of this name for the direction."""
    cells = description(name, quality)
    return {column: cells[column] for column in expanded(TITLE_COLUMNS, [name], [name])}


def expanded(
    columns: Collection[str], qualities: Iterable[str], described: Collection[str]
) -> list[str]:
    """Columns with ``<quality>`` in their names once for each metric.

    Those of titles and units are there for metrics that are ``described`` alone.
    """
    return [
        column.replace("<quality>", name)
        for name in qualities
        for column in columns
        if column not in TITLE_COLUMNS or name in described
    ]


def described_in(columns: Iterable[object]) -> list[str]:
    """The metrics of which a table with these columns has descriptions."""
    return [str(c).removesuffix(_TITLE) for c in columns if str(c).endswith(_TITLE)]


def compared_beside(primary: str, row: pd.Series[Any]) -> list[str]:
    """The metrics of quality by which a row may be compared beside the primary one."""
    described = [name for name in described_in(row.index) if _text(row[name + _TITLE])]
    return [name for name in (*chosen_of_ours(primary), *described) if name != primary]


def quality_in(row: pd.Series[Any], name: str, better: str = "") -> Quality:
    """What a metric of quality is, as a row of a table or its name says.

    ``better`` is its direction where no column of its own says that.
    """
    cells = (_text(row.get(column)) for column in description_columns(name))
    title, unit, direction = cells
    ours = known(name)
    way: Any = direction or better or (ours.better if ours else "higher")
    return titled(name, Quality(way, title, unit))


def _text(cell: object) -> str:
    """A cell as text; pandas reads an empty one from CSV as NaN."""
    return cell if isinstance(cell, str) else ""
