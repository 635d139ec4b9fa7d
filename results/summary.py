"""Experiments and records as texts for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tabulate import tabulate

from ..errors import printable, printable_lines
from .brief import standing, title
from .naming import digest, shown
from .record import Record
from .targets import TARGET_NAMES


def summary(record: Record) -> str:
    """What was run, what came out beside the dense network, round by round and layer by layer."""
    parts = [_heading(record), _settings(record.experiment)]
    if record.error is not None:
        parts.append(f"{record.error.type}: {record.error.message}\n\n{record.error.traceback}")
    else:
        parts.append(_measurements(record))
        if record.by_class:
            rows = record.by_class.items()
            primary = next(iter(record.quality))
            parts.append(tabulate(rows, headers=("class", primary), floatfmt=".4f"))
        if record.signatures:
            parts.append(_pairs("signatures", record.signatures))
        parts.append(_rounds(record))
        if record.calibration:
            parts.append(_calibration(record))
        parts += [_layers(record), _timings(record)]
        if record.doubts:
            parts.append(_pairs("no verdict on", record.doubts))
    parts.append(_pairs("environment", record.environment))
    return printable_lines("\n\n".join(parts))


def _heading(record: Record) -> str:
    status = standing(record.status, record.collapsed_layers)
    return f"{record.id}: {title(record.experiment)}\nstatus: {status}"


def _settings(experiment: Mapping[str, Any]) -> str:
    titled = ("dataset", "model", "strategy", *TARGET_NAMES, "seed")
    settings: dict[str, Any] = {
        name: shown(value) if isinstance(value, str) else value
        for name, value in experiment.items()
        if name not in titled
    }
    if "comparison" in settings:
        settings["comparison"] = digest(settings["comparison"])
    if "sources" in settings:
        sources = settings["sources"].items()
        settings["sources"] = {name: digest(source) for name, source in sources}
    return _pairs("settings", settings)


def _measurements(record: Record) -> str:
    rows = [(name, record.dense.get(name), value) for name, value in record.final.items()]
    return tabulate(rows, headers=("metric", "dense", "pruned"), floatfmt=".6g")


def _rounds(record: Record) -> str:
    primary = next(iter(record.quality))
    rows = [
        (
            each.round,
            each.density,
            each.kept,
            each.before.get(primary),
            each.after.get(primary),
            each.validation.get(primary),
        )
        for each in record.rounds
    ]
    headers = (
        "round",
        "density",
        "weights kept",
        f"{primary} after pruning",
        f"{primary} after recovery",
        f"validation {primary}",
    )
    return tabulate(rows, headers=headers, floatfmt=".4g")


def _calibration(record: Record) -> str:
    rows = [
        (
            each.round,
            each.split,
            each.batches,
            each.examples,
            "×".join(map(str, each.shape)),
            digest(each.digest),
        )
        for each in record.calibration
    ]
    headers = ("round", "pruned by split", "batches", "examples", "shape of each", "contents")
    return tabulate(rows, headers=headers)


def _layers(record: Record) -> str:
    rows = [
        (
            layer.name,
            "×".join(map(str, layer.shape)),
            layer.parameters,
            layer.nonzero,
            layer.density,
            layer.flops,
            None if layer.effective_flops is None else round(layer.effective_flops),
        )
        for layer in record.layers
    ]
    headers = ("layer", "shape", "parameters", "nonzero", "density", "FLOPs", "effective FLOPs")
    return tabulate(rows, headers=headers, floatfmt=".4f")


def _timings(record: Record) -> str:
    return tabulate(record.timings.items(), headers=("timing", ""), floatfmt=".4g")


def _pairs(title: str, values: Mapping[str, Any]) -> str:
    lines = (
        f"{name}: {', '.join(f'{k} {v}' for k, v in value.items()) or '-'}"
        if isinstance(value, Mapping)
        else f"{name}: {value}"
        for name, value in values.items()
    )
    return f"{title}\n" + "\n".join(f"  {printable(line)}" for line in lines)
