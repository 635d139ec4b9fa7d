"""What several commands write."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import tell

if TYPE_CHECKING:
    from pandas import DataFrame

    from ...results import Record, Store
    from ...results.layout import Layout


def draw_quality_plots(
    frame: DataFrame, folder: Path, layout: Layout | None = None, formats: Sequence[str] = ("png",)
) -> list[Path]:
    """Draw the plots of a leaderboard into a folder, say which are left out, return their paths."""
    from ...results.plots import LAYOUT, draw_plots

    drawn = draw_plots(frame, folder, layout or LAYOUT, formats)
    for sentence in drawn.left_out:
        tell(sentence)
    return drawn.paths


def tell_failures(records: Iterable[Record], store: Store) -> int:
    """Say of each failed run why it failed.

    Returns:
        The exit status.
    """
    from ...results.brief import title

    status = 0
    for record in records:
        if record.error is not None:
            kept = "; its finished record stays" if store.is_finished(record.id) else ""
            reason = f"{record.error.type}: {record.error.message}{kept}"
            tell(f"failed: {title(record.experiment)} ({record.id}): {reason}")
            status = 1
    return status


def write_table_and_plot(frame: DataFrame, plot: Callable[..., None], stem: Path) -> int:
    """Write a table and the plot of it, which differ in the ending of their names.

    Returns:
        The exit status.
    """
    from ...results import write_csv

    table, picture = stem.with_suffix(".csv"), stem.with_suffix(".png")
    write_csv(frame, table)
    plot(frame, path=picture)
    print(f"table: {table}")
    print(f"plot:  {picture}")
    return 0
