"""People see methods by name, wherever their files are, and digests that are no numbers."""

from __future__ import annotations

import io

import pandas as pd
import pytest

from prunebench.benchmark.command_line import main
from prunebench.benchmark.experiment import Experiment
from prunebench.benchmark.recipe import FineTuning, Pretraining
from prunebench.errors import UsageError
from prunebench.results import Store, as_text, inference_table, leaderboard, study
from prunebench.results.naming import labelled, labels_of, named, shown, with_labels
from prunebench.results.report import report
from prunebench.results.seeds import single_seeds
from prunebench.results.settings import DEFAULTS, RECIPE_COLUMNS
from prunebench.results.summary import summary, title

PATHS = ("mine.py:Mine(alpha=2)", "./mine.py:Mine(alpha=2)", "/home/me/mine.py:Mine(alpha=2)")


def records_of(make_record, paths=PATHS, **settings):
    """A record for each way to write the path of one method, each with a seed of its own."""
    return [
        make_record(strategy=path, seed=seed, sources={"strategy": "aaaa1111ffff"}, **settings)
        for seed, path in enumerate(paths)
    ]


@pytest.mark.parametrize("path", PATHS)
def test_a_method_is_called_by_its_class_wherever_its_file_is(make_record, path):
    record = make_record(strategy=path, model="my.package:Net", dataset="/home/me/d.py:Data")
    assert title(record.experiment) == "Mine(alpha=2) at 4× on Net and Data, seed 0"
    assert "/home" not in summary(record)


def test_names_without_a_path_stay_as_they_are():
    for name in (
        "GlobalMagnitude(allocation=Global(minimum=1))",
        "torchvision/resnet50(pretrained=True)",
        "Mine(text='a:b', pattern='x.py:Y(z=1)')",
        "ImageFolder(folder='pictures/small')",
    ):
        assert named(name) == shown(name) == name


def test_of_an_absolute_path_among_arguments_the_last_part_is_shown():
    assert shown("FromFile(path='/home/me/a/net.pt')") == "FromFile(path='net.pt')"


def test_one_method_is_one_row_however_its_path_is_written(make_record):
    frame = leaderboard(records_of(make_record))
    assert frame["strategy"].tolist() == ["Mine(alpha=2)"]
    assert frame["seeds"].tolist() == [3]
    assert "/home" not in frame.to_csv()


def test_one_network_and_data_set_make_one_comparison_however_their_paths_are_written(make_record):
    records = [
        make_record(
            model=f"{folder}net.py:Net",
            dataset=f"{folder}data.py:Data",
            seed=seed,
            comparison="0123abcd",
            sources={"model": "aaaa", "dataset": "bbbb"},
        )
        for seed, folder in enumerate(("", "./", "/home/me/"))
    ]
    frame = leaderboard(records)
    assert frame["seeds"].tolist() == [3]
    assert as_text(frame).startswith("Net on Data · 1 round")


def test_two_versions_of_a_network_are_never_averaged(make_record):
    records = [
        make_record(model="net.py:Net", seed=seed, comparison="0123abcd", sources={"model": source})
        for seed, source in enumerate(("aaaa1111", "bbbb2222"))
    ]
    frame = leaderboard(records)
    assert frame["seeds"].tolist() == [1, 1]
    text = as_text(frame)
    assert "Net on MNIST · model source sha256:aaaa1111" in text
    assert "Net on MNIST · model source sha256:bbbb2222" in text


def test_a_study_and_the_times_count_one_method_once(make_record):
    time = {
        "runtime": "Eager",
        "network": "dense",
        "batch_size": 1,
        "memory_format": "contiguous",
        "median_ms": 1.0,
        "iqr_ms": 0.1,
        "repeats": 3,
        "speedup": 1.0,
        "speedup_low": 0.9,
        "speedup_high": 1.1,
        "speedup_over_eager": 1.0,
        "peak_bytes": None,
        "difference": None,
        "reason": "",
    }
    records = [
        type(record).model_validate({**record.model_dump(), "inference": [time]})
        for record in records_of(make_record, dense={"theoretical_speedup": 1.0})
    ]
    for table in (study.schemes(records), inference_table(records)):
        assert table["strategy"].tolist() == ["Mine(alpha=2)"]
        assert table["seeds"].tolist() == [3]


@pytest.mark.parametrize("digits", ["64384681", "12e45678", "00000012", "1e234567"])
def test_no_reader_takes_a_digest_for_a_number(make_record, digits):
    record = make_record(comparison=digits, sources={"strategy": digits, "model": digits})
    content = leaderboard([record]).to_csv(index=False)
    row = pd.read_csv(io.StringIO(content)).iloc[0]
    for column in ("settings", "strategy_source", "model_source"):
        assert row[column] == f"sha256:{digits}"


def test_the_id_in_the_table_of_single_runs_finds_the_record(make_record, tmp_path):
    record = make_record()
    Store(tmp_path).save(record)
    shown_id = single_seeds([record])["id"].iloc[0]
    assert shown_id == f"sha256:{record.id}"
    assert Store(tmp_path).find(shown_id) == record


@pytest.mark.slow
def test_the_user_chooses_what_a_strategy_is_called(make_record, make_sweep, tmp_path):
    frame = leaderboard([*records_of(make_record, compression=2.0), *make_sweep()])
    labels = labels_of(["./mine.py:Mine( alpha=2.0)=Ours, α=2", "Random=At random"])
    frame = with_labels(frame, labels)
    assert sorted(frame["label"].unique()) == ["At random", "GlobalMagnitude", "Ours, α=2"]
    assert "\nOurs, α=2 " in as_text(frame)
    assert "Mine" not in as_text(frame)
    report(frame, tmp_path / "report.html")
    assert "At random" in (tmp_path / "report.html").read_text()
    assert as_text(pd.read_csv(io.StringIO(frame.to_csv(index=False)))) == as_text(frame)


def test_a_label_may_be_for_one_version_of_a_strategy(make_record):
    records = [
        make_record(strategy="mine.py:Mine", sources={"strategy": source})
        for source in ("aaaa1111ffff", "bbbb2222ffff")
    ]
    frame = with_labels(leaderboard(records), {"Mine @aaaa1111": "Old", "Mine@bbbb": "New"})
    assert frame["label"].tolist() == ["Old", "New"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("Randm=Chance", "did you mean 'Random'"),
        ("Random", "write STRATEGY=LABEL"),
        ("Random=", "write STRATEGY=LABEL"),
        ("Random=GlobalMagnitude", "would mean 'GlobalMagnitude' and 'Random'"),
        ("Random @0123=Chance", "none of the strategies"),
    ],
)
def test_a_label_that_cannot_be_is_refused_in_a_sentence(make_sweep, text, complaint):
    frame = leaderboard(make_sweep())
    with pytest.raises(UsageError, match=complaint):
        with_labels(frame, labels_of([text]))


def test_labels_come_from_the_command_line_and_from_the_file(make_sweep, tmp_path, capsys):
    for record in make_sweep():
        Store(tmp_path / "runs").save(record)
    command = ["leaderboard", str(tmp_path / "runs"), "--label", "Random=At random"]
    assert main([*command, "GlobalMagnitude=Largest"]) == 0
    assert "\nAt random " in (table := capsys.readouterr().out)
    assert "\nLargest " in table
    config = tmp_path / "config.yaml"
    config.write_text(
        "dataset: Digits\nmodel: LeNetSmall\nstrategy: [Random, GlobalMagnitude]\n"
        "compression: 2\nlabels: {Random: At random}\n"
    )
    run = ["run", str(config), "--dry-run", "--runs", str(tmp_path / "new")]
    assert main(run) == 0
    assert main([*run, "--strategy", "GlobalMagnitude"]) == 0
    assert main([*run, "--label", "Randm=Chance"]) == 2
    told = capsys.readouterr().err
    assert "the label 'Chance' is not allowed: 'Randm' is none" in told
    assert "did you mean 'Random'" in told
    config.write_text(config.read_text().replace("{Random: At random}", "[Random]"))
    assert main(run) == 2
    assert "labels: ['Random'] is not allowed" in capsys.readouterr().err


def test_a_strategy_has_one_label():
    with pytest.raises(UsageError, match="two labels"):
        labels_of(["Random=A", "Random=B"])
    assert labelled([("Random", "")], {}) == {("Random", ""): "Random"}


def test_the_defaults_that_headings_pass_over_are_those_of_an_experiment():
    recipes = {"pretraining": Pretraining, "finetuning": FineTuning}
    fields = dict(Experiment.model_fields)
    for name, recipe in recipes.items():
        del fields[name]
        fields |= {f"{name}_{part}": field for part, field in recipe.model_fields.items()}
    for name, default in DEFAULTS.items():
        found = fields[name].default
        assert default == (list(found) if isinstance(found, tuple) else found), name
    assert {*RECIPE_COLUMNS, *DEFAULTS} >= {
        name for name in fields if name.startswith(tuple(recipes))
    }
