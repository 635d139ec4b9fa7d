"""When times are believed and when not, on a machine whose clock and load are given."""

import math
import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prunebench.metrics import Latency, Protocol, Subject, conditions, inference_times, pass_times
from prunebench.metrics.conditions import (
    Conditions,
    ProcessorTimes,
    load_between,
    processor_times,
)
from prunebench.metrics.timing import Ratio, interleaved, ratio_of_means

BRIEF = Protocol(repeats=9, most_repeats=9, sample_ms=1.0)
QUIET = Ratio(1.0, 0.99, 1.01)


def times_of(networks, protocol=BRIEF):
    found = inference_times(networks, lambda size: torch.ones(size, 4), [], [2], protocol)
    return {each.network: each for each in found}


def test_on_a_quiet_machine_there_is_no_doubt(machine, timed_network):
    torch.manual_seed(0)
    dense = timed_network(machine, 0.002)
    rows = times_of({"dense": dense, "masked": timed_network(machine, 0.001)})
    masked = rows["masked"]
    assert (masked.doubt, masked.load) == ("", 0)
    for found in (masked.speedup, masked.speedup_low, masked.speedup_high):
        assert found == pytest.approx(2)
    assert masked.speedup_over_eager_low == pytest.approx(2)
    assert (masked.control, masked.control_low, masked.control_high) == pytest.approx((1, 1, 1))
    assert set(rows) == {"dense", "masked"}, "the control has no row of its own"


def test_identical_networks_that_differ_raise_a_doubt(machine, timed_network):
    """As on the machine where a copy took 2.86 times as long as its original."""
    dense = timed_network(machine, 0.002, of_copies=[2.86])
    masked = times_of({"dense": dense, "masked": timed_network(machine, 0.001)})["masked"]
    assert masked.control == pytest.approx(0.35, abs=0.001)
    assert masked.doubt == "identical networks came out at 0.35× (0.35–0.35)"


def test_other_processes_raise_a_doubt(machine, timed_network):
    machine.others = 0.4
    networks = {name: timed_network(machine, 0.2) for name in ("dense", "masked")}
    masked = times_of(networks)["masked"]
    assert masked.load == pytest.approx(0.4, abs=0.01)
    assert masked.doubt == "other processes took 40 % of the processor"


def test_wide_intervals_raise_a_doubt(machine, timed_network, noise):
    machine.slowdown = noise
    networks = {name: timed_network(machine, 0.002) for name in ("dense", "masked")}
    assert "the interval is ±" in times_of(networks)["masked"].doubt


def test_too_few_samples_raise_a_doubt(machine, timed_network):
    networks = {name: timed_network(machine, 0.002) for name in ("dense", "masked")}
    few = times_of(networks, Protocol(repeats=3, most_repeats=3, sample_ms=1.0))
    assert few["masked"].doubt == "3 samples are too few"


@pytest.mark.parametrize(
    ("control", "believed"),
    [
        (Ratio(1.05, 0.99, 1.11), True),  # 1 is in it
        (Ratio(1.005, 1.001, 1.01), True),  # by less than a measurement resolves
        (Ratio(0.995, 0.99, 0.999), True),
        (Ratio(1.04, 1.01, 1.07), False),
        (Ratio(1 / 1.04, 1 / 1.07, 1 / 1.01), False),
        (Ratio(1.0, 0.85, 1.15), False),  # so wide that it says nothing
        (None, False),
    ],
)
def test_the_control_decides(control, believed):
    doubt = Conditions(samples=30, load=0.0, control=control).doubt(Ratio(2.0, 1.98, 2.02))
    assert (doubt == "") == believed


def test_every_reason_is_told():
    doubt = Conditions(5, 0.55, Ratio(0.35, 0.3, 0.4)).doubt(Ratio(5.4, 2.7, 8.1))
    assert doubt == (
        "5 samples are too few; other processes took 55 % of the processor; "
        "identical networks came out at 0.35× (0.30–0.40); the interval is ±50 % wide"
    )


@given(st.floats(0, 1), st.floats(0.01, 10))
def test_what_is_not_known_of_the_load_raises_no_doubt_and_more_load_no_less(load, value):
    found = Ratio(value, value * 0.99, value * 1.01)
    assert Conditions(30, None, QUIET).doubt(found) == ""
    assert (Conditions(30, load, QUIET).doubt(found) != "") == (load > 0.1)


def books(wall, own, busy, allowed=(0, 1), running=None):
    return ProcessorTimes(wall, own, busy, frozenset(allowed), running, 4)


def test_the_load_is_what_others_took_where_they_took_most():
    before = books(10.0, 3.0, {0: 8.0, 1: 5.0, 2: 1.0, 3: 0.0})
    # Of 10 seconds this process computed 8; others 1 + 3 on its two cores, and 4 on the other two.
    after = books(20.0, 11.0, {0: 14.0, 1: 11.0, 2: 5.0, 3: 0.0})
    assert load_between(before, after) == pytest.approx((12 - 8) / 20, abs=0.01)
    alone = after._replace(busy={0: 12.0, 1: 9.0, 2: 11.0, 3: 10.0})
    assert load_between(before, alone) == pytest.approx((28 - 8) / 40, abs=0.01)


def test_where_cores_keep_no_books_the_mean_number_of_waiting_processes_is_taken():
    before, after = books(0.0, 0.0, {}, running=9.0), books(10.0, 10.0, {}, running=3.0)
    assert load_between(before, after) == pytest.approx((3 - 1) / 4)
    assert load_between(before, after._replace(running=None)) is None


def test_the_books_of_the_kernel_are_read(tmp_path, monkeypatch):
    """Of the second core 700 ticks were busy, 30 of them stolen; guests are counted in them."""
    statistics = tmp_path / "stat"
    statistics.write_text(
        "cpu  1 1 1 1 1 1 1 1 1 1\n"
        "cpu0 0 0 0 100 0 0 0 0 0 0\n"
        "cpu1 400 100 150 5000 77 10 10 30 50 5\n"
        "intr 5 5\n"
    )
    monkeypatch.setattr(conditions, "_STATISTICS", statistics)
    monkeypatch.setattr(conditions.os, "sysconf", lambda name: 100)
    assert processor_times().busy == {0: 0.0, 1: 7.0}


def test_a_call_that_is_interrupted_while_it_is_calibrated_is_sampled_like_its_twin(machine):
    """Else its samples are short, slip in between interruptions, and it seems to be faster."""
    counts = {"one": 0, "two": 0}

    def call(name):
        counts[name] += 1
        first = name == "one" and counts[name] == 2
        machine.compute(0.03 if first else 0.0001)

    interleaved(
        {name: (lambda name=name: call(name)) for name in counts},
        Protocol(repeats=50, most_repeats=50, sample_ms=5.0),
    )
    assert counts["one"] == pytest.approx(counts["two"], rel=0.1)


def test_whole_passes_are_told_by_their_mean(machine, timed_network):
    """Five batches of 2 ms each, of the pruned network 1 ms; making them takes a second."""

    def split(size):
        for _ in range(5):
            machine.now += 1.0
            yield torch.ones(size, 4)

    networks = {"dense": timed_network(machine, 0.002), "masked": timed_network(machine, 0.001)}
    rows = {each.network: each for each in pass_times(networks, split, 20, [3])}
    assert rows["dense"].pass_seconds == pytest.approx(0.01)
    masked = rows["masked"]
    assert masked.pass_seconds == pytest.approx(0.005)
    assert (masked.passes, masked.median_ms, masked.doubt) == (20, None, "")
    assert masked.speedup == pytest.approx(2)
    few = list(pass_times(networks, split, 2, [3]))
    assert {each.doubt for each in few} == {"2 samples are too few"}


def test_the_interval_of_a_ratio_of_means_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(1000):
        busy = rng.uniform(0.5, 1.5, 20)
        found = ratio_of_means(3 * busy * rng.normal(1, 0.1, 20), busy * rng.normal(1, 0.1, 20))
        covered += found.low <= 3 <= found.high
    assert 0.93 <= covered / 1000 <= 0.97


def test_a_ratio_of_means_is_what_it_is_called():
    found = ratio_of_means(np.array([1.0, 3.0]), np.array([1.0, 1.0]))
    # The mean of 1 and 3 with Student's t of one degree of freedom: 12.706 × √2 / √2.
    assert found == pytest.approx((2.0, 2 - 12.706, 2 + 12.706), abs=1e-3)


def test_the_latency_of_a_cell_has_a_doubt_in_place_of_a_speedup_while_others_compute(
    machine, timed_network, digits, monkeypatch
):
    monkeypatch.setattr(digits, "inputs", lambda size: torch.ones(size, 4))
    pruned = timed_network(machine, 0.1)
    subject = Subject(pruned, timed_network(machine, 0.2), digits, (), shrunk=pruned)
    latency = Latency(batch_sizes=(1,), repeats=9, sample_ms=1.0)
    quiet, no_doubts = latency.measure_and_doubt(subject)
    machine.others = 0.5  # another worker
    busy, doubts = latency.measure_and_doubt(subject)
    for name in ("measured_speedup_batch1", "measured_speedup_batch1_shrunk"):
        for end in ("", "_low", "_high"):
            assert quiet[name + end] == pytest.approx(2)
            assert math.isnan(busy[name + end])
        assert doubts[name] == "other processes took 50 % of the processor"
    assert no_doubts == {}
    assert busy["latency_batch1_load"] == pytest.approx(0.5, abs=0.01)
    assert busy["latency_batch1_control"] == pytest.approx(1)
    assert busy["latency_batch1_dense_ms"] == pytest.approx(200), "times themselves stay"


def test_no_time_is_spent_on_samples_that_nothing_can_be_learned_from(
    machine, timed_network, digits, monkeypatch
):
    monkeypatch.setattr(digits, "inputs", lambda size: torch.ones(size, 4))
    subject = Subject(timed_network(machine, 0.1), timed_network(machine, 0.1), digits, ())
    lots = random.Random(0)
    machine.slowdown = lambda: lots.uniform(1.0, 1.02)
    seconds = []
    for precision, machine.others in ((1e-9, 0.0), (1e-9, 0.5), (0.02, 0.0)):
        before = machine.now
        Latency((1,), 100, precision, sample_ms=1.0, seconds=1000.0).measure(subject)
        seconds.append(machine.now - before)
    quiet, busy, precise = seconds
    a_sample = 0.1 * 3  # dense, control, pruned
    assert quiet - busy == pytest.approx((100 - 6) * a_sample, rel=0.02)
    assert precise == pytest.approx(busy, rel=0.02), "six samples are as precise as asked for"
