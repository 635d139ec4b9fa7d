"""The leaderboard as CSV and as text says what the frame says."""

from __future__ import annotations

import io

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prunebench.results import as_text, leaderboard, tables, write_csv
from prunebench.results.tables import as_csv, read_csv


def line_of(text, start):
    """The one line of a table that starts so."""
    (line,) = [line for line in text.splitlines() if line.startswith(start)]
    return line


def test_csv_has_unix_line_ends_whole_integers_and_six_significant_digits(make_record, tmp_path):
    large = {"flops": 4_089_184_256}
    write_csv(leaderboard([make_record(top1=2 / 3, dense=large)]), tmp_path / "new" / "board.csv")
    content = (tmp_path / "new" / "board.csv").read_bytes()
    assert b"\r" not in content
    assert content.endswith(b"\n")
    row = pd.read_csv(io.BytesIO(content), dtype="str").iloc[0]
    assert row["flops"] == "4089184256"
    assert row["seeds"] == "1"
    assert row["top1_mean"] == "0.666667"
    assert row["target_compression"] == "4"
    assert pd.isna(row["top1_std"])


def test_texts_read_back_from_csv_are_what_they_were_and_numbers_are_no_formulas():
    texts = ["=SUM(A1)", "+ours", "-1.5 -0.25", "-0.5 nan", "@x", "'quoted'", "-2+3"]
    content = as_csv(pd.DataFrame({"text": texts, "@y": 1.0}))
    assert content.decode().splitlines() == [
        *("text,'@y", "'=SUM(A1),1", "'+ours,1", "-1.5 -0.25,1", "-0.5 nan,1", "'@x,1"),
        *("'quoted',1", "'-2+3,1"),
    ]
    assert read_csv(content)["text"].tolist() == texts
    assert list(read_csv(content)) == ["text", "@y"]


def test_a_leaderboard_read_back_from_csv_makes_the_same_text(make_sweep, make_record, tmp_path):
    records = make_sweep()
    records.append(make_record(strategy="Random", sources={"strategy": "aaaa1111ffff"}))
    records.append(make_record(dataset="KMNIST", status="failed"))
    frame = leaderboard(records)
    assert "Random @aaaa1111 " in as_text(frame)
    write_csv(frame, tmp_path / "board.csv")
    assert as_text(pd.read_csv(tmp_path / "board.csv")) == as_text(frame)


@pytest.mark.slow
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=3))
def test_numbers_are_rounded_the_same_from_csv(make_record, accuracies):
    frame = leaderboard(make_record(seed=n, top1=each) for n, each in enumerate(accuracies))
    assert as_text(pd.read_csv(io.BytesIO(as_csv(frame)))) == as_text(frame)


def test_a_table_has_strategies_down_and_targets_across(make_record):
    records = [
        make_record(strategy=strategy, seed=seed, top1=top1, **target)
        for strategy, tops in (("Random", (0.5, 0.6)), ("SNIP", (0.98, 0.98)))
        for seed, top1 in enumerate(tops)
        for target in ({"compression": 8.0}, {"compression": 9.0})
    ]
    text = as_text(leaderboard(records))
    assert line_of(text, "strategy").split() == ["strategy", "8×", "9×"]
    assert line_of(text, "Random").split("  ")[-2:] == ["55.00 ± 7.07"] * 2
    assert line_of(text, "SNIP").split("  ")[-2:] == ["98.00 ± 0.00"] * 2
    assert text.index("Random") < text.index("SNIP")


def test_targets_of_another_kind_have_a_table_of_their_own(make_record):
    kinds = {"compression": "8×", "sparsity": "80 %", "channel_sparsity": "80 % of channels"}
    values = {"compression": 8.0, "sparsity": 0.8, "channel_sparsity": 0.8, "speedup": 3.0}
    kinds["speedup"] = "3× fewer FLOPs"
    records = [
        make_record(strategy="Random", **{"compression": None, kind: values[kind]})
        for kind in kinds
    ]
    headers = [line for line in as_text(leaderboard(records)).splitlines() if "strategy" in line]
    assert [line.split(maxsplit=1)[1].strip() for line in headers] == list(kinds.values())


def test_the_heading_says_what_was_compared(make_record):
    first, second, third, *_ = as_text(leaderboard([make_record(rounds=3)])).splitlines()
    assert first.startswith("LeNet5 on MNIST · 3 rounds · Geometric schedule · recovery FineTune")
    assert "settings sha256:" in second
    assert third == "Top-1 accuracy (%), 1 seed; unpruned 99.00"


def test_the_heading_names_unusual_settings_and_no_usual_ones(make_record, tmp_path):
    unusual = {"initialisation": "Xavier", "start_epoch": 0, "timing": "DuringTraining(begin=0.1)"}
    write_csv(leaderboard([make_record(**unusual), make_record()]), tmp_path / "both.csv")
    text = as_text(pd.read_csv(tmp_path / "both.csv"), width=200)
    headings = [part for part in text.split("\n\n") if part.startswith("LeNet5 on MNIST")]
    named = "timing DuringTraining(begin=0.1) · initialisation Xavier · pruned at initialisation"
    assert sorted(named in heading for heading in headings) == [False, True]
    usual = "timing BetweenTrainings · initialisation Default · pruned after pretraining"
    assert sorted(usual in heading for heading in headings) == [False, True]
    write_csv(leaderboard([make_record()]), tmp_path / "usual.csv")
    alone = as_text(pd.read_csv(tmp_path / "usual.csv"))
    assert not any(word in alone for word in ("timing", "initialisation", "pruned after"))


def test_a_heading_that_is_too_long_takes_several_lines(make_record):
    frame = leaderboard([make_record(recovery="RewindLearningRate")])
    whole = as_text(frame, width=200).splitlines()
    first, second, *rest = as_text(frame, width=80).splitlines()
    assert whole[0] == f"{first} · {second}"
    assert rest == whole[1:]


RECIPE = {"epochs": 20, "optimizer": "SGD", "learning_rate": 0.1, "batch_size": 60}


def test_the_heading_says_the_recipes_in_words(make_record, tmp_path):
    pretraining = {**RECIPE, "momentum": 0.9, "weight_decay": 5e-4, "nesterov": False}
    finetuning = {**RECIPE, "epochs": 5, "learning_rate": 0.01}
    write_csv(
        leaderboard([make_record(pretraining=pretraining, finetuning=finetuning)]),
        tmp_path / "board.csv",
    )
    heading = as_text(pd.read_csv(tmp_path / "board.csv"), width=400).splitlines()[0]
    assert (
        "pretraining 20 epochs, SGD, learning rate 0.1, batch size 60, momentum 0.9, "
        "weight decay 0.0005 · fine-tuning 5 epochs, SGD, learning rate 0.01, batch size 60 · "
    ) in heading
    finetuning = {**pretraining, "epochs": 5, "learning_rate": 0.01}
    frame = leaderboard([make_record(pretraining=pretraining, finetuning=finetuning)])
    heading = as_text(frame, width=400).splitlines()[0]
    assert " · fine-tuning 5 epochs, learning rate 0.01, else the same · " in heading


def test_a_heading_names_no_recipe_that_was_not_used(make_record):
    same = as_text(leaderboard([make_record(pretraining=RECIPE, finetuning=RECIPE)]), width=400)
    assert "fine-tuning 20 epochs, else the same" in same
    none = make_record(recovery="NoRecovery", pretraining={**RECIPE, "epochs": 0})
    heading = as_text(leaderboard([none]), width=400).splitlines()[0]
    assert "fine-tuning" not in heading
    assert "pretraining none" in heading


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        ({"recovery": "FineTune"}, {"recovery": "NoRecovery"}, "recovery NoRecovery"),
        ({}, {"threads": 2}, "threads 2"),
        ({}, {"pretraining": {"epochs": 20, "weight_decay": 0.1}}, "pretraining weight decay 0.1"),
        ({}, {"start_epoch": 3}, "pruned after epoch 3"),
        ({}, {"compression": None, "sparsity": 0.5}, "targets of sparsity"),
        ({}, {"a_later_setting": [1, 2]}, "a later setting 1, 2"),
    ],
)
def test_what_tells_two_comparisons_apart_stands_first_in_both_headings(
    make_record, one, other, words
):
    headings = [
        " · ".join(part.splitlines())
        for part in as_text(leaderboard([make_record(**one), make_record(**other)])).split("\n\n")
        if part.startswith("LeNet5 on MNIST")
    ]
    assert any(heading.startswith(f"LeNet5 on MNIST · {words} · ") for heading in headings)
    assert len({heading.split(" · ")[1] for heading in headings}) == 2
    name = words.rpartition(" ")[0]
    assert all(name.split()[0] in heading for heading in headings)


def test_comparisons_that_nothing_in_words_tells_apart_are_told_by_their_digest(make_record):
    def of(comparison):
        record = make_record()
        return record.model_copy(
            update={"experiment": {**record.experiment, "comparison": comparison}}
        )

    text = as_text(leaderboard([of("0123abcd"), of("64384681")]))
    assert "LeNet5 on MNIST · settings sha256:0123abcd" in text
    assert "LeNet5 on MNIST · settings sha256:64384681" in text


def test_a_file_of_an_older_version_has_fewer_columns(make_record):
    frame = leaderboard([make_record()])
    later = ["timing", "initialisation", "start_epoch", "finetuned_network", "label"]
    older = frame.drop(columns=[*later, "pretraining_optimizer", "finetuning_optimizer"])
    assert as_text(older) == as_text(frame)


def test_a_complete_table_needs_no_legend(make_sweep):
    text = as_text(leaderboard(make_sweep()))
    assert not any(mark in text for mark in ("†", "—", "(n/m)", "failed"))


def test_collapsed_fewer_failed_and_missing_are_marked_and_explained(make_record):
    records = [
        make_record(strategy="Complete", compression=2.0, seed=0),
        make_record(strategy="Complete", compression=2.0, seed=1),
        make_record(strategy="Collapsed", compression=2.0, seed=0, status="collapsed"),
        make_record(strategy="Collapsed", compression=2.0, seed=1),
        make_record(strategy="Fewer", compression=2.0, seed=0),
        make_record(strategy="PartlyFailed", compression=2.0, seed=0),
        make_record(strategy="PartlyFailed", compression=2.0, seed=1, status="failed"),
        make_record(strategy="WhollyFailed", compression=2.0, seed=0, status="failed"),
        make_record(strategy="Elsewhere", compression=4.0, seed=0),
    ]
    text = as_text(leaderboard(records))
    assert line_of(text, "Complete").split() == ["Complete", "90.00", "±", "0.00", "—"]
    assert line_of(text, "Collapsed").split() == ["Collapsed", "90.00", "±", "0.00†", "—"]
    assert line_of(text, "Fewer").split() == ["Fewer", "90.00", "(1/2)", "—"]
    assert line_of(text, "PartlyFailed").split() == ["PartlyFailed", "90.00", "(1/2)", "—"]
    assert line_of(text, "WhollyFailed").split() == ["WhollyFailed", "failed", "—"]
    assert line_of(text, "Elsewhere").split() == ["Elsewhere", "—", "90.00", "(1/2)"]
    explained = text.splitlines()[-4:]
    assert [line.split()[0] for line in explained] == ["†", "(n/m)", "failed:", "—"]


@pytest.mark.parametrize(
    ("kind", "asked", "measurement", "near", "far"),
    [
        ("compression", 4.0, "compression", 4.19, 4.22),
        ("compression", 4.0, "compression", 3.82, 3.8),
        ("sparsity", 0.8, "prunable_sparsity", 0.791, 0.789),
        ("sparsity", 0.0, "prunable_sparsity", 0.04, 0.06),
        ("speedup", 3.0, "theoretical_speedup", 3.1, 2.5),
    ],
)
def test_a_number_whose_target_was_missed_is_marked(
    make_record, kind, asked, measurement, near, far
):
    targets = {"compression": None, kind: asked}
    records = [
        make_record(strategy=strategy, final={"top1": 0.9, measurement: achieved}, **targets)
        for strategy, achieved in (("Near", near), ("Far", far))
    ]
    text = as_text(leaderboard(records))
    assert line_of(text, "Near").split() == ["Near", "90.00"]
    assert line_of(text, "Far").split() == ["Far", "90.00‡"]
    assert text.splitlines()[-1].startswith("‡ what is left differs by more than 5 %")


def test_settings_that_differ_make_two_tables(make_record):
    text = as_text(leaderboard([make_record(), make_record(rounds=3)]))
    assert text.count("LeNet5 on MNIST") == 2


def test_a_metric_that_is_no_fraction_is_not_shown_in_percent(make_record):
    record = make_record(quality={"perplexity": "lower"}, final={"perplexity": 5.1234567})
    text = as_text(leaderboard([record]))
    assert line_of(text, "GlobalMagnitude").split()[1] == "5.123"
    assert "%" not in text


def test_versions_of_one_strategy_are_told_apart(make_record):
    records = [
        make_record(strategy="mine.py:Mine", sources={"strategy": source})
        for source in ("aaaa1111ffff", "bbbb2222ffff")
    ]
    text = as_text(leaderboard(records))
    assert "\nMine @aaaa1111 " in text
    assert "\nMine @bbbb2222 " in text


@pytest.mark.parametrize("width", [60, 80, 100])
def test_no_table_is_wider_than_asked_and_no_target_is_lost(make_sweep, width):
    compressions = [2**n for n in range(10)]
    text = as_text(leaderboard(make_sweep(compressions=compressions)), width=width)
    tables = [line for line in text.splitlines() if line.startswith(("strategy", "Random"))]
    assert all(len(line) <= width for line in tables)
    targets = [word for line in tables if line.startswith("strategy") for word in line.split()[1:]]
    assert targets == [f"{compression}×" for compression in compressions]


def test_no_fewer_tables_would_do(make_sweep, monkeypatch):
    frame = leaderboard(make_sweep(compressions=[2**n for n in range(10)]))
    widths = range(5, 140, 9)
    texts = [as_text(frame, width=width) for width in widths]
    monkeypatch.setattr(tables, "_fewest_tables", lambda table, width: 1)
    assert [as_text(frame, width=width) for width in widths] == texts


def test_an_empty_leaderboard_says_so():
    assert as_text(leaderboard([])) == "There are no records yet."


def test_a_comparison_in_which_all_failed_is_shown(make_record):
    text = as_text(leaderboard([make_record(status="failed")]))
    assert line_of(text, "GlobalMagnitude").split() == ["GlobalMagnitude", "failed"]
