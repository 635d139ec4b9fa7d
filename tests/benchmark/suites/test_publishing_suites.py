"""A suite's run as a published folder: made by one command, checked, verified, and on the site."""

import shutil
from importlib.util import find_spec

import pandas as pd
import pytest

from prunebench.benchmark.command_line import main
from prunebench.results.record_file import read_records, write_records

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def published(ran, tmp_path_factory):
    """A suite that has just been published, and the arguments of the command that did it."""
    home = tmp_path_factory.mktemp("published")
    shutil.copytree(ran, home / "runs/tiny-1")
    (home / "results/published").mkdir(parents=True)
    (home / "results/published/README.md").write_text(
        "# Published\n\n## Two tasks\n\n<!-- tiny-1 -->\n<!-- end of tiny-1 -->\n"
    )
    folders = ["--published", str(home / "results/published"), "--runs", str(home / "runs")]
    arguments = ["publish", str(ran / "tiny-1.yaml"), *folders]
    assert main(arguments) == 0
    return home / "results/published/tiny-1", arguments


def test_a_suite_that_was_just_published_is_fresh_and_on_the_page(published, ran, capsys):
    folder, arguments = published
    assert main([*arguments, "--check"]) == 0
    assert capsys.readouterr().out == f"fresh  {folder}\n"
    assert {path.name for path in folder.iterdir()} == {
        "experiments.yaml", "records.jsonl.gz", "manifest.json", "leaderboard.csv", "methods.csv",
        "tasks.csv", "suite-runs.csv", "ranks.png", "curves.png", "performance-profile.png",
        "report.html",
    }  # fmt: skip
    assert (folder / "experiments.yaml").read_bytes() == (ran / "tiny-1.yaml").read_bytes()
    for name in pd.read_csv(folder / "methods.csv")["method"]:
        assert name in (folder.parent / "README.md").read_text()
        assert name in (folder / "report.html").read_text()
    runs = pd.read_csv(folder / "suite-runs.csv")
    assert {*runs["record"]} == {record.id for record in read_records(folder / "records.jsonl.gz")}


def test_a_missing_cell_and_an_edited_standing_are_named(published, tmp_path, capsys):
    folder, arguments = published
    shutil.copytree(folder, tmp_path / "tiny-1")
    arguments = [*arguments[:3], str(tmp_path), "--check"]
    records = list(read_records(folder / "records.jsonl.gz"))
    lost = next(each for each in records if each.experiment["strategy"] == "StructuredL1")
    left = [each for each in records if each is not lost]
    write_records(left, tmp_path / "tiny-1/records.jsonl.gz")
    assert main(arguments) == 1
    said = capsys.readouterr().out
    assert "1 of 36 cells have no record" in said
    assert "methods.csv is not what its records give today" in said
    shutil.rmtree(tmp_path / "tiny-1")
    shutil.copytree(folder, tmp_path / "tiny-1")
    table = tmp_path / "tiny-1/methods.csv"
    table.write_text(table.read_text().replace("Random", "Chance"))
    assert main(arguments) == 1
    assert "methods.csv is not what its records give today" in capsys.readouterr().out
    assert main(["verify", str(tmp_path / "tiny-1"), "--cells", "0"]) == 1


def test_cells_of_a_published_suite_can_be_run_again(published, capsys):
    folder, _ = published
    assert main(["verify", str(folder), "--cells", "1", "--seed", "0"]) == 0
    assert "1 with identical bits" in capsys.readouterr().out


def test_a_tuned_division_is_published_beside_its_suite(published, ran, tmp_path, capsys):
    pytest.importorskip("optuna", reason="tuning is an extra")
    folder, (command, _, *folders) = published
    page, name = folder.parent / "README.md", "tiny-1-tuned"
    page.write_text(f"{page.read_text()}\n<!-- {name} -->\n<!-- end of {name} -->\n")
    path = tmp_path / f"{name}.yaml"
    path.write_text(f"suite: {ran / 'tiny-1.yaml'}\ndivision: tuned\nstrategies: [StructuredL1]\n")
    tuned = [command, str(path), *folders]
    assert main(tuned) == 0
    capsys.readouterr()
    assert main([*tuned, "--check"]) == 0
    assert capsys.readouterr().out == f"fresh  {folder.parent / name}\n"
    methods = set(pd.read_csv(folder.parent / name / "methods.csv")["method"])
    assert any("rate" in each for each in methods)
    assert {each.partition(" ")[0] for each in methods} == {
        "Random", "GlobalMagnitude", "StructuredL1", "NarrowerDense",
    }  # fmt: skip
    assert main(["verify", str(folder.parent / name), "--cells", "1", "--seed", "0"]) == 0
    if find_spec("markdown_it"):
        assert main(["site", str(folder.parent), "-o", str(tmp_path / "site")]) == 0
        shown = (tmp_path / f"site/results/{name}/index.html").read_text()
        assert 'href="../../methods/StructuredL1.html"' in shown
    kept = list(read_records(folder.parent / name / "records.jsonl.gz"))
    trial = next(each for each in kept if each.experiment["seed"] == 9)
    write_records(
        [each for each in kept if each is not trial], tmp_path / name / "records.jsonl.gz"
    )
    assert main([*tuned[:3], str(tmp_path), "--check"]) == 1
    assert "trials of the tuned division have not been run" in capsys.readouterr().out
    path.write_text(path.read_text() + "trials: 3\n")
    assert main([*tuned, "--check"]) == 2
    assert "unknown option 'trials'" in capsys.readouterr().err


def test_the_site_begins_with_the_standing(published, tmp_path):
    pytest.importorskip("markdown_it", reason="sites come with the extra site")
    folder, _ = published
    assert main(["site", str(folder.parent), "-o", str(tmp_path / "site")]) == 0
    index = (tmp_path / "site/index.html").read_text()
    assert "Two tasks" in index
    assert 'href="methods/StructuredL1.html"' in index.partition("Comparisons</h2>")[0]
    page = (tmp_path / "site/results/tiny-1/index.html").read_text()
    assert 'href="../../methods/StructuredL1.html"' in page
    assert "NarrowerDense</th>" in page
