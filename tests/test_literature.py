"""The register of published numbers fits the experiments and the records that it names."""

from __future__ import annotations

from itertools import groupby
from math import isclose
from pathlib import Path

import pandas as pd
import pytest

from prunebench.benchmark.cell.record import described
from prunebench.benchmark.command_line import main
from prunebench.benchmark.grid import grid, read_settings
from prunebench.results.literature import DENSE, compared, read_register
from prunebench.results.literature_text import as_markdown
from prunebench.results.record_file import RECORDS_FILE, read_records

ROOT = Path(__file__).parents[1]
PUBLISHED = ROOT / "results/published"
REGISTER = read_register()
RUN = [row for row in REGISTER.rows if row.experiment]
NAMES = sorted({row.experiment for row in RUN})


@pytest.fixture(scope="module")
def comparisons():
    """All published numbers beside ours."""
    return compared(REGISTER, PUBLISHED)


def settings_of(name):
    """Of each cell of an experiment its settings, from its YAML file or, without one, its records.

    Those that need files which are not in the repository, such as weights, have records alone.
    """
    path = ROOT / f"experiments/{name}.yaml"
    if path.exists():
        return [described(experiment) for experiment in grid(**read_settings(path))]
    return [record.experiment for record in read_records(PUBLISHED / name / RECORDS_FILE)]


def test_the_register_is_as_large_as_it_is_said_to_be(comparisons):
    assert len(comparisons) >= 150
    assert sum(bool(each.values) for each in comparisons) >= 35
    assert {row.paper for row in REGISTER.rows} == set(REGISTER.papers)


@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_has_the_cells_that_the_register_names(name):
    cells = settings_of(name)
    for row in RUN:
        for cell in row.cells if row.experiment == name else ():
            wanted = cell.at if cell.ours is None else cell.ours
            assert any(
                row.strategy in ("", each["strategy"])
                and all(each[key] == value for key, value in row.where.items())
                and (cell.at == DENSE or each[row.target] == wanted)
                for each in cells
            ), f"{row}: {name} has no {cell.at}"


def test_every_number_whose_experiment_is_published_has_records(comparisons):
    lacking = [
        f"{each.row}: {each.at}"
        for each in comparisons
        if (PUBLISHED / each.row.experiment / RECORDS_FILE).is_file() and each.row.experiment
        if not each.values
    ]
    assert not lacking


def test_every_miss_is_explained(comparisons):
    missed = [each for each in comparisons if each.verdict == "missed"]
    assert missed
    unexplained = [f"{each.row}: {each.at}" for each in missed if not each.explanation]
    assert not unexplained


def test_the_page_shows_the_register_as_it_is(comparisons):
    """``prunebench literature --page results/published/literature.md`` brings it up to date."""
    assert as_markdown(comparisons) in (PUBLISHED / "literature.md").read_text(encoding="utf-8")


def test_numbers_of_one_paper_stand_together():
    papers = [paper for paper, _ in groupby(row.paper for row in REGISTER.rows)]
    assert len(papers) == len(set(papers))


def test_the_command_prints_what_remains_and_writes_it_as_csv(tmp_path, capsys, comparisons):
    table = tmp_path / "literature.csv"
    options = ["--published", str(PUBLISHED), "-o", str(table)]
    assert main(["literature", "--remaining", *options]) == 0
    remaining = pd.read_csv(table)
    assert set(remaining["verdict"]) == {"set out", "cannot be run here"}
    assert len(remaining) == sum(not each.values for each in comparisons)
    assert main(["literature", "--paper", "han2015", *options]) == 0
    assert set(pd.read_csv(table)["paper"]) == {"han2015"}
    assert "LeNet-300-100 on MNIST · magnitude, iterative" in capsys.readouterr().out


def test_the_command_says_which_papers_there_are(capsys):
    assert main(["literature", "--paper", "hann2015", "--published", str(PUBLISHED)]) == 2
    assert "did you mean 'han2015'?" in capsys.readouterr().err


def test_a_mean_in_the_table_is_that_of_the_leaderboard(comparisons):
    """What leaderboard.csv says of the same runs was computed by other code."""
    table = pd.read_csv(PUBLISHED / "han2015-lenet300100/leaderboard.csv")
    expected = 100 - 100 * table.set_index("recovery").loc["FineTune", "top1_mean"]
    ours = next(
        e for e in comparisons if e.row.experiment == "han2015-lenet300100" and e.at == "12×"
    )
    assert isclose(ours.cell.value + ours.difference, expected, abs_tol=1e-3)
