"""The leaderboard as a page: one HTML file that needs nothing else, to read, send or print."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from . import cells
from .checklist import Check, checklists
from .columns import COLUMNS
from .comparison import Comparison, comparisons
from .drawing import Look
from .files import write_atomically
from .page_chart import as_script, batches, chart_data, page_looks
from .page_runs import MOST_ROWS, Machine, Runs
from .plots import MOST_COMPARISONS, MOST_STRATEGIES, as_svg
from .record import Record
from .suites.page import standing_as_html
from .suites.score import Score

_UNKNOWN = "—"
_SCRIPTS = (
    *("report_drawing.js", "report_chart.js", "report_words.js", "report_details.js"),
    *("report_numbers.js", "report_section.js", "report.js"),
)


def report(
    frame: pd.DataFrame,
    path: str | Path,
    records: Iterable[Record] = (),
    standing: Score | None = None,
) -> None:
    """Write a leaderboard as one HTML page: plots, tables, definitions, how to reproduce it.

    The page needs no other file and no network. Its script makes tables that can be sorted and
    filtered and charts that answer; without it, and in print, there are the same tables and plots
    as they are. The bytes are the same whenever frame and records are.

    Args:
        frame: the leaderboard, which may come from a CSV file.
        path: where the page goes.
        records: those that the frame was made of, for what it does not hold: layers, histograms
            and curves of training, machines, and the configuration. They are read only for pages
            of at most :data:`.page_runs.MOST_ROWS` rows.
        standing: the score of the records, if they are a suite's; it stands first.

    Raises:
        OSError: the file could not be written; an earlier one is as it was.
    """
    everything = comparisons(frame)
    known = page_looks(everything)
    runs = Runs(records if len(frame) <= MOST_ROWS else ())
    page = _template().render(
        sections=[
            _section(comparison, plots, checks, known, runs)
            for comparison, plots, checks in zip(
                everything, as_svg(frame), checklists(everything), strict=True
            )
        ],
        standing=standing_as_html(standing) if standing else "",
        finished=int(frame["seeds"].sum()),
        failed=int(frame["seeds_failed"].sum()),
        missing=int(frame["seeds_missing"].sum()),
        definitions=COLUMNS,
        most_drawn=MOST_COMPARISONS,
        most_strategies=MOST_STRATEGIES,
        style=Markup(theme()) + _source("report.css"),
        scripts=[_source("report_first.js"), Markup().join(map(_source, _SCRIPTS))],
    )
    write_atomically(Path(path), page.encode())


class _Quality(NamedTuple):
    """A cell of the table of quality: strategy × target."""

    text: str
    marks: str
    change: str
    is_measured: bool
    is_best: bool


class _Section(NamedTuple):
    """A comparison as the template shows it."""

    comparison: Comparison
    settings: dict[str, str]
    plots: dict[str, str]
    targets: list[str]
    quality: list[tuple[str, list[_Quality]]]
    legend: list[str]
    batches: list[int]
    costs: list[tuple[str, list[dict[str, str]]]]
    checks: dict[str, list[Check]]
    reasons: dict[str, dict[str, int]]
    data: Markup
    details: Markup
    machines: list[Machine]
    doubts: list[str]
    yaml: str


def _template() -> Any:
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["breakable"] = _breakable
    environment.filters["digest"] = _digest
    return environment.from_string(_source("report.html.jinja"))


def theme() -> str:
    """The style that this page shares with others: colours, type, cards."""
    return str(_source("theme.css"))


def _source(name: str) -> Markup:
    """One of the files of which pages are made."""
    return Markup(files(__package__).joinpath(name).read_text(encoding="utf-8"))


def _digest(script: str) -> str:
    """A script as a Content-Security-Policy names it, by which no other script is run."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def _breakable(name: str) -> Markup:
    """A name that may be broken where a word of it begins, or an argument."""
    return Markup("<wbr>").join(re.split(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[/:,=])|(?=[.(])", name))


def _section(
    comparison: Comparison,
    plots: dict[str, str],
    checks: dict[str, list[Check]],
    known: Mapping[str, Look],
    runs: Runs,
) -> _Section:
    methods = comparison.methods()
    columns = [
        _quality_column(comparison, [rows.iloc[position] for _, rows in methods])
        for position in range(len(methods[0][1]))
    ]
    lines = zip(*columns, strict=True)
    sizes = batches(comparison.rows)
    details = runs.details(comparison)
    has_flops = bool(comparison.rows["theoretical_speedup_mean"].notna().any())
    return _Section(
        comparison=comparison,
        settings=_settings(comparison),
        plots=plots,
        targets=[cells.target(row) for _, row in methods[0][1].iterrows()],
        quality=[(name, list(line)) for (name, _), line in zip(methods, lines, strict=True)],
        legend=cells.legend(comparison),
        batches=sizes,
        costs=[
            (name, [_cost(row, has_flops, sizes) for _, row in rows.iterrows()])
            for name, rows in methods
        ],
        checks=checks,
        reasons=_reasons(checks),
        data=Markup(as_script(chart_data(comparison, known))),
        details=Markup(as_script(details) if details else ""),
        machines=runs.machines(comparison),
        doubts=runs.doubts(comparison),
        yaml=runs.yaml(comparison),
    )


def _reasons(checks: Mapping[str, list[Check]]) -> dict[str, dict[str, int]]:
    """Why strategies do not keep each of the rules, and how many of them for that reason."""
    reasons: dict[str, dict[str, int]] = {}
    for check in (check for own in checks.values() for check in own):
        of_rule = reasons.setdefault(check.rule, {})
        if not check.met:
            of_rule[check.sentence] = of_rule.get(check.sentence, 0) + 1
    return reasons


def _settings(comparison: Comparison) -> dict[str, str]:
    """What all rows of a comparison have in common, in words."""
    row = comparison.rows.iloc[int(comparison.rows["seeds"].to_numpy().argmax())]
    rounds = "round" if row["rounds"] == 1 else "rounds"
    words = {
        "Data set": str(row["dataset"]),
        "Network": str(row["model"]),
        "Size, unpruned": f"{_whole(row['parameters'])} parameters"
        + ("" if pd.isna(row["flops"]) else f", {_whole(row['flops'])} multiply–adds"),
        "Pruned in": f"{row['rounds']} {rounds} on the {row['schedule']} schedule",
        "After each pruning": str(row["recovery"]),
        **{name.capitalize(): value for name, value in comparison.recipes().items()},
        **{name.capitalize(): value for name, value in comparison.unusual().items()},
        "Repeated with": cells.count(comparison.seeds),
        "Settings": str(row["settings"]),
    }
    if comparison.quality:
        words[f"{comparison.metric.heading}, unpruned"] = cells.number(comparison, comparison.dense)
    if comparison.least_dense:
        words["Unpruned networks that count"] = comparison.least_dense
    return words


def _quality_column(comparison: Comparison, rows: list[pd.Series[Any]]) -> list[_Quality]:
    """The cells of all strategies at one target; the best is marked unless all are equal."""
    means = [_finite(row, f"{comparison.quality}_mean") for row in rows]
    shown = [None if mean is None else cells.number(comparison, mean) for mean in means]
    finite = [mean for mean in means if mean is not None]
    choose = max if comparison.metric.higher_is_better else min
    best = cells.number(comparison, choose(finite)) if finite else None
    if len(set(shown) - {None}) < 2:
        best = None
    return [
        _Quality(
            text=cells.mean_and_std(comparison, row, "\u202f±\u202f"),
            marks=cells.marks(row, "\u00a0"),
            change=_change(comparison, row),
            is_measured=bool(row["seeds"] > 0),
            is_best=best is not None and text == best,
        )
        for row, text in zip(rows, shown, strict=True)
    ]


def _change(comparison: Comparison, row: pd.Series[Any]) -> str:
    """The change from the unpruned network, with its sign; empty where there is none to tell."""
    change = _finite(row, f"{comparison.quality}_change_mean")
    if change is None:
        return ""
    mean = row[f"{comparison.quality}_mean"]
    _, size = comparison.metric.written_with(mean, abs(change))
    if float(size) == 0:
        return size
    return f"+{size}" if change > 0 else f"−{size}"


def _cost(row: pd.Series[Any], has_flops: bool, sizes: list[int]) -> dict[str, str]:
    """A line of the table of costs, by what stands above: a strategy at a target."""
    theoretical = {"Theoretical speedup": _times(row["theoretical_speedup_mean"])}
    return {
        "Target": cells.target(row),
        "Compression achieved": _times(row["compression_mean"]),
        "Nonzero parameters": _whole(row["nonzero_mean"]),
        **(theoretical if has_flops else {}),
        **{
            f"Measured, batch {size}": _measured(row, f"measured_speedup_batch{size}")
            for size in sizes
        },
    }


def _finite(row: pd.Series[Any], column: str) -> float | None:
    value = row.get(column, math.nan)
    return None if pd.isna(value) or math.isinf(value) else float(value)


def _measured(row: pd.Series[Any], column: str) -> str:
    """The speedup of the network with its zeros, and of that without them if there is one.

    With its interval; where it could not be believed, that is said in its place.
    """
    masked, shrunk = (_speedup(row, name) for name in (column, f"{column}_shrunk"))
    return masked if shrunk == _UNKNOWN else f"{masked}, shrunk {shrunk}"


def _speedup(row: pd.Series[Any], column: str) -> str:
    value, low, high = (_finite(row, column + end) for end in ("", "_low", "_high"))
    if value is None:
        doubt = row.get(f"{column}_doubt")
        return _UNKNOWN if pd.isna(doubt) or not doubt else f"no verdict: {doubt}"
    return _times(value) if low is None else f"{_times(value)} ({low:.2f}–{high:.2f})"


def _times(value: float) -> str:
    return _UNKNOWN if pd.isna(value) else f"{value:.2f}×"


def _whole(value: float) -> str:
    return _UNKNOWN if pd.isna(value) else f"{value:,.0f}"
