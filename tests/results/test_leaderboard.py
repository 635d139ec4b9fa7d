"""The leaderboard sums up seeds, mixes nothing that differs and hides nothing that is missing."""

from __future__ import annotations

import random
import statistics

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.stats import t

from prunebench.errors import UsageError
from prunebench.results import COLUMNS, Store, columns_as_markdown, leaderboard


def only(frame):
    """The row of a leaderboard that has one."""
    assert len(frame) == 1
    return frame.iloc[0]


def test_every_number_of_a_row_is_what_a_calculation_by_hand_gives(make_record):
    top1, dense = [0.91, 0.93, 0.98], [0.990, 0.985, 0.992]
    records = [
        make_record(
            seed=seed,
            top1=top1[seed],
            dense_top1=dense[seed],
            final={"compression": 4 + 0.1 * seed, "nonzero": 250 + seed},
        )
        for seed in range(3)
    ]
    row = only(leaderboard(records))
    change = [a - b for a, b in zip(top1, dense, strict=True)]
    for name, sample in (("top1", top1), ("top1_change", change)):
        mean, std = statistics.mean(sample), statistics.stdev(sample)
        low, high = t.interval(0.95, 2, loc=mean, scale=std / 3**0.5)
        assert row[f"{name}_mean"] == pytest.approx(mean)
        assert row[f"{name}_ci95_low"] == pytest.approx(low)
        assert row[f"{name}_ci95_high"] == pytest.approx(high)
    assert row["top1_std"] == pytest.approx(statistics.stdev(top1))
    assert row["top1_dense_mean"] == pytest.approx(statistics.mean(dense))
    assert row["compression_mean"] == pytest.approx(4.1)
    assert row["nonzero_mean"] == pytest.approx(251)
    assert row["effective_flops_mean"] == pytest.approx(2000)
    assert row["theoretical_speedup_mean"] == pytest.approx(4)
    assert row["prunable_sparsity_mean"] == pytest.approx(0.75)
    assert (row["parameters"], row["flops"], row["seeds"]) == (1000, 8000, 3)
    assert (row["quality"], row["better"]) == ("top1", "higher")


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cells=st.lists(
        st.tuples(
            st.sampled_from(["A", "B"]),
            st.sampled_from(["Random", "SNIP"]),
            st.sampled_from([2.0, 4.0]),
            st.integers(0, 2),
            st.sampled_from([1, 3]),
            st.floats(0, 1),
        ),
        unique_by=lambda cell: cell[:5],
    )
)
def test_means_and_counts_equal_those_of_a_plain_loop(make_record, cells):
    records = [
        make_record(dataset=d, strategy=s, compression=c, seed=seed, rounds=k, top1=top1)
        for d, s, c, seed, k, top1 in cells
    ]
    expected = {}
    for d, k in {(cell[0], cell[4]) for cell in cells}:
        comparison = [cell for cell in cells if (cell[0], cell[4]) == (d, k)]
        for s in {cell[1] for cell in comparison}:
            for c in {cell[2] for cell in comparison}:
                row = [cell for cell in comparison if (cell[1], cell[2]) == (s, c)]
                missing = {cell[3] for cell in comparison} - {cell[3] for cell in row}
                mean = sum(cell[5] for cell in row) / len(row) if row else None
                expected[d, s, c, k] = (len(row), len(missing), mean)
    frame = leaderboard(records)
    got = {
        (row["dataset"], row["strategy"], row["target_compression"], row["rounds"]): (
            row["seeds"],
            row["seeds_missing"],
            pytest.approx(row["top1_mean"]) if row["seeds"] else None,
        )
        for _, row in frame.iterrows()
    }
    assert got == expected


@pytest.mark.parametrize(
    "setting",
    [
        {"rounds": 3},
        {"schedule": "Linear"},
        {"recovery": "Rewind(epoch=1)"},
        {"pretraining": {"epochs": 21}},
        {"finetuning": {"epochs": 6}},
        {"threads": 2},
        {"metrics": ["latency"]},
        {"prune_classifier": False},
        {"sources": {"model": "0123abcd"}},
        {"sources": {"dataset": "0123abcd"}},
        {"an_option_of_a_later_version": 1},
    ],
    ids=lambda setting: next(iter(setting)),
)
def test_a_different_setting_never_shares_a_row_or_a_comparison(make_record, setting):
    frame = leaderboard([make_record(seed=0), make_record(seed=1, **setting)])
    assert frame["seeds"].tolist() == [1, 1]
    assert frame["seeds_missing"].tolist() == [0, 0]
    assert frame["settings"].nunique() == 2


def test_two_versions_of_a_strategy_are_compared_but_never_averaged(make_record):
    records = [
        make_record(strategy="mine.py:Mine", seed=seed, sources={"strategy": source})
        for seed, source in ((0, "aaaa"), (1, "bbbb"))
    ]
    frame = leaderboard(records)
    assert frame["strategy_source"].tolist() == ["sha256:aaaa", "sha256:bbbb"]
    assert frame["seeds"].tolist() == [1, 1]
    assert frame["seeds_missing"].tolist() == [1, 1]
    assert frame["settings"].nunique() == 1


def test_a_compression_and_a_sparsity_are_different_targets(make_record):
    frame = leaderboard([make_record(), make_record(compression=None, sparsity=0.75)])
    assert frame["target_compression"].tolist()[0] == 4
    assert frame["target_sparsity"].tolist()[1] == 0.75
    assert frame[["target_compression", "target_sparsity"]].isna().sum().tolist() == [1, 1]


def test_failed_seeds_are_counted_and_in_no_mean(make_record):
    records = [make_record(seed=0, top1=0.9), make_record(seed=1, status="failed")]
    row = only(leaderboard(records))
    assert (row["seeds"], row["seeds_failed"], row["seeds_missing"]) == (1, 1, 0)
    assert row["top1_mean"] == 0.9


def test_collapsed_seeds_are_counted_and_in_the_means(make_record):
    records = [make_record(seed=0, top1=0.9), make_record(seed=1, top1=0.1, status="collapsed")]
    row = only(leaderboard(records))
    assert (row["seeds"], row["seeds_collapsed"]) == (2, 1)
    assert row["top1_mean"] == pytest.approx(0.5)


def test_a_seed_that_only_other_rows_have_is_missing(make_record):
    records = [
        make_record(strategy="Random", seed=0),
        make_record(strategy="Random", seed=1, status="failed"),
        make_record(strategy="SNIP", seed=0),
    ]
    assert leaderboard(records)["seeds_missing"].tolist() == [0, 1]


def test_a_point_of_the_grid_that_nobody_ran_is_an_empty_row(make_record):
    records = [
        make_record(strategy="Random", compression=2.0),
        make_record(strategy="SNIP", compression=4.0),
    ]
    frame = leaderboard(records)
    assert frame["strategy"].tolist() == ["Random", "Random", "SNIP", "SNIP"]
    assert frame["target_compression"].tolist() == [2, 4, 2, 4]
    assert frame["seeds"].tolist() == [1, 0, 0, 1]
    assert frame["seeds_missing"].tolist() == [0, 1, 1, 0]
    empty = frame.iloc[1]
    assert empty[["top1_mean", "parameters", "training_seconds_mean"]].isna().all()


def test_a_seed_whose_loss_is_not_finite_empties_the_mean_instead_of_leaving_it(make_record):
    records = [make_record(seed=0), make_record(seed=1, final={"loss": float("inf")})]
    row = only(leaderboard(records))
    assert pd.isna(row["loss_mean"])
    assert row["top1_mean"] == pytest.approx(0.9)


def test_speedups_that_are_in_doubt_are_left_out_and_the_interval_is_the_widest(make_record):
    name = "measured_speedup_batch1"
    control = "latency_batch1_control"
    doubt = "other processes took 55 % of the processor"
    seeds = [
        (1.9, 1.8, 2.0, 0.02, 0.99, {}),
        (None, None, None, 0.55, 1.3, {name: doubt}),
        (2.1, 2.0, 2.3, 0.03, 1.01, {}),
    ]
    records = [
        make_record(
            seed=seed,
            timings={
                name: value,
                f"{name}_low": low,
                f"{name}_high": high,
                "latency_batch1_load": load,
                control: identical,
                f"{control}_low": identical - 0.01,
                f"{control}_high": identical + 0.01,
            },
            doubts=doubts,
        )
        for seed, (value, low, high, load, identical, doubts) in enumerate(seeds)
    ]
    row = leaderboard(records).iloc[0]
    assert row[name] == pytest.approx(2.0)
    assert (row[f"{name}_low"], row[f"{name}_high"]) == (1.8, 2.3)
    assert pd.isna(row[f"{name}_doubt"])
    assert row["latency_batch1_load"] == 0.55
    assert row[control] == 1.3
    assert row[f"{control}_low"] == pytest.approx(1.29)
    alone = leaderboard(records[1:2]).iloc[0]
    assert pd.isna(alone[name])
    assert alone[f"{name}_doubt"] == doubt


def test_latency_is_the_median_over_those_seeds_that_measured_it(make_record):
    name = "latency_batch1_dense_ms"
    values = [1.0, 2.0, 9.0, None]
    records = [make_record(seed=seed, timings={name: v}) for seed, v in enumerate(values)]
    assert only(leaderboard(records))[name] == 2


def test_training_time_is_that_of_pretraining_and_fine_tuning(make_record):
    records = [
        make_record(seed=seed, timings={"pretraining_seconds": 10, "finetuning_seconds": seconds})
        for seed, seconds in enumerate([1.0, 3.0, None])
    ]
    assert only(leaderboard(records))["training_seconds_mean"] == pytest.approx(12)


def test_a_metric_of_the_users_own_becomes_a_column(make_record):
    records = [make_record(seed=seed, final={"calibration": 0.1 * seed}) for seed in (1, 2)]
    frame = leaderboard(records)
    assert frame.columns[-1] == "calibration_mean"
    assert only(frame)["calibration_mean"] == pytest.approx(0.15)


def test_tasks_with_other_quality_metrics_leave_each_others_columns_empty(make_record):
    text = {"quality": {"perplexity": "lower"}, "final": {"perplexity": 5.0}}
    frame = leaderboard([make_record(), make_record(dataset="Text", **text)])
    assert frame["quality"].tolist() == ["top1", "perplexity"]
    assert frame["better"].tolist() == ["higher", "lower"]
    assert frame["perplexity_mean"].isna().tolist() == [True, False]
    assert frame["top1_mean"].isna().tolist() == [False, True]


def test_the_rows_depend_on_the_records_and_not_on_their_order(make_sweep):
    records = make_sweep(["SNIP", "Random"], [16, 2, 4]) + make_sweep(rounds=3)
    shuffled = random.Random(0).sample(records, len(records))
    pd.testing.assert_frame_equal(leaderboard(records), leaderboard(shuffled))


def test_rows_are_ordered_by_strategy_and_ascending_target(make_sweep):
    frame = leaderboard(make_sweep(["SNIP", "Random"], [16, 2, 4]))
    assert frame["strategy"].tolist() == ["Random"] * 3 + ["SNIP"] * 3
    assert frame["target_compression"].tolist() == [2, 4, 16] * 2


def test_a_record_that_comes_twice_counts_once_and_as_finished(make_record):
    records = [make_record(status="failed"), make_record(), make_record(status="failed")]
    row = only(leaderboard(records))
    assert (row["seeds"], row["seeds_failed"]) == (1, 0)


def test_a_folder_gives_the_same_leaderboard_as_its_records(make_sweep, tmp_path):
    records = make_sweep()
    for record in records:
        Store(tmp_path).save(record)
    for folder in (tmp_path, str(tmp_path)):
        pd.testing.assert_frame_equal(leaderboard(folder), leaderboard(records))


def test_a_folder_that_does_not_exist_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="nowhere"):
        leaderboard(tmp_path / "nowhere")


def test_no_records_make_an_empty_leaderboard_with_its_columns():
    frame = leaderboard([])
    assert frame.empty
    assert "strategy" in frame.columns


def test_every_column_is_documented_and_every_documented_column_is_there(make_record):
    quality = {"top1": "higher", "loss": "lower"}
    described = {name: {"title": f"My {name}"} for name in quality}
    settings = {"quality": quality, "described": described, "threads": 2}
    frame = leaderboard([make_record(final={"calibration": 1.0}, **settings)])
    documented = {
        name.replace("<quality>", quality_name)
        .replace("<metric>", "calibration")
        .replace("<setting>", "threads")
        for name in COLUMNS
        for quality_name in quality
    }
    assert set(frame.columns) == documented
    assert frame.columns.is_unique


def test_the_columns_are_documented_in_a_markdown_table():
    lines = columns_as_markdown().splitlines()
    assert len(lines) == 2 + len(COLUMNS)
    assert all(line.count("|") == 3 for line in lines)
    assert f"| `seeds` | {COLUMNS['seeds']} |" in lines


def test_records_that_name_their_comparison_are_compared_by_it(make_record):
    """So that a setting added by a later version does not part old records from new ones."""

    def named(comparison, **settings):
        record = make_record(**settings)
        named = {**record.experiment, "comparison": comparison}
        return record.model_copy(update={"experiment": named})

    old, new = named("0123abcd", seed=0), named("0123abcd", seed=1, added_later="default")
    assert only(leaderboard([old, new]))["seeds"] == 2
    assert len(leaderboard([old, named("ffffffff", seed=1)])) == 2


def test_seeds_are_missing_among_targets_of_their_own_kind(make_record):
    records = [make_record(compression=2.0, seed=seed) for seed in (0, 1, 2)]
    records += [make_record(compression=None, sparsity=0.5, seed=seed) for seed in (0, 1)]
    frame = leaderboard(records)
    assert frame["seeds"].tolist() == [3, 2]
    assert frame["seeds_missing"].tolist() == [0, 0]
