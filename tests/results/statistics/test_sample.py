"""Statistics over seeds agree with SciPy and NumPy, and claim nothing from one seed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t

from prunebench.results import describe

values = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20)


@given(values)
def test_mean_deviation_and_interval_are_those_of_numpy_and_scipy(sample):
    got = describe(sample)
    mean, std = np.mean(sample), np.std(sample, ddof=1)
    margin = t.ppf(0.975, len(sample) - 1) * std / math.sqrt(len(sample))
    assert got == pytest.approx((mean, std, mean - margin, mean + margin), rel=1e-6, abs=1e-6)


def test_the_interval_is_student_t_of_scipy():
    sample = [0.97, 0.95, 0.99]
    scale = np.std(sample, ddof=1) / math.sqrt(3)
    expected = t.interval(0.95, 2, loc=np.mean(sample), scale=scale)
    assert describe(sample)[2:] == pytest.approx(expected, rel=1e-12)


def test_one_value_has_a_mean_and_no_spread():
    mean, *spread = describe([0.5])
    assert mean == 0.5
    assert all(map(math.isnan, spread))


def test_an_empty_sample_has_nothing():
    assert all(map(math.isnan, describe([])))


def test_a_missing_value_is_not_left_out_silently():
    assert all(map(math.isnan, describe([0.5, math.nan])))
