"""Some rows of a leaderboard, in another order, of records in several places."""

import numpy as np
import pandas as pd
import pytest

from prunebench.benchmark.command_line import main
from prunebench.errors import UsageError
from prunebench.results import Store, as_text, leaderboard
from prunebench.results.record_file import RECORDS_FILE, write_records
from prunebench.results.seeds import single_seeds
from prunebench.results.selection import in_order, selected

NESTED = "GlobalMagnitude(allocation=Global(minimum=1, minimum_density=0.1), structure=Filters)"


@pytest.fixture
def frame(make_sweep):
    return leaderboard(make_sweep(["GlobalMagnitude", "Random", NESTED]))


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("strategy=Random", lambda row: row["strategy"] == "Random"),
        ("strategy != Random", lambda row: row["strategy"] != "Random"),
        (f"strategy={NESTED},Random", lambda row: row["strategy"] != "GlobalMagnitude"),
        ("compression=2,4", lambda row: row["target_compression"] in (2, 4)),
        ("target_compression>=2.0", lambda row: row["target_compression"] >= 2),
        ("compression<2", lambda row: row["target_compression"] < 2),
        ("top1>0.95", lambda row: row["top1_mean"] > 0.95),
        ("seeds<=3", lambda row: row["seeds"] <= 3),
    ],
)
def test_the_rows_left_are_those_for_which_the_condition_holds(frame, condition, holds):
    expected = frame[[holds(row) for _, row in frame.iterrows()]]
    left = selected(frame, [condition])
    pd.testing.assert_frame_equal(left, expected.reset_index(drop=True))
    assert not expected.empty


def test_all_conditions_have_to_hold(frame):
    left = selected(frame, ["strategy=Random", "compression=2"])
    assert list(zip(left["strategy"], left["target_compression"], strict=True)) == [("Random", 2)]


@pytest.mark.parametrize(
    ("condition", "sentence"),
    [
        ("strateg=Random", "no column 'strateg': did you mean 'strategy'"),
        ("strategy=Randm", "no row has strategy=Randm: did you mean 'Random'"),
        ("compression=3", r"no row has target_compression=3: .*allowed: 1, 2, 4"),
        ("compression=many", "'many' is no number"),
        ("strategy>Random", "strategy is text"),
        ("compression>4", "no row is left by 'compression>4'"),
        ("strategy", "write COLUMN=VALUE"),
        ("strategy=", "write COLUMN=VALUE"),
    ],
)
def test_a_condition_that_cannot_be_meant_says_what_is_allowed(frame, condition, sentence):
    with pytest.raises(UsageError, match=sentence):
        selected(frame, [condition])


def test_rows_are_ordered_by_columns_either_way(frame):
    ordered = in_order(frame, ["compression", "-top1_mean"])
    keys = list(zip(ordered["target_compression"], -ordered["top1_mean"], strict=True))
    assert keys == sorted(keys)
    with pytest.raises(UsageError, match="no column 'top': did you mean"):
        in_order(frame, ["-top"])


def test_a_table_has_strategies_in_the_order_of_the_rows_and_gaps_where_rows_were_left_out(
    make_sweep,
):
    part = selected(leaderboard(make_sweep()), ["top1>=0.96"])
    assert list(part["target_compression"]) == [1, 2, 1]
    *_, first, second = as_text(in_order(part, ["-strategy"])).splitlines()
    assert (first.split()[0], first.count("±")) == ("Random", 1)
    assert (second.split()[0], second.count("±")) == ("GlobalMagnitude", 2)


def test_a_table_of_all_rows_does_not_depend_on_how_targets_are_ordered(frame):
    shuffled = frame.sort_values(["strategy", "target_compression"], ascending=[True, False])
    by_name = frame.sort_values("strategy", kind="stable")
    assert as_text(shuffled) == as_text(by_name)


def test_single_seeds_are_those_of_the_rows_that_are_left(make_sweep):
    records = [*make_sweep(seeds=range(3)), *make_sweep(seeds=range(3), sparsity=0.5, rounds=2)]
    part = selected(leaderboard(records), ["rounds=1", "strategy=Random", "compression>=2"])
    seeds = single_seeds(records, part)
    means = seeds.groupby("target_compression")["top1"].mean()
    assert len(seeds) == 6
    assert np.allclose(means, part.sort_values("target_compression")["top1_mean"])


def test_single_seeds_of_another_version_of_a_network_are_left_out(make_record, tmp_path):
    records = [
        make_record(model="net.py:Net", seed=seed, sources={"model": digest}, comparison="ab12cd34")
        for digest in ("1" * 64, "2" * 64)
        for seed in range(2)
    ]
    file = tmp_path / "runs"
    write_records(records, file)
    chosen = ["--where", f"model_source=sha256:{'2' * 64}", "--seeds", str(tmp_path / "seeds.csv")]
    assert main(["leaderboard", str(file), *chosen]) == 0
    found = set(pd.read_csv(tmp_path / "seeds.csv")["id"])
    assert found == {f"sha256:{record.id}" for record in records[2:]}


def save(records, folder):
    for record in records:
        Store(folder).save(record)
    return folder


def test_several_places_are_one_leaderboard_and_the_same_run_counts_once(make_sweep, tmp_path):
    records = make_sweep()
    folder = save(records[:12], tmp_path / "runs")
    (tmp_path / "published").mkdir()
    write_records(records[6:], tmp_path / "published" / RECORDS_FILE)
    both = leaderboard([folder, tmp_path / "published"])
    pd.testing.assert_frame_equal(both, leaderboard(records))
    assert set(both["seeds"]) == {3}
    assert len(leaderboard([folder])) == len(leaderboard(folder))


def test_different_results_of_one_experiment_name_both_places(make_record, tmp_path):
    one = save([make_record(top1=0.9)], tmp_path / "one")
    two = save([make_record(top1=0.8)], tmp_path / "two")
    with pytest.raises(UsageError, match=f"{one} and {two} have different results") as error:
        leaderboard([one, two])
    assert make_record().id in str(error.value)


@pytest.mark.parametrize("first", [0, 1])
def test_what_failed_in_one_place_and_finished_in_another_is_finished(make_record, tmp_path, first):
    places = [
        save([make_record(status="failed")], tmp_path / "failed"),
        save([make_record(), make_record(seed=1, status="failed")], tmp_path / "finished"),
    ]
    row = leaderboard([places[first], places[1 - first]]).iloc[0]
    assert (row["seeds"], row["seeds_failed"]) == (1, 1)


def test_the_command_filters_and_sorts_all_that_it_writes(make_sweep, tmp_path, capsys):
    folder = save(make_sweep(["GlobalMagnitude", "SNIP"]), tmp_path / "runs")
    out = {name: tmp_path / name for name in ("l.csv", "seeds.csv", "page.html")}
    command = ["leaderboard", str(folder), str(folder), "--where", "compression=2,4", "seeds=3"]
    command += ["--where", "strategy!=SNIP", "--sort", "-compression", "-o", str(out["l.csv"])]
    command += ["--seeds", str(out["seeds.csv"]), "--report", str(out["page.html"])]
    assert main(command) == 0
    table = capsys.readouterr().out
    assert "GlobalMagnitude  " in table
    assert "SNIP" not in table
    assert list(pd.read_csv(out["l.csv"])["target_compression"]) == [4, 2]
    assert list(pd.read_csv(out["seeds.csv"])["target_compression"]) == [4] * 3 + [2] * 3
    assert "SNIP" not in out["page.html"].read_text()
