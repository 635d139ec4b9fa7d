"""Ctrl-C where something is half done."""

import signal

import pytest

from prunebench.benchmark.cell.interrupts import held_back


def interrupted(times, done):
    with held_back():
        for number in range(times):
            signal.raise_signal(signal.SIGINT)
            done.append(number)


def test_ctrl_c_waits_for_what_must_not_be_left_half_done_and_a_second_does_not():
    once, twice = [], []
    with pytest.raises(KeyboardInterrupt):
        interrupted(1, once)
    with pytest.raises(KeyboardInterrupt):
        interrupted(2, twice)
    assert once == twice == [0]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.slow
def test_ray_is_ended_if_ctrl_c_comes_while_it_is_being_started(monkeypatch):
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install '.[ray]'")
    from prunebench.benchmark.sweeps.ray_pool import connected

    told = []

    def start(*arguments, **options):
        signal.raise_signal(signal.SIGINT)
        told.append("started")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", start)
    monkeypatch.setattr(ray, "shutdown", lambda: told.append("ended"))
    with pytest.raises(KeyboardInterrupt), connected(None, 1):
        told.append("used")
    assert told == ["started", "ended"]
