"""The checklist holds each strategy to the field's rules, and says why one is not met."""

from __future__ import annotations

import pytest

from prunebench.benchmark.command_line import main
from prunebench.results import Store, leaderboard
from prunebench.results.checklist import checklist_as_text, checklists
from prunebench.results.comparison import comparisons

POINTS = "at least 5 operating points"
DECLINES = "as far as quality declines by at least 1 %"
SEEDS = "at least 3 seeds everywhere, with their spread"
COST = "both compression and theoretical speedup"
SPEED = "a measured speedup with a verdict"
RANDOM = "beside random pruning"
MAGNITUDE = "beside magnitude pruning"
DENSE = "from the same unpruned network as all others"
GIVEN = "with its hyperparameters said"
PAIRS = "at least 3 pairs of network and data set"
COMPRESSIONS = (2, 4, 8, 16, 32)


def checks_of(records, strategy="GlobalMagnitude", comparison=0):
    """Rule → (met, sentence) of a strategy."""
    found = checklists(comparisons(leaderboard(records)))[comparison]
    return {check.rule: (check.met, check.sentence) for check in found[strategy]}


def unmet(checks):
    return {rule for rule, (met, _) in checks.items() if not met}


MEASURED = {"measured_speedup_batch1": 1.1, "latency_batch1_control": 1.0}


def test_a_careful_comparison_keeps_all_rules(make_sweep):
    records = [
        record
        for model in ("A", "B", "C")
        for record in make_sweep(compressions=COMPRESSIONS, model=model, timings=MEASURED)
    ]
    for strategy in ("GlobalMagnitude", "Random"):
        checks = checks_of(records, strategy)
        assert len(checks) == 12
        assert not unmet(checks)
        assert checks[POINTS] == (True, "5 points: 2× to 32×")
        assert checks[RANDOM] == (True, "Random")
        assert checks[PAIRS] == (True, "A on MNIST, B on MNIST, C on MNIST")


@pytest.mark.parametrize(
    ("changed", "broken"),
    [
        ({"compressions": COMPRESSIONS[1:]}, {POINTS}),
        ({"seeds": (0, 1)}, {SEEDS}),
        ({"strategies": ("GlobalMagnitude", "SNIP")}, {RANDOM}),
        ({"timings": {"measured_speedup_batch1": 1.1}}, {SPEED}),
        ({"timings": {}}, {SPEED}),
        ({"final": {"theoretical_speedup": None}}, {COST}),
        ({"compressions": (1, 1.1, 1.2, 1.3, 1.4), "final": {"top1": 0.985}}, {DECLINES}),
    ],
)
def test_each_rule_is_broken_by_what_it_asks_for(make_sweep, changed, broken):
    usual = {"compressions": COMPRESSIONS, "timings": MEASURED}
    assert unmet(checks_of(make_sweep(**{**usual, **changed}))) == {*broken, PAIRS}


def test_a_strategy_without_magnitude_pruning_beside_it_breaks_that_rule_alone(make_sweep):
    records = make_sweep(("SNIP", "Random"), COMPRESSIONS, timings=MEASURED)
    checks = checks_of(records, "SNIP")
    assert unmet(checks) == {MAGNITUDE, PAIRS}
    assert checks[MAGNITUDE] == (False, "no magnitude pruning at all points")


def test_a_baseline_that_lacks_a_point_is_none_there(make_sweep):
    records = make_sweep(("GlobalMagnitude", "Random"), COMPRESSIONS, timings=MEASURED)
    fewer = [r for r in records if r.experiment["strategy"] != "Random" or r.final["top1"] > 0.9]
    assert len(fewer) < len(records)
    assert RANDOM in unmet(checks_of(fewer))


def test_a_failed_seed_is_said(make_sweep, make_record):
    records = make_sweep(compressions=COMPRESSIONS)
    records[0] = make_record(compression=2, seed=0, status="failed")
    assert checks_of(records)[SEEDS] == (
        False,
        "2 seeds at some point, and 1 run is missing or failed",
    )
    assert DENSE not in unmet(checks_of(records))


def test_another_dense_network_is_found(make_sweep, make_record):
    records = make_sweep(("GlobalMagnitude", "Random", "SNIP"), COMPRESSIONS)
    records += [
        make_record(strategy="Own", compression=c, seed=seed, dense_top1=0.5)
        for c in COMPRESSIONS
        for seed in (0, 1, 2)
    ]
    assert DENSE in unmet(checks_of(records, "Own"))
    assert DENSE not in unmet(checks_of(records, "SNIP"))


def test_a_doubtful_speedup_is_no_measured_one(make_sweep):
    doubts = {"measured_speedup_batch1": "other processes took 90 % of the processor"}
    checks = checks_of(make_sweep(compressions=COMPRESSIONS, doubts=doubts))
    assert checks[SPEED] == (False, "measured, but no verdict at some point")


def test_hyperparameters_are_named(make_sweep):
    checks = checks_of(make_sweep(["SNIP(batch_size=100)"]), "SNIP(batch_size=100)")
    assert checks[GIVEN] == (True, "given: batch_size=100")


def test_the_command_prints_the_checklist_with_the_reasons(tmp_path, make_sweep, capsys):
    records = make_sweep()
    for record in records:
        Store(tmp_path).save(record)
    assert main(["leaderboard", str(tmp_path), "--checklist"]) == 0
    printed = capsys.readouterr().out
    text = checklist_as_text(leaderboard(records))
    assert printed.endswith(f"\n\n{text}\n")
    assert "   ✗ 3 points: 1× to 4×\n" in text
    assert "   ✗ Random: at worst" not in text
