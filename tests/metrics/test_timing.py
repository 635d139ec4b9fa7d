"""The timing protocol, on calls that take as long as they are told."""

import os

import numpy as np
import pytest
import torch

from prunebench.metrics.timing import Protocol, interleaved, pinned, ratio, whole_passes


def test_calls_take_turns_in_changing_order_as_often_as_each_other():
    order = []
    calls = {name: (lambda name=name: order.append(name)) for name in "abc"}
    # The least duration of a sample is over after one call.
    times = interleaved(calls, Protocol(repeats=6, most_repeats=6, sample_ms=1e-7))
    assert {name: len(each) for name, each in times.items()} == dict.fromkeys("abc", 6)
    turns = ["".join(order[-18:][start : start + 3]) for start in range(0, 18, 3)]
    assert all(sorted(turn) == ["a", "b", "c"] for turn in turns)
    assert len(set(turns)) > 1


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


def test_a_ratio_of_durations_is_found(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("prunebench.metrics.timing.time", clock)
    calls = {"slow": lambda: clock.wait(0.004), "fast": lambda: clock.wait(0.001)}
    times = interleaved(calls, Protocol(repeats=9, most_repeats=9, sample_ms=10.0))
    assert times["slow"] == pytest.approx(np.full(9, 0.004))
    assert times["fast"] == pytest.approx(np.full(9, 0.001))
    assert ratio(times["slow"], times["fast"]).value == pytest.approx(4)


def test_what_a_device_computes_after_its_calls_counts(monkeypatch):
    clock, left = Clock(), [0.0]

    def launch(seconds):
        left[0] += seconds

    def synchronize():
        clock.wait(left[0])
        left[0] = 0.0

    monkeypatch.setattr("prunebench.metrics.timing.time", clock)
    monkeypatch.setattr(torch.mps, "synchronize", synchronize)
    protocol, device = Protocol(repeats=9, most_repeats=9), torch.device("mps")
    times = interleaved({"a": lambda: launch(0.004)}, protocol, device=device)
    assert times["a"] == pytest.approx(np.full(9, 0.004))
    passes = whole_passes({"a": launch}, lambda: [0.001, 0.002], 5, device)
    assert passes["a"] == pytest.approx(np.full(5, 0.003))


def test_sampling_goes_on_until_the_ratio_is_precise():
    rng = np.random.default_rng(0)
    protocol = Protocol(repeats=5, most_repeats=45, precision=1e-9, sample_ms=1e-7)
    calls = {"one": lambda: rng.random(100).sum(), "two": lambda: rng.random(100).sum()}
    assert len(interleaved(calls, protocol, [("one", "two")])["one"]) == 45
    brief = Protocol(5, 45, precision=1e-9, sample_ms=1e-7, most_seconds=1e-9)
    assert len(interleaved(calls, brief, [("one", "two")])["one"]) == 5
    loose = Protocol(repeats=5, most_repeats=45, precision=1e9, sample_ms=1e-7)
    assert len(interleaved(calls, loose, [("one", "two")])["one"]) == 5


def test_a_sample_repeats_a_call_that_is_too_short_to_time():
    count = 0

    def call():
        nonlocal count
        count += 1

    interleaved({"call": call}, Protocol(repeats=3, most_repeats=3, sample_ms=1.0))
    assert count > 3 * 1000


def test_the_interval_of_a_ratio_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(1000):
        found = ratio(np.exp(rng.normal(0.3, 0.2, 40)), np.ones(40))
        assert found.low <= found.value <= found.high
        covered += found.low <= np.exp(0.3) <= found.high
    assert 0.93 <= covered / 1000 <= 0.99


def test_an_interval_is_that_of_the_reverse_turned_round():
    rng = np.random.default_rng(1)
    for count in range(6, 200):
        first, second = rng.lognormal(0, 0.3, (2, count))
        there, back = ratio(first, second), ratio(second, first)
        assert (there.low, there.high) == pytest.approx((1 / back.high, 1 / back.low))


def test_the_median_ratio_is_that_of_pairs_taken_in_turn():
    """A machine that is slowed down for a while slows both, and the ratio does not notice."""
    slowdown = np.array([1, 1, 10, 10, 1, 3])
    assert ratio(2.0 * slowdown, 1.0 * slowdown) == (2.0, 2.0, 2.0)
    assert ratio(2.0 * slowdown, 1.0 * slowdown).precision == 0


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system pins no processes")
def test_a_process_is_pinned_to_as_many_cores_as_threads():
    before = os.sched_getaffinity(0)
    with pinned(1) as cores:
        assert set(cores) == os.sched_getaffinity(0) <= before
        assert len(cores) == 1
    assert os.sched_getaffinity(0) == before
