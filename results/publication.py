"""What is published of a comparison: a folder with its records, tables, plots and page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from .aggregation import leaderboard
from .break_even import BREAK_EVEN_COLUMNS
from .curves import CURVE_COLUMNS
from .distributions import DISTRIBUTION_COLUMNS
from .files import write_atomically
from .heatmap import HEATMAP_COLUMNS
from .inference import INFERENCE_COLUMNS
from .manifest import (
    CONFIG_FILE,
    MANIFEST_FILE,
    describe,
    digests,
    read_manifest,
    write_manifest,
)
from .naming import with_labels
from .plots import draw_plots
from .record import Outcome, Record
from .record_file import RECORDS_FILE, write_records
from .report import report
from .seeds import single_seeds
from .sensitivity import SENSITIVITY_COLUMNS
from .study import CLASS_COLUMNS, MEDIAN_COLUMNS, SCHEME_COLUMNS
from .suites.levels import runs_of_methods
from .suites.publication import draw_score, score_tables
from .suites.score import Score
from .tables import LEADERBOARD_FILE, SEEDS_FILE, as_csv, write_csv

_OTHER_TABLES = {
    "inference.csv": INFERENCE_COLUMNS,
    "break-even.csv": BREAK_EVEN_COLUMNS,
    "schemes.csv": SCHEME_COLUMNS,
    "medians.csv": MEDIAN_COLUMNS,
    "classes.csv": CLASS_COLUMNS,
    "sensitivity.csv": SENSITIVITY_COLUMNS,
    "heatmap.csv": HEATMAP_COLUMNS,
    "curves.csv": CURVE_COLUMNS,
    "distributions.csv": DISTRIBUTION_COLUMNS,
}


Labels = Mapping[str, str]
"""What strategies are to be called, by what they are."""


def tables(
    records: Sequence[Outcome], labels: Labels, standing: Score | None = None
) -> dict[str, pd.DataFrame]:
    """The tables beside records by the names of their files, be these published or not."""
    if standing is not None:
        own = runs_of_methods(standing.runs, records)
        return {LEADERBOARD_FILE: leaderboard(own), **score_tables(standing)}
    return {
        LEADERBOARD_FILE: with_labels(leaderboard(records), labels),
        SEEDS_FILE: single_seeds(records),
    }


def publish(
    records: Sequence[Record],
    labels: Labels,
    folder: Path,
    config: bytes,
    standing: Score | None = None,
    **said: Any,
) -> list[Path]:
    """Write all that is published of ``records`` into a folder, and return the files.

    Args:
        records: all of a comparison.
        labels: what strategies are to be called.
        folder: where to.
        config: the configuration of the experiments.
        standing: the score of the records, if they are a suite's.
        said: what the publisher says in the manifest: see :func:`.manifest.describe`.

    Raises:
        OSError: a file could not be written.
    """
    paths = [folder / RECORDS_FILE]
    write_records(records, paths[0])
    paths += draw(tables(records, labels, standing), folder, records, standing)
    paths += note(folder, records, config, **said)
    return paths


def draw(
    frames: Mapping[str, pd.DataFrame],
    folder: Path,
    records: Sequence[Record],
    standing: Score | None = None,
) -> list[Path]:
    """Write tables into a folder with their plots and their page, and return the files.

    Args:
        frames: what :func:`tables` gives.
        folder: where to.
        records: what they were made of, for the page.
        standing: the score of the records, if they are a suite's.

    Raises:
        OSError: a file could not be written.
    """
    paths = [folder / name for name in frames]
    for path, frame in zip(paths, frames.values(), strict=True):
        write_csv(frame, path)
    if standing is None:
        paths += draw_plots(frames[LEADERBOARD_FILE], folder).paths
    else:
        paths += draw_score(standing, folder)
    paths.append(folder / "report.html")
    report(frames[LEADERBOARD_FILE], paths[-1], records, standing)
    return paths


def note(folder: Path, records: Sequence[Record], config: bytes, **said: Any) -> list[Path]:
    """Write the configuration into a published folder and the manifest of it all."""
    write_atomically(folder / CONFIG_FILE, config)
    write_manifest(folder, describe(folder, records, **said))
    return [folder / CONFIG_FILE, folder / MANIFEST_FILE]


def unlike_manifest(folder: Path) -> list[str]:
    """A sentence for each file of a folder that is not the one whose digest its manifest has.

    Raises:
        UsageError: there is no manifest, or it cannot be read.
    """
    noted, found = read_manifest(folder).files, digests(folder)
    return [
        *(
            f"{name} is missing, and the manifest has its digest"
            for name in noted
            if name not in found
        ),
        *(f"{name} has no digest in the manifest" for name in found if name not in noted),
        *(
            f"{name} is not the file whose digest the manifest has"
            for name in found
            if noted.get(name, found[name]) != found[name]
        ),
    ]


def outdated_tables(
    records: Sequence[Record], labels: Labels, folder: Path, standing: Score | None = None
) -> list[str]:
    """The names of tables that today's code would write otherwise from the same records."""
    return [
        name
        for name, frame in tables(records, labels, standing).items()
        if not (folder / name).is_file() or (folder / name).read_bytes() != as_csv(frame)
    ]


def lacking_columns(folder: Path) -> list[str]:
    """A sentence for each of a folder's other tables that lacks a column it has today."""
    sentences = []
    for name, columns in _OTHER_TABLES.items():
        if (folder / name).is_file():
            header = set(pd.read_csv(folder / name, nrows=0).columns)
            if missing := [each for each in columns if "<" not in each and each not in header]:
                sentences.append(f"{name} lacks {', '.join(missing)}")
    return sentences
