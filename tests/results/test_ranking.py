"""The standing of strategies, in one comparison and over several."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from prunebench.benchmark.command_line import main
from prunebench.results import Store, leaderboard, write_csv
from prunebench.results.ranking import (
    COSTS,
    STANDING_COLUMNS,
    across,
    across_as_text,
    standing,
    standing_as_text,
    standing_table,
)
from prunebench.results.record_file import read_records, write_records
from prunebench.results.trials import trials

LOSSES = {
    "Best": (0, 0.002, 0.008, 0.03),
    "Middle": (0, 0.02, 0.1, 0.2),
    "Worst": (0.1, 0.3, 0.5, 0.8),
}


@pytest.fixture
def run_of(tmp_path, make_record):
    """Save a run of three strategies that lose more and more, and return its file."""

    def make(name="runs", losses=LOSSES, compressions=(2, 4, 8, 16), seeds=(0, 1, 2), **same):
        noise = np.random.default_rng(0).normal(0, 0.0005, (9, 9, 9))
        records = [
            make_record(
                strategy=strategy,
                compression=compression,
                seed=seed,
                dense_top1=0.99,
                top1=0.99 - lost[step] + noise[place, step, seed],
                **same,
            )
            for place, (strategy, lost) in enumerate(losses.items())
            for step, compression in enumerate(compressions)
            for seed in seeds
        ]
        write_records(records, tmp_path / name)
        return tmp_path / name

    return make


def only(folder, **options):
    (found,) = trials(folder, {})
    return standing(found, **options)


def test_strategies_are_ranked_by_the_mean_along_their_curves(run_of):
    found = only(run_of())
    assert [place.strategy for place in found.places] == ["Best", "Middle", "Worst"]
    assert [str(place.rank) for place in found.places] == ["1", "2", "3"]
    assert found.ends == pytest.approx((2, 16))
    expected = 0.99 - (0 / 2 + 0.002 + 0.008 + 0.03 / 2) / 3
    assert found.places[0].score.mean == pytest.approx(expected, abs=0.001)


def test_the_compression_at_a_loss_is_that_of_single_seeds(run_of):
    best, middle, worst = only(run_of()).places
    for place in (best, middle, worst):
        assert len(place.limits) == 3
    assert best.limits[1].compression == pytest.approx(8 * 2 ** (2 / 22), rel=0.02)
    assert middle.limits[1].compression == pytest.approx(2 * 2**0.5, rel=0.05)
    assert str(worst.limits[1]) == "< 2×"
    far = only(run_of(), loss_at_most=90).places[0]
    assert str(far.limits[1]) == "> 16×"


def test_a_margin_is_written_to_as_many_places_as_the_mean(make_record, tmp_path):
    records = [
        make_record(strategy=strategy, seed=seed, quality={"perplexity": "lower"},
                    final={"perplexity": value + seed / 100}, dense={"perplexity": 19.0})
        for strategy, value in (("A", 41.19), ("B", 19.889))
        for seed in range(3)
    ]  # fmt: skip
    write_records(records, tmp_path / "runs")
    assert "  41.20 ± 0.02  " in standing_as_text(only(tmp_path / "runs"))


def test_of_a_csv_the_loss_is_said_to_be_that_of_means(run_of, tmp_path):
    folder, table = run_of(), tmp_path / "leaderboard.csv"
    write_csv(leaderboard([folder]), table)
    said = "≤ 1 point lost: against the mean unpruned network"
    assert said in standing_as_text(only(table))
    assert said not in standing_as_text(only(folder))


def test_one_target_is_ranked_by_quality_itself(run_of):
    found = only(
        run_of(compressions=(4,), losses={name: lost[2:] for name, lost in LOSSES.items()})
    )
    assert found.ends is None
    assert [str(place.rank) for place in found.places] == ["1", "2", "3"]
    assert "mean:" not in standing_as_text(found)


def test_fronts_count_points_and_pass_over_what_is_in_doubt(run_of):
    found = only(run_of())
    assert [place.fronts["nonzero"] for place in found.places] == [(4, 4), (0, 4), (0, 4)]
    assert "speed" not in found.places[0].fronts
    timed = run_of("timed", timings={"measured_speedup_batch1": 1.5})
    assert only(timed).places[0].fronts["speed"][1] == 4
    assert list(only(timed, costs=["flops"]).places[0].fronts) == ["flops"]


def test_a_strategy_without_a_whole_curve_is_not_ranked_and_said(run_of, make_record):
    file = run_of()
    partial = make_record(strategy="Partial", compression=2, seed=0, top1=0.999)
    write_records([*read_records(file), partial], file)
    found = only(file)
    assert found.places[-1].strategy == "Partial"
    assert found.places[-1].rank is None
    assert "not ranked, since no seed has a whole curve: Partial" in standing_as_text(found)
    assert str(found.places[0].rank) == "1"


def test_with_one_seed_every_rank_is_open_and_that_is_said(run_of):
    found = only(run_of(seeds=(0,)))
    assert {str(place.rank) for place in found.places} == {"1–3"}
    assert "With so few seeds even the first may be the last." in standing_as_text(found)


def test_where_lower_is_better_the_order_turns(run_of):
    folder = run_of(quality={"top1": "lower", "loss": "lower"})
    assert [place.strategy for place in only(folder).places] == ["Worst", "Middle", "Best"]


def test_over_several_comparisons_there_are_mean_ranks(run_of):
    places = [run_of(f"runs{i}", model=f"Net{i}") for i in range(4)]
    standings = [standing(each) for place in places for each in trials(place, {})]
    found = across(standings)
    assert found.strategies == ["Best", "Middle", "Worst"]
    assert found.ranks.means == (1, 2, 3)
    assert found.open == [(1, 1), (2, 2), (3, 3)]
    assert across(standings[:1]) is None
    assert across([standings[0], standings[0]]) is None  # the same comparison once more


def test_the_table_has_the_columns_that_are_defined(run_of):
    table = standing_table([only(run_of())])
    fixed = [name for name in STANDING_COLUMNS if "<cost>" not in name]
    assert list(table)[: len(fixed)] == fixed
    assert set(table) - set(fixed) == {
        f"{cost}_front" for cost in COSTS if cost in ("nonzero", "flops")
    }


def test_the_command_prints_writes_and_draws(run_of, tmp_path, capsys):
    places = [str(run_of(f"runs{i}", model=f"Net{i}")) for i in range(2)]
    table, diagram = tmp_path / "standing.csv", tmp_path / "diagram.png"
    assert main(["rank", *places, "-o", str(table), "--diagram", str(diagram)]) == 0
    printed = capsys.readouterr().out
    assert "Over 2 comparisons" in printed
    assert (
        "So few comparisons tell nothing apart: 3 strategies are at most 2 ranks apart." in printed
    )
    assert len(pd.read_csv(table)) == 6
    drawn = diagram.read_bytes()
    assert drawn.startswith(b"\x89PNG")
    assert main(["rank", *places, "--diagram", str(diagram)]) == 0
    assert diagram.read_bytes() == drawn


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--diagram", "x.png"], "there is none of fewer than 2 comparisons that share 3"),
        (["--loss-at-most", "-1"], "'-1' is not allowed: give a number from 0 on"),
        (["--costs", "watts"], "invalid choice: 'watts'"),
    ],
)
def test_mistakes_are_told_in_a_sentence(
    run_of, arguments, sentence, capsys, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    assert main(["rank", str(run_of()), *arguments]) == 2
    assert sentence in capsys.readouterr().err


def test_speedups_are_curves_of_their_own_whatever_the_compressions(make_record, tmp_path):
    compressions = {"Masked": {2.0: 1.6, 3.0: 2.05}, "Shrunk": {2.0: 3.1, 3.0: 5.2}}
    records = [
        make_record(
            strategy=strategy,
            compression=None,
            speedup=speedup,
            seed=seed,
            top1=0.9 + 0.01 * seed - 0.01 * speedup * (strategy == "Masked"),
            final={"compression": compression, "theoretical_speedup": speedup},
        )
        for strategy, reached in compressions.items()
        for speedup, compression in reached.items()
        for seed in (0, 1)
    ]
    write_records(records, tmp_path / "runs")
    found = only(tmp_path / "runs")
    assert [place.strategy for place in found.places] == ["Shrunk", "Masked"]
    assert found.places[0].score.mean == pytest.approx(0.905)
    assert "mean: along log speedup from 2× to 3×" in standing_as_text(found)


@pytest.mark.parametrize(
    ("final", "reason"),
    [
        ({"top1": float("nan")}, "no seed has a number at every target: B"),
        ({"compression": 50.0}, "the targets change nothing that it is compared by: B"),
        (None, "there is no compression that all strategies reach: A, B"),
    ],
)
def test_why_a_strategy_is_not_ranked_is_said(make_record, tmp_path, final, reason):
    records = [
        make_record(
            strategy=strategy,
            compression=None,
            sparsity=sparsity,
            seed=seed,
            final={"compression": sparsity * factor, **(final or {} if strategy == "B" else {})},
        )
        for strategy, factor in (("A", 10), ("B", 10 if final else 1000))
        for sparsity in (0.5, 0.8)
        for seed in (0, 1)
    ]
    write_records(records, tmp_path / "runs")
    text = standing_as_text(only(tmp_path / "runs"))
    assert f"not ranked, since {reason}" in text
    assert ("along log" in text) == bool(final)


def test_a_comparison_without_ranks_does_not_hide_the_others(run_of, tmp_path, make_record):
    write_records([make_record(strategy="A", model="VGG")], tmp_path / "other")
    runs = [run_of("first"), run_of("second", model="LeNet300100"), tmp_path / "other"]
    standings = [standing(each) for run in runs for each in trials(run, {})]
    (place,) = standings[-1].places
    unranked = replace(standings[-1], places=(replace(place, rank=None),))
    one, other = across([*standings[:2], unranked]), across(standings[:2])
    assert across_as_text(one) == across_as_text(other)


def test_records_count_and_not_a_table_that_lies_beside_them(run_of, make_record, tmp_path):
    store = Store(tmp_path / "folder")
    records = list(read_records(run_of()))
    left_out, *others = records
    for record in others:
        store.save(record)
    frame = leaderboard([store.folder])
    renamed = frame.assign(strategy=frame["strategy"].str.replace("Best", "Renamed"))
    write_csv(renamed, store.folder / "leaderboard.csv")
    (found,) = trials(store.folder, {})
    assert found.strategies == ["Best", "Middle", "Worst"]
    table = found.table("quality", left_out.experiment["strategy"])
    assert table.isna().sum().sum() == 1


def test_fronts_count_the_points_of_a_part_of_a_table(run_of, tmp_path):
    frame = leaderboard([run_of()])
    part = frame[(frame["strategy"] == "Best") | (frame["target_compression"] > 4)]
    write_csv(part, tmp_path / "part.csv")
    fronts = {
        place.strategy: place.fronts["nonzero"] for place in only(tmp_path / "part.csv").places
    }
    assert fronts == {"Best": (4, 4), "Middle": (0, 2), "Worst": (0, 2)}
