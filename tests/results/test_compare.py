"""Comparisons of strategies and of runs: what is paired, and what is said of it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from prunebench.benchmark.command_line import main
from prunebench.quality import Quality
from prunebench.results import leaderboard, write_csv
from prunebench.results.compare import (
    COMPARE_COLUMNS,
    compare_table,
    runs_compared,
    strategies_compared,
    verdict,
)
from prunebench.results.record_file import read_records, write_records
from prunebench.results.statistics.paired import compare
from prunebench.results.trials import trials

PERCENT = Quality("higher", "Top-1 accuracy", "%")
NOISE = (0.0, 0.004, -0.002, 0.003, -0.004, 0.001, 0.002)


@pytest.fixture
def run_of(tmp_path, make_record):
    """Save runs of two strategies, of which one is better by so much, and return the file."""

    def make(name="runs", by=0.0, seeds=range(3), strategies=("A", "B"), **same):
        records = [
            make_record(
                strategy=strategy,
                compression=compression,
                seed=seed,
                top1=0.9 + place * by + NOISE[seed] * (1 + 0.1 * place) + 0.01 * seed,
                **same,
            )
            for place, strategy in enumerate(strategies)
            for compression in (2, 4)
            for seed in seeds
        ]
        write_records(records, tmp_path / name)
        return tmp_path / name

    return make


def together(*files):
    """A file with the records of several."""
    write_records([each for file in files for each in read_records(file)], files[0])
    return files[0]


def test_seeds_are_paired_by_their_numbers_and_the_numbers_are_those_of_scipy(run_of):
    found = strategies_compared(trials(run_of(by=0.05), {}), "A", "B", "t")
    table = compare_table(found)
    assert table["target"].tolist() == ["2×", "4×"]
    first = [0.9 + NOISE[seed] + 0.01 * seed for seed in range(3)]
    second = [0.95 + 1.1 * NOISE[seed] + 0.01 * seed for seed in range(3)]
    expected = scipy.stats.ttest_rel(second, first)
    row = table.iloc[0]
    assert row["pairs"] == row["b_better"] == 3
    assert row["difference"] == pytest.approx(sum(second) / 3 - sum(first) / 3)
    assert row["p"] == pytest.approx(expected.pvalue)
    assert row["p_adjusted"] == pytest.approx(min(1, 2 * expected.pvalue))
    low, high = expected.confidence_interval(0.95)
    assert (row["difference_ci95_low"], row["difference_ci95_high"]) == pytest.approx((low, high))
    assert row["verdict"].startswith("B better by 5.0")


def test_swapping_the_strategies_turns_the_difference(run_of):
    found = trials(run_of(by=0.05), {})
    one, other = (compare_table(strategies_compared(found, *names, "t")) for names in ("AB", "BA"))
    assert one["difference"].tolist() == pytest.approx((-other["difference"]).tolist())
    assert one["p"].tolist() == pytest.approx(other["p"].tolist())
    assert other["verdict"].str.startswith("A better by").all()


def test_only_seeds_that_both_have_are_pairs(run_of):
    folder = together(
        run_of("a", strategies=("A",), seeds=(0, 1, 2, 3)),
        run_of("b", strategies=("B",), seeds=(1, 3, 4)),
    )
    assert compare_table(strategies_compared(trials(folder, {}), "A", "B", "t"))[
        "pairs"
    ].tolist() == [2, 2]


def test_two_runs_of_other_settings_are_compared_strategy_by_strategy(run_of):
    runs = run_of("first"), run_of("second", by=0.05, rounds=3)
    table = compare_table(runs_compared(*(trials(run, {}) for run in runs), "t"))
    assert table[["a", "b", "target"]].to_numpy().tolist() == [
        ["A", "A", "2×"],
        ["A", "A", "4×"],
        ["B", "B", "2×"],
        ["B", "B", "4×"],
    ]
    assert table["verdict"].iloc[0] == "the same numbers"
    assert (table["difference"].iloc[2:] > 0.04).all()


def test_a_csv_gives_the_same_as_the_records_where_no_seed_is_missing(run_of, tmp_path):
    folder = run_of(by=0.05)
    write_csv(leaderboard([folder]), tmp_path / "leaderboard.csv")
    one, other = (
        compare_table(strategies_compared(trials(place, {}), "A", "B", "t"))
        for place in (folder, tmp_path / "leaderboard.csv")
    )
    pd.testing.assert_frame_equal(one, other, rtol=1e-4)


def test_a_csv_is_paired_with_records_by_the_order_of_seeds_and_that_is_said(
    run_of, tmp_path, capsys
):
    folder, table = run_of(by=0.05, seeds=(1, 2, 3)), tmp_path / "leaderboard.csv"
    write_csv(leaderboard([folder]), table)
    said = "Seeds are paired by their order"
    for places in ((folder, table), (table, folder), (table, table)):
        found = compare_table(runs_compared(*(trials(place, {}) for place in places), "t"))
        assert found["pairs"].tolist() == [3] * 4
        assert set(found["verdict"]) == {"the same numbers"}
        assert main(["compare", *map(str, places)]) == 0
        assert said in capsys.readouterr().out
    assert main(["compare", str(folder), str(folder)]) == 0
    assert main(["compare", "A", "B", "--runs", str(table)]) == 0
    assert said not in capsys.readouterr().out


def test_a_csv_of_negative_numbers_is_read(make_record, tmp_path):
    records = [
        make_record(
            strategy=strategy,
            seed=seed,
            quality={"score": "lower"},
            final={"score": place - 3 + 0.01 * seed},
            dense={"score": -4},
        )
        for place, strategy in enumerate("AB")
        for seed in range(3)
    ]
    write_csv(leaderboard(records), tmp_path / "leaderboard.csv")
    table = compare_table(
        strategies_compared(trials(tmp_path / "leaderboard.csv", {}), "A", "B", "t")
    )
    assert table[["a_mean", "b_mean", "pairs"]].round(9).to_numpy().tolist() == [[-2.99, -1.99, 3]]


def test_rows_of_a_csv_that_lack_a_seed_are_no_pairs(run_of, tmp_path):
    folder = together(run_of("a", strategies=("A",)), run_of("b", strategies=("B",), seeds=(1, 2)))
    write_csv(leaderboard([folder]), tmp_path / "leaderboard.csv")
    table = compare_table(
        strategies_compared(trials(tmp_path / "leaderboard.csv", {}), "A", "B", "t")
    )
    assert table["pairs"].tolist() == [0, 0]
    assert set(table["verdict"]) == {"no seed with a number in both"}


@pytest.mark.parametrize(
    ("first", "second", "p", "test", "expected"),
    [
        ([0.9, 0.91, 0.92], [0.95, 0.963, 0.97], 0.01, "t", "B better by 5.10 ± 0.43 points"),
        ([0.95, 0.963, 0.97], [0.9, 0.91, 0.92], 0.01, "t", "A better by 5.10 ± 0.43 points"),
        ([0.9, 0.91], [0.91, 0.90], 1, "t", "cannot be told apart: B 12.71 worse to 12.71 better"),
        (
            [0.9, 0.91, 0.92],
            [0.95, 0.963, 0.97],
            0.06,
            "t",
            "not sure among so many rows: B 4.67 to 5.53 better",
        ),
        ([0.9] * 3, [0.91, 0.92, 0.93], 0.25, "sign-flip", "three pairs cannot show p < 0.25"),
        ([0.9], [0.8], 1, "t", "one pair says nothing about chance"),
        ([], [], 1, "t", "no seed with a number in both"),
        ([0.9, 0.8], [0.9, 0.8], 1, "t", "the same numbers"),
    ],
)
def test_the_verdict_says_in_words_what_can_be_concluded(first, second, p, test, expected):
    assert verdict(compare(first, second, test), p, PERCENT) == expected


def test_equal_differences_have_no_interval_and_no_verdict_of_it():
    found = compare([0.9, 0.91, 0.92], [0.95, 0.96, 0.97])
    assert np.isnan([found.low, found.high, found.effect_size]).all()
    assert found.p == 0.25
    assert verdict(found, found.p, PERCENT) == "three pairs cannot show p < 0.25"
    found = compare(np.arange(6) / 10, np.arange(6) / 10 + 0.05)
    assert verdict(found, found.p, PERCENT) == "B better by 5.00 points"


def test_numbers_that_stand_together_are_written_to_as_many_places():
    perplexity = Quality("lower", "Perplexity")
    found = compare([19.0, 19.5, 20.0], [23.2, 23.71, 24.22])
    assert verdict(found, 0.01, perplexity) == "A better by 4.210 ± 0.025"
    assert verdict(found, 0.2, perplexity).endswith("B 4.185 to 4.235 worse")


def test_the_sign_flip_test_is_called_exact_as_far_as_it_is(make_record, tmp_path, capsys):
    for count, said in ((16, "p: exact sign-flip test"), (17, "p: sign-flip test")):
        records = [
            make_record(strategy=strategy, seed=seed, top1=0.9 + seed % 3 / 100 + place / 10)
            for place, strategy in enumerate("AB")
            for seed in range(count)
        ]
        write_records(records, tmp_path / "runs")
        command = ["compare", "--runs", str(tmp_path / "runs"), "A", "B", "--test", "sign-flip"]
        assert main(command) == 0
        assert said in capsys.readouterr().out


def test_where_lower_is_better_the_verdict_turns():
    found = compare([10, 11, 12], [15, 16.3, 17])
    assert verdict(found, 0.01, Quality("lower", "Perplexity")).startswith("A better by 5.1")
    assert verdict(found, 0.2, Quality("lower", "Perplexity")).endswith("worse")


def test_the_command_prints_and_writes_the_comparison(run_of, tmp_path, capsys):
    table = tmp_path / "compare.csv"
    runs = run_of(by=0.05)
    assert main(["compare", "--runs", str(runs), "A", "B", "-o", str(table)]) == 0
    printed = capsys.readouterr().out
    assert "A = A\nB = B" in printed
    assert "B better by 5.0" in printed
    assert "without that, three pairs cannot show p < 0.25" in printed
    assert list(pd.read_csv(table)) == list(COMPARE_COLUMNS)
    assert main(["compare", str(runs), str(runs), "--test", "sign-flip"]) == 0
    assert "the same numbers" in capsys.readouterr().out


def test_two_means_are_written_to_as_many_places(tmp_path, make_record, capsys):
    records = [
        make_record(strategy=strategy, quality={"perplexity": "lower"}, seed=seed,
                    final={"perplexity": value + seed / 100}, dense={"perplexity": 19.0})
        for strategy, value in (("A", 19.859), ("B", 19.889))
        for seed in range(3)
    ]  # fmt: skip
    write_records(records, tmp_path / "runs")
    assert main(["compare", "--runs", str(tmp_path / "runs"), "A", "B"]) == 0
    assert "  19.87  19.90  " in capsys.readouterr().out


def test_what_is_written_as_zero_has_no_sign(tmp_path, make_record, capsys):
    changes = (-0.00041, 0.0005, -0.0001)  # their mean is nearly zero, below it
    records = [
        make_record(strategy=strategy, seed=seed, top1=0.9 + seed / 100 + change * factor)
        for strategy, factor in (("A", 0), ("B", 1))
        for seed, change in enumerate(changes)
    ]
    write_records(records, tmp_path / "runs")
    assert main(["compare", "--runs", str(tmp_path / "runs"), "A", "B"]) == 0
    assert "  0.00  " in (printed := capsys.readouterr().out)
    assert "  0.0  " in printed


def test_a_label_names_a_strategy(run_of, capsys):
    command = ["compare", "--runs", str(run_of(by=0.05)), "Ours", "B", "--label", "A=Ours"]
    assert main(command) == 0
    assert "A = Ours" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--runs", "{runs}", "A", "C"], "'C' is none of the strategies here: (allowed: A, B)"),
        (["{runs}", "nowhere"], "there is no folder nowhere to read records from"),
        (["{runs}", "nowhere.csv"], "nowhere.csv cannot be read as the CSV of a leaderboard"),
        (["{runs}", "{other}"], "the two runs have nothing in common"),
        (["{runs}"], "the following arguments are required: b"),
    ],
)
def test_mistakes_are_told_in_a_sentence(run_of, arguments, sentence, capsys):
    places = {"runs": run_of(), "other": run_of("other", strategies=("D",))}
    assert main(["compare", *(each.format(**places) for each in arguments)]) == 2
    assert sentence in capsys.readouterr().err


def test_a_csv_of_something_else_is_refused(tmp_path, capsys):
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    assert main(["compare", str(tmp_path / "other.csv"), str(tmp_path / "other.csv")]) == 2
    assert "other.csv is not the CSV of a leaderboard" in capsys.readouterr().err


def test_runs_of_two_networks_are_called_by_both(run_of):
    runs = run_of("first"), run_of("second", by=0.05, model="VGG")
    table = compare_table(runs_compared(*(trials(run, {}) for run in runs), "t"))
    assert set(table["comparison"]) == {"A: LeNet5 on MNIST, B: VGG on MNIST"}
