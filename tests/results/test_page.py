"""What a page gives its script: the numbers of the table, and what single runs tell."""

from __future__ import annotations

import json
import math
import re
from itertools import permutations
from pathlib import Path

import pandas as pd
import pytest

from prunebench.benchmark.grid import grid, parse_yaml
from prunebench.results import leaderboard, write_csv
from prunebench.results.comparison import comparisons
from prunebench.results.page_runs import MOST_ROWS, Runs
from prunebench.results.record import Distribution, Epoch, Layer
from prunebench.results.record_file import read_records
from prunebench.results.report import report

PUBLISHED = Path(__file__).parents[2] / "results" / "published"


def embedded(path: Path, name: str) -> list[dict]:
    """The data of each section of a page."""
    pattern = rf'<script type="application/json" class="{name}">(.*?)</script>'
    found = re.findall(pattern, path.read_text(encoding="utf-8"), re.DOTALL)
    return [json.loads(text) for text in found]


def with_runs(record, densities, seed_counts=1):
    """The record with two layers, histograms and epochs."""
    layers = [
        Layer(name=name, shape=(10, 10), parameters=100, nonzero=round(100 * density),
              density=density, flops=None, effective_flops=None, weight_class=name)
        for name, density in densities.items()
    ]  # fmt: skip
    bias = layers[0].model_copy(update={"name": "bias", "shape": (10,), "weight_class": ""})
    counts = tuple(range(seed_counts, seed_counts + 64))
    distribution = Distribution(
        name="a", limit=0.5, dense=counts, pruned=(), recovered=(0,) * 63 + (9,)
    )
    history = [
        Epoch(training=training, epoch=epoch, loss=1 / epoch, validation={"top1": epoch / 10})
        for training in ("pretraining", "fine-tuning 1")
        for epoch in (1, 2)
    ]
    return record.model_copy(
        update={
            "layers": (*layers, bias),
            "distributions": (distribution,),
            "history": tuple(history),
            "environment": {"torch": "2.6", "commit": None},
        }
    )


@pytest.mark.parametrize("folder", ["all-strategies", "extreme-pruning"])
def test_every_number_of_the_page_is_that_of_the_csv_file(tmp_path, monkeypatch, folder):
    frame = pd.read_csv(PUBLISHED / folder / "leaderboard.csv")
    monkeypatch.setattr(
        "prunebench.results.report.as_svg", lambda frame: [{}] * len(comparisons(frame))
    )
    report(frame, tmp_path / "page.html")
    sections = embedded(tmp_path / "page.html", "data")
    seen = 0
    for section, (_, rows) in zip(sections, frame.groupby("settings", sort=False), strict=True):
        assert len(section["method"]) == len(rows)
        for number, (_, row) in enumerate(rows.iterrows()):
            assert section["methods"][section["method"][number]]["name"] == row["label"]
            for column, values in section["columns"].items():
                value = values[number]
                expected = row[column]
                if value is None:
                    assert pd.isna(expected) or math.isinf(expected)
                else:
                    assert value == expected
                seen += 1
    assert seen > 800
    kinds = {axis["column"] for axis in sections[0]["axes"]}
    assert {"compression_mean", "theoretical_speedup_mean", "measured_speedup_batch1",
            "prunable_sparsity_mean", "nonzero_mean",
            "file_bytes_sparse_mean"} <= kinds  # fmt: skip


def test_a_page_has_the_same_bytes_whatever_the_order_of_its_records(make_sweep, tmp_path):
    records = [with_runs(record, {"a": 0.25}) for record in make_sweep(compressions=[2, 4])]
    report(leaderboard(records), tmp_path / "first.html", records)
    report(leaderboard(records), tmp_path / "second.html", reversed(records))
    write_csv(leaderboard(records), tmp_path / "board.csv")
    report(pd.read_csv(tmp_path / "board.csv"), tmp_path / "third.html", iter(records))
    first = (tmp_path / "first.html").read_bytes()
    assert first == (tmp_path / "second.html").read_bytes()
    third = tmp_path / "third.html"
    assert embedded(third, "runs") == embedded(tmp_path / "first.html", "runs")
    assert embedded(third, "data") == embedded(tmp_path / "first.html", "data")


def test_densities_do_not_depend_on_the_order_of_records(make_record):
    densities = [0.2918, 0.2639, 0.3698]  # whose sums in some orders are of two roundings
    records = [with_runs(make_record(seed=n), {"a": each}) for n, each in enumerate(densities)]
    (comparison,) = comparisons(leaderboard(records))
    found = [Runs(each).details(comparison)["densities"] for each in permutations(records)]
    assert found == found[:1] * 6


def test_densities_are_means_over_seeds_and_histograms_and_curves_are_of_the_first(make_record):
    records = [
        with_runs(make_record(seed=1), {"a": 0.5, "b": 1.0}, seed_counts=100),
        with_runs(make_record(seed=0), {"a": 0.25, "b": 1.0}, seed_counts=1),
    ]
    (comparison,) = comparisons(leaderboard(records))
    runs = Runs(records).details(comparison)
    assert [layer["name"] for layer in runs["layers"]] == ["a", "b"], "biases are not pruned"
    assert runs["densities"] == [[0.375, 1.0]]
    ((limit, dense, pruned, recovered),) = runs["histograms"][0].values()
    assert (limit, pruned) == (0.5, None)
    assert list(runs["counts"][dense]) == [4 * pair + 3 for pair in range(32)]
    assert runs["counts"][recovered][-1] == sum(runs["counts"][recovered]) == 9
    trainings = [runs["trainings"][place] for place in runs["curves"][0]]
    assert [each["training"] for each in trainings] == ["pretraining", "fine-tuning 1"]
    assert trainings[0]["quality"] == (0.1, 0.2)
    assert trainings[0]["loss"] == (1.0, 0.5)


def test_machines_and_doubts_are_counted(make_record):
    doubts = [{"measured_speedup_batch1": f"other processes took {n} % of it"} for n in (7, 30)]
    records = [make_record(seed=seed, doubts=doubt) for seed, doubt in enumerate(doubts)]
    records.append(make_record(seed=2).model_copy(update={"environment": {"torch": "2.6"}}))
    (comparison,) = comparisons(leaderboard(records))
    runs = Runs(records)
    assert [(each.environment, each.runs) for each in runs.machines(comparison)] == [
        ({"torch": ""}, 2),
        ({"torch": "2.6"}, 1),
    ]
    assert runs.doubts(comparison) == ["other processes took 7–30 % of it (2 runs)"]


@pytest.mark.parametrize(
    "folder", ["lottery-tickets-21", "snip-initialisations", "extreme-pruning"]
)
def test_the_configuration_of_a_page_gives_exactly_the_experiments_of_its_records(folder):
    records = list(read_records(PUBLISHED / folder / "records.jsonl.gz"))
    runs = Runs(records)
    frame = pd.read_csv(PUBLISHED / folder / "leaderboard.csv")
    ids = {
        experiment.id
        for comparison in comparisons(frame)
        for experiment in grid(**parse_yaml(runs.yaml(comparison)))
    }
    assert ids == {record.id for record in records}


def test_a_page_of_many_rows_reads_no_records(make_record, tmp_path, monkeypatch):
    monkeypatch.setattr("prunebench.results.report.MOST_ROWS", 0)

    def unread():
        raise AssertionError("read")
        yield

    report(leaderboard([make_record()]), tmp_path / "page.html", unread())
    assert embedded(tmp_path / "page.html", "runs") == []
    assert MOST_ROWS >= 500


def test_paths_of_one_machine_are_in_no_configuration(make_record):
    records = [make_record(strategy="/home/me/work/mine.py:Mine(file='/home/me/a.pt')")]
    (comparison,) = comparisons(leaderboard(records))
    text = Runs(records).yaml(comparison)
    assert "mine.py:Mine" in text
    assert "home" not in text
