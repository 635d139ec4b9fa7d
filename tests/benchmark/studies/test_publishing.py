"""Published comparisons: what is stale about them, and making them anew."""

import pandas as pd
import pytest

from prunebench.benchmark.command_line import main
from prunebench.results.record_file import read_records, write_records

CONFIG = """\
dataset: Digits
model: LeNetSmall
strategy: [GlobalMagnitude, Random]
sparsity: 0.5
recovery: NoRecovery
seed: [0, 1]
pretraining: {epochs: 2}
"""


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A comparison that has just been published, and the arguments of the command that did it."""
    home = tmp_path_factory.mktemp("published")
    (home / "small.yaml").write_text(CONFIG)
    (home / "published").mkdir()
    (home / "published/README.md").write_text(
        "Above.\n<!-- small -->\n<!-- end of small -->\nBelow.\n"
    )
    folders = ["--published", str(home / "published"), "--runs", str(home / "runs")]
    arguments = ["publish", str(home / "small.yaml"), *folders]
    assert main(arguments) == 0
    return home, arguments


pytestmark = pytest.mark.slow


def test_what_was_just_published_is_fresh(published, capsys):
    home, arguments = published
    assert main([*arguments, "--check"]) == 0
    assert capsys.readouterr().out == f"fresh  {home / 'published/small'}\n"
    names = {path.name for path in (home / "published/small").iterdir()}
    assert names == {
        "records.jsonl.gz",
        "leaderboard.csv",
        "seeds.csv",
        "quality-vs-compression.png",
        "quality-vs-speedup.png",
        "report.html",
        "experiments.yaml",
        "manifest.json",
    }
    page = (home / "published/README.md").read_text()
    assert page.startswith("Above.\n")
    assert page.endswith("Below.\n")
    assert "Random" in page


def test_the_table_of_single_runs_has_the_values_whose_mean_the_leaderboard_has(published):
    home, _ = published
    seeds = pd.read_csv(home / "published/small/seeds.csv")
    rows = pd.read_csv(home / "published/small/leaderboard.csv").set_index("strategy")
    assert len(seeds) == 4
    for strategy, runs in seeds.groupby("strategy"):
        assert runs["top1"].mean() == pytest.approx(rows.loc[strategy, "top1_mean"], rel=1e-5)
        assert runs["top1"].std() == pytest.approx(rows.loc[strategy, "top1_std"], rel=1e-4)


def test_a_leaderboard_is_made_from_the_published_file_of_records(published, capsys, tmp_path):
    home, _ = published
    file = home / "published/small/records.jsonl.gz"
    assert main(["leaderboard", str(file), "-o", str(tmp_path / "again.csv")]) == 0
    again = (tmp_path / "again.csv").read_bytes()
    assert again == (home / "published/small/leaderboard.csv").read_bytes()


def test_cells_without_a_record_and_tables_that_were_edited_are_named(published, capsys):
    home, arguments = published
    config, table = home / "small.yaml", home / "published/small/leaderboard.csv"
    text, content = config.read_text(), table.read_bytes()
    try:
        config.write_text(text.replace("[0, 1]", "[1, 2]"))
        table.write_bytes(content.replace(b"0.5", b"0.6"))
        assert main([*arguments, "--check"]) == 1
        said = capsys.readouterr().out
        assert "2 of 4 cells have no finished record" in said
        assert "2 records are of no cell" in said
        assert "leaderboard.csv is not what its records give today" in said
    finally:
        config.write_text(text)
        table.write_bytes(content)


def test_only_records_that_a_change_concerns_are_made_anew(published, capsys, tmp_path):
    """Into an empty folder, so that whatever is not stale comes from what is published."""
    home, arguments = published
    file = home / "published/small/records.jsonl.gz"
    records = list(read_records(file))
    old = records[0].model_copy(update={"revision": 0, "distributions": ()})
    marked = [each.model_copy(update={"environment": {"mark": "kept"}}) for each in records[1:]]
    write_records([old, *marked], file)
    assert main([*arguments, "--check"]) == 1
    assert "made before a change: records have the epochs" in capsys.readouterr().out
    assert main([*arguments[:-1], str(tmp_path / "runs")]) == 0
    anew = {record.id: record for record in read_records(file)}
    assert anew[old.id].result() == records[0].result()
    assert all(anew[each.id] == each for each in marked)


def test_a_page_without_a_place_for_the_table_is_told_so(published, capsys):
    home, arguments = published
    page = home / "published/README.md"
    before = page.read_text()
    page.write_text("Nothing.\n")
    (home / "published/small/seeds.csv").unlink()
    assert main(arguments) == 2
    page.write_text(before)
    assert "has no place for small: put two lines" in capsys.readouterr().err
    assert main(arguments) == 0


def test_without_anything_published_a_sentence_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["publish", "--check"]) == 2
    assert "nothing is published in results/published" in capsys.readouterr().err
