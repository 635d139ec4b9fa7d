"""The leaderboard: records → one row per data set, model, strategy, target and settings.

Runs are compared only within a *comparison*: the same data set, model and settings. The rows of a
comparison are its strategies × its targets, so that a point that nobody ran shows as a gap.
"""

from __future__ import annotations

import itertools
import math
import re
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import pandas as pd

from ..quality import Quality
from .columns import BATCH_SIZES, INTEGER_COLUMNS, LATENCY_COLUMN, TEXT_COLUMNS, expand_columns
from .gathering import gathered
from .memory import remembered
from .points import Key, Method, Target, point_of
from .qualities import description, description_columns
from .record import Outcome
from .remote import Place, place_of
from .settings import columns_of, further_settings
from .statistics import describe
from .targets import TARGETS

_SIZE_AND_COST = frozenset(
    {
        "parameters",
        "nonzero",
        "compression",
        "sparsity",
        "prunable_parameters",
        "prunable_nonzero",
        "prunable_compression",
        "prunable_sparsity",
        "flops",
        "effective_flops",
        "theoretical_speedup",
        "file_bytes",
        "file_bytes_sparse",
        "file_bytes_compressed",
        "file_bytes_shrunk",
        *(kind.achieved for kind in TARGETS),
    }
)
_LATENCY = re.compile(LATENCY_COLUMN.format(r"([1-9][0-9]{0,8})"))


def leaderboard(records: Iterable[Outcome] | str | Place | Sequence[str | Place]) -> pd.DataFrame:
    """One row per data set, model, strategy, target and settings, over seeds.

    ``records`` is a folder of runs, the URL of one, a published folder or a file of records, a list
    of such places, or the records themselves in any order. The columns are those of
    :data:`prunebench.results.COLUMNS`; the rows are ordered by data set, model, settings, strategy
    and target, and depend on nothing but the set of records.

    Raises:
        UsageError: a place does not exist or holds what cannot be read, or two of them have
            different results of one experiment.
    """
    if isinstance(records, str | Place):
        records = [records]
    known = records if isinstance(records, Sequence) else ()
    places = [each for each in known if isinstance(each, str | Place)]
    if len(places) == 1:
        return remembered(place_of(places[0]), lambda: _table(gathered(places)))
    return _table(gathered(places) if places else cast("Iterable[Outcome]", records))


def _table(records: Iterable[Outcome]) -> pd.DataFrame:
    """The leaderboard of records."""
    comparisons = _compare(records)
    runs = [run for comparison in comparisons for run in comparison.finished()]
    qualities = list(dict.fromkeys(name for run in runs for name in run.quality))
    metrics = sorted({name for run in runs for name in run.final} - {*qualities, *_SIZE_AND_COST})
    further = sorted({name for each in comparisons for name in further_settings(each.experiment)})
    sizes = _batch_sizes(runs)
    rows = [row for each in comparisons for row in each.rows(metrics, further, sizes)]
    described = {name for run in runs for name in run.described}
    columns = expand_columns(further, qualities, metrics, described, sizes)
    types = dict.fromkeys(columns, "float64") | dict.fromkeys(INTEGER_COLUMNS, "Int64")
    types |= dict.fromkeys([*TEXT_COLUMNS, *further], "str")
    types |= {name: "str" for name in columns if name.endswith("_doubt")}
    types |= {f"{name}_by_seed": "str" for name in qualities}
    types |= {column: "str" for name in described for column in description_columns(name)}
    given = pd.DataFrame(rows, columns=columns)
    frame = given.astype(types)
    texts = [name for name, kind in types.items() if kind == "str"]
    frame[texts] = frame[texts].where(given[texts].notna())  # pandas 2 makes the text "nan" of none
    return frame.copy()  # in one piece, to which pandas lets columns be added


class _Run(NamedTuple):
    """What is kept of a record."""

    status: str
    quality: Mapping[str, str]
    described: Mapping[str, Quality]
    dense: Mapping[str, float | None]
    final: Mapping[str, float | None]
    timings: Mapping[str, float | None]
    least_dense_quality: float | None
    doubts: Mapping[str, str]

    @property
    def finished(self) -> bool:
        return self.status != "failed"


@dataclass
class _Comparison:
    """The runs of one comparison, by method, target and seed."""

    key: Key
    experiment: Mapping[str, Any]
    runs: dict[tuple[Method, Target], dict[int, _Run]] = field(default_factory=dict)

    def finished(self) -> list[_Run]:
        """The finished runs in the order of the rows, then of the seeds."""
        return [
            seeds[seed]
            for _, seeds in sorted(self.runs.items())
            for seed in sorted(seeds)
            if seeds[seed].finished
        ]

    def rows(
        self, metrics: list[str], further: list[str], sizes: list[int]
    ) -> list[dict[str, Any]]:
        """A row for every method at every target of the kinds for which the method was run.

        ``metrics`` and ``further`` name the metrics and settings beyond those of all tables, and
        ``sizes`` are the batches in which inference was timed.
        """
        points = sorted(self.runs)
        of_all = self.finished()
        quality = next((run.quality for run in of_all), {})
        primary, better = next(iter(quality.items()), ("", ""))
        head = {
            **self.key._asdict(),
            **columns_of(self.experiment),
            **dict.fromkeys(further, ""),
            **further_settings(self.experiment),
            "quality": primary,
            "least_dense_quality": next(
                (run.least_dense_quality for run in of_all if run.least_dense_quality is not None),
                None,
            ),
            "better": better,
        }
        for name, described in next((run.described for run in of_all), {}).items():
            head |= description(name, described)
        rows = []
        for place in sorted({target.place for _, target in points}):
            own = [point for point in points if point[1].place == place]
            methods = sorted({method for method, _ in own})
            targets = sorted({target for _, target in own})
            expected = {seed for point in own for seed in self.runs[point]}
            for method, target in itertools.product(methods, targets):
                seeds = self.runs.get((method, target), {})
                finished = [seeds[seed] for seed in sorted(seeds) if seeds[seed].finished]
                row = {
                    **head,
                    **method._asdict(),
                    "label": method.strategy,
                    target.kind.column: target.value,
                    "seeds": len(finished),
                    "seeds_collapsed": sum(run.status == "collapsed" for run in finished),
                    "seeds_failed": len(seeds) - len(finished),
                    "seeds_missing": len(expected) - len(seeds),
                }
                if finished:
                    row |= _quality_cells(finished)
                    row |= _cost_cells(finished, sizes)
                    row |= {f"{name}_mean": _mean(_final(finished, name)) for name in metrics}
                rows.append(row)
        return rows


def _batch_sizes(runs: Iterable[_Run]) -> list[int]:
    """The batches that have columns: the usual ones, and any in which inference was timed."""
    names = {name for run in runs for name in run.timings}
    timed = {int(found[1]) for name in names if (found := _LATENCY.fullmatch(name))}
    return sorted({*BATCH_SIZES, *timed})


def _compare(records: Iterable[Outcome]) -> list[_Comparison]:
    """Sort the records into comparisons; of two records of one run the finished one counts."""
    comparisons: dict[Key, _Comparison] = {}
    for record in records:
        experiment = record.experiment
        key, method, target = point_of(experiment)
        comparison = comparisons.get(key)
        if comparison is None:
            comparison = comparisons[key] = _Comparison(key, experiment)
        seeds = comparison.runs.setdefault((method, target), {})
        known = seeds.get(experiment["seed"])
        if known is None or not known.finished:
            seeds[experiment["seed"]] = _Run(
                record.status,
                record.quality,
                record.descriptions(),
                record.dense,
                record.final,
                record.timings,
                record.least_dense_quality,
                record.doubts,
            )
    return [comparisons[key] for key in sorted(comparisons)]


def _quality_cells(runs: list[_Run]) -> dict[str, float | str]:
    cells: dict[str, float | str] = {}
    for name in runs[0].quality:
        final = describe(_final(runs, name))
        dense = [number(run.dense.get(name)) for run in runs]
        change = describe([a - b for a, b in zip(_final(runs, name), dense, strict=True)])
        cells |= {
            f"{name}_mean": final.mean,
            f"{name}_std": final.std,
            f"{name}_ci95_low": final.ci95_low,
            f"{name}_ci95_high": final.ci95_high,
            f"{name}_by_seed": " ".join(f"{value:.6g}" for value in _final(runs, name)),
            f"{name}_dense_mean": _mean(dense),
            f"{name}_change_mean": change.mean,
            f"{name}_change_ci95_low": change.ci95_low,
            f"{name}_change_ci95_high": change.ci95_high,
        }
    return cells


def _cost_cells(runs: list[_Run], sizes: list[int]) -> dict[str, Any]:
    measured = _measured(runs)
    training = [
        number(run.timings.get("pretraining_seconds"))
        + number(run.timings.get("finetuning_seconds"))
        for run in runs
    ]
    latencies = (
        f"{name}_batch{size}{unit}"
        for size in sizes
        for name, unit in (("latency", "_dense_ms"), ("latency", "_pruned_ms"))
    )
    return {
        **{
            kind.achieved_column: _mean(_final(runs, kind.achieved))
            for kind in TARGETS
            if kind.achieved
        },
        "parameters": _whole(runs[0].dense.get("parameters")),
        "nonzero_mean": _mean(_final(runs, "nonzero")),
        "flops": _whole(runs[0].dense.get("flops")),
        "effective_flops_mean": _mean(_final(runs, "effective_flops")),
        "file_bytes": _whole(runs[0].dense.get("file_bytes")),
        **{
            f"{name}_mean": _mean(_final(runs, name))
            for name in ("file_bytes_sparse", "file_bytes_compressed", "file_bytes_shrunk")
        },
        **{name: _chosen(statistics.median, measured, name) for name in latencies},
        **_speedup_cells(runs, sizes, measured),
        **_control_cells(runs, sizes, measured),
        "training_seconds_mean": _mean(
            [seconds for seconds in training if not math.isnan(seconds)]
        ),
    }


def _final(runs: list[_Run], name: str) -> list[float]:
    return [number(run.final.get(name)) for run in runs]


def number(value: float | None) -> float:
    """A measurement to calculate with: what was not finite makes every mean it enters NaN."""
    try:
        return math.nan if value is None else float(value)
    except OverflowError:  # an integer of hundreds of digits
        return math.nan


def _whole(value: float | None) -> int | None:
    """A count, which is None where it is none that a table of integers can hold."""
    count = number(value)
    return int(count) if count.is_integer() and abs(count) < 2**63 else None


def _mean(values: list[float]) -> float:
    try:
        return math.fsum(values) / len(values) if values else math.nan
    except OverflowError:
        return math.nan


_Measured = Mapping[str, Sequence[float]]


def _measured(runs: list[_Run]) -> _Measured:
    """Of each of the timings the values of those seeds in which it was measured."""
    measured: defaultdict[str, list[float]] = defaultdict(list)
    for run in runs:
        for name, value in run.timings.items():
            if value is not None:
                measured[name].append(value)
    return measured


def _speedup_cells(runs: list[_Run], sizes: list[int], measured: _Measured) -> dict[str, Any]:
    """The measured speedups of those seeds that can be believed, or why there are none."""
    cells: dict[str, Any] = {}
    doubted = [run.doubts for run in runs if run.doubts]
    for size, suffix in itertools.product(sizes, ("", "_shrunk")):
        name = f"measured_speedup_batch{size}{suffix}"
        cells[name] = _chosen(statistics.median, measured, name)
        cells[f"{name}_low"] = _chosen(min, measured, f"{name}_low")
        cells[f"{name}_high"] = _chosen(max, measured, f"{name}_high")
        doubts = [each[name] for each in doubted if name in each]
        if doubts and math.isnan(cells[name]):
            cells[f"{name}_doubt"] = doubts[0]
    return cells


def _control_cells(runs: list[_Run], sizes: list[int], measured: _Measured) -> dict[str, float]:
    """Of each batch size the control that is furthest from 1, and the largest load."""
    cells = {}
    for size in sizes:
        name = f"latency_batch{size}"
        control = f"{name}_control"
        known = (
            [run.timings for run in runs if run.timings.get(control)] if control in measured else []
        )
        worst = max(known, key=lambda timings: abs(math.log(number(timings[control]))), default={})
        for column in (control, f"{control}_low", f"{control}_high"):
            cells[column] = number(worst.get(column))
        cells[f"{name}_load"] = _chosen(max, measured, f"{name}_load")
    return cells


def _chosen(choose: Callable[[Sequence[float]], float], measured: _Measured, name: str) -> float:
    """What is chosen of the values of some timing, if it was measured at all."""
    values = measured.get(name)
    return choose(values) if values else math.nan
