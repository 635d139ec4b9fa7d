"""Published numbers are compared with what records say, and with nothing else."""

from __future__ import annotations

import json

import pytest

from prunebench.errors import UsageError
from prunebench.results.literature import (
    LITERATURE_COLUMNS,
    Register,
    compared,
    literature_table,
    read_register,
)
from prunebench.results.literature_text import as_markdown, as_text
from prunebench.results.published_pages import literature_on
from prunebench.results.record_file import write_records

PAPERS = {
    "doe2020": {
        "title": "On pruning",
        "authors": "Doe, Roe",
        "year": 2020,
        "url": "https://doe.org",
    }
}


def row(**changes):
    """A row of a register, as it would stand in the file; what is changed to None is left out."""
    whole = {
        "paper": "doe2020",
        "table": "Table 1",
        "read": "the paper",
        "network": "LeNet-5",
        "data": "MNIST",
        "method": "magnitude",
        "target": "sparsity",
        "unit": "accuracy %",
        "cells": [{"at": 0.5, "value": 90.0}],
        "experiment": "doe",
        "strategy": "GlobalMagnitude",
        "tolerance": 0.5,
        "because": "Seeds differ by as much.",
    }
    return {name: value for name, value in {**whole, **changes}.items() if value is not None}


@pytest.fixture
def outcome(tmp_path, make_record):
    """Compare a row with records of some accuracies at 50 %, one for each seed."""

    def compare(*accuracies, records=(), **changes):
        records = [
            *(
                make_record(compression=None, sparsity=0.5, seed=seed, top1=top1, dense_top1=0.95)
                for seed, top1 in enumerate(accuracies)
            ),
            *records,
        ]
        (tmp_path / "doe").mkdir(exist_ok=True)
        if records:
            write_records(records, tmp_path / "doe/records.jsonl.gz")
        register = Register.model_validate({"papers": PAPERS, "rows": [row(**changes)]})
        return compared(register, tmp_path)

    return compare


@pytest.mark.parametrize(
    ("accuracies", "verdict"),
    [
        ((0.896, 0.902), "reproduced"),
        ((0.895,), "reproduced"),
        ((0.87, 0.91), "missed"),
        ((), "set out"),
    ],
)
def test_a_number_is_reproduced_where_the_mean_over_seeds_is_within_its_tolerance(
    outcome, accuracies, verdict
):
    (result,) = outcome(*accuracies)
    assert result.verdict == verdict


def test_the_table_has_mean_spread_seeds_and_difference(outcome):
    (line,) = literature_table(outcome(0.86, 0.88, 0.90)).to_dict("records")
    assert line["ours_mean"] == pytest.approx(88)
    assert line["ours_std"] == pytest.approx(2)
    assert line["seeds"] == 3
    assert line["difference"] == pytest.approx(-2)
    assert (line["published"], line["at"], line["verdict"]) == (90, "50 %", "missed")
    assert list(line) == list(LITERATURE_COLUMNS)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"unit": "error %"}, 10),
        ({"unit": "change of accuracy, points"}, -5),
        ({"cells": [{"at": "dense", "value": 1.0}]}, 95),
        ({"cells": [{"at": 0.52, "ours": 0.5, "value": 1.0}]}, 90),
        ({"where": {"recovery": "FineTune"}}, 90),
    ],
)
def test_a_number_is_what_unit_target_and_settings_say(outcome, changes, expected):
    (result,) = outcome(0.9, **changes)
    assert result.values == pytest.approx([expected])


@pytest.mark.parametrize(
    "changes",
    [
        {"strategy": "Random"},
        {"cells": [{"at": 0.6, "value": 90.0}]},
        {"where": {"recovery": "Rewind"}},
    ],
)
def test_records_of_other_runs_say_nothing(outcome, changes):
    (result,) = outcome(0.9, **changes)
    assert result.verdict == "set out"


def test_failed_runs_say_nothing(outcome, make_record):
    failed = make_record(compression=None, sparsity=0.5, seed=1, status="failed")
    (result,) = outcome(0.9, records=[failed])
    assert list(result.values) == pytest.approx([90])


def test_a_row_that_fits_different_runs_of_one_seed_says_too_little(outcome, make_record):
    other = make_record(compression=None, sparsity=0.5, top1=0.7, recovery="Rewind")
    with pytest.raises(UsageError, match="several records of doe fit"):
        outcome(0.9, records=[other])


def test_the_reason_of_a_cell_goes_before_that_of_the_row(outcome):
    cells = [{"at": 0.5, "value": 80.0, "miss": "A"}, {"at": "dense", "value": 80.0}]
    results = outcome(0.9, cells=cells, miss="B")
    assert [each.explanation for each in results] == ["A", "B"]


def test_what_cannot_be_run_says_why(outcome):
    (result,) = outcome(experiment=None, cannot="No GPU.", unit="BLEU", target="layers")
    assert (result.verdict, result.explanation) == ("cannot be run here", "No GPU.")
    assert "cannot be run here: No GPU." in as_text([result])


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"experiment": None}, "either an experiment or why"),
        ({"cannot": "No GPU."}, "either an experiment or why"),
        ({"tolerance": None}, "a tolerance"),
        ({"because": None}, "the reason for it"),
        ({"strategy": None}, "which strategy"),
        ({"unit": "BLEU"}, "have no BLEU"),
        ({"cells": [{"at": 0.5, "value": 1.0}] * 2}, "two numbers"),
        ({"cells": []}, "cells"),
        ({"paper": "roe1999"}, "papers has no roe1999"),
        ({"verdict": "reproduced"}, "verdict"),
    ],
)
def test_a_register_that_is_none_is_refused(tmp_path, changes, complaint):
    path = tmp_path / "register.yaml"
    # JSON is YAML too.
    path.write_text(json.dumps({"papers": PAPERS, "rows": [row(**changes)]}))
    with pytest.raises(UsageError, match=complaint):
        read_register(path)


def test_the_page_counts_verdicts_and_says_why_numbers_were_missed(outcome):
    cells = [{"at": 0.5, "value": 80.0}, {"at": "dense", "value": 95.0}]
    page = as_markdown(outcome(0.9, cells=cells, miss="Ten epochs here."))
    assert "2 published numbers: 2 run here (1 reproduced, 1 missed)" in page
    assert "| [Doe, Roe 2020](https://doe.org) | 2 | 1 | 1 |  |  |" in page
    assert "+10.00 at 50 %. Ten epochs here." in page


def test_a_page_without_a_place_for_the_register_is_told_so_and_stays_as_it_is(tmp_path):
    page = tmp_path / "README.md"
    page.write_text("Nothing here.\n")
    with pytest.raises(UsageError, match="has no place for literature: put two lines"):
        literature_on(page)
    assert page.read_text() == "Nothing here.\n"
