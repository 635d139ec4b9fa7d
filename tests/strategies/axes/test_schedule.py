"""Schedules: their closed forms, and what all of them have in common."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunebench.strategies import SCHEDULES, Cubic, Geometric, Linear, OneShot


def densities(schedule, final, rounds):
    return [schedule.density(final, number, rounds) for number in range(1, rounds + 1)]


def test_one_shot_prunes_everything_in_the_first_round():
    assert densities(OneShot(), 0.125, 3) == [0.125] * 3


def test_linear_prunes_as_many_weights_in_each_round():
    assert densities(Linear(), 0.2, 4) == pytest.approx([0.8, 0.6, 0.4, 0.2])


def test_geometric_prunes_the_same_fraction_of_what_is_left():
    assert densities(Geometric(), 0.125, 3) == pytest.approx([0.5, 0.25, 0.125])


def test_cubic_takes_most_at_first():
    assert densities(Cubic(), 0.0, 4) == pytest.approx([27 / 64, 8 / 64, 1 / 64, 0])
    assert densities(Cubic(), 0.5, 2) == pytest.approx([0.5625, 0.5])


@pytest.mark.parametrize("name", SCHEDULES.names())
@given(final=st.floats(0, 1), rounds=st.integers(1, 50))
def test_a_schedule_never_rises_and_ends_exactly_at_the_final_density(name, final, rounds):
    way = [1.0, *densities(SCHEDULES.component(name).create(), final, rounds)]
    assert way[-1] == final
    assert all(later <= earlier + 1e-12 for earlier, later in pairwise(way))
    assert all(final - 1e-12 <= density <= 1 for density in way)


@pytest.mark.parametrize("name", SCHEDULES.names())
@given(final=st.floats(0, 1))
def test_a_single_round_is_one_shot_in_every_schedule(name, final):
    assert densities(SCHEDULES.component(name).create(), final, 1) == [final]
