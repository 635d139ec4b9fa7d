"""Every axis can be read: two labelled ticks at least, all different, whatever it shows."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from prunebench.results.scales import (
    LEFT_PERCENT,
    LINEAR,
    LOGARITHMIC,
    LOGIT_PERCENT,
    PERCENT,
    TIMES,
    drawn_ends,
    scale_axis,
)

AXES = settings(max_examples=40)
FRACTIONS = st.lists(st.floats(0, 1), min_size=1, max_size=5)
POSITIVE = st.lists(st.floats(1e-4, 1e6), min_size=1, max_size=5)


def labels(axes, direction):
    """The labels of the ticks that are within the limits."""
    axis = axes.xaxis if direction == "x" else axes.yaxis
    low, high = axes.get_xlim() if direction == "x" else axes.get_ylim()
    ticks = [tick for tick in axis.get_major_locator()() if low <= tick <= high]
    return [label for label in axis.get_major_formatter().format_ticks(ticks) if label]


def readable(scale, values):
    axes = Figure().add_subplot()
    for direction in ("x", "y"):
        scale_axis(axes, direction, scale, values)
        shown = labels(axes, direction)
        assert len(shown) >= 2
        assert len(set(shown)) == len(shown)
        low, high = axes.get_xlim() if direction == "x" else axes.get_ylim()
        for value in values:
            assert low < scale.clipped(value) < high


@pytest.mark.slow
@AXES
@given(FRACTIONS)
@example([0.9846, 0.9861])  # between two round percents
@example([0.5])
def test_an_axis_of_accuracies_has_two_labelled_ticks(values):
    readable(LOGIT_PERCENT, values)
    readable(PERCENT, values)


@pytest.mark.slow
@AXES
@given(POSITIVE)
@example([18.7])
def test_an_axis_of_ratios_and_one_of_perplexities_has_two_labelled_ticks(values):
    readable(TIMES, values)
    readable(LOGARITHMIC, values)


@pytest.mark.slow
@AXES
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=5))
@example([0.0])
def test_an_even_axis_has_two_labelled_ticks(values):
    readable(LINEAR, values)


@pytest.mark.slow
@AXES
@given(st.lists(st.floats(0, 0.9999), min_size=1, max_size=5))
def test_an_axis_of_sparsities_has_two_labelled_ticks(values):
    readable(LEFT_PERCENT, values)
    readable(PERCENT, values)


def test_sparsities_are_as_far_apart_as_their_halvings():
    assert LEFT_PERCENT.forward(0.5) == pytest.approx(1)
    assert LEFT_PERCENT.forward(1 - 2**-6) == pytest.approx(6)
    for sparsity in (0.0, 0.3, 0.99):
        assert LEFT_PERCENT.backward(LEFT_PERCENT.forward(sparsity)) == pytest.approx(sparsity)


@AXES
@given(FRACTIONS.filter(lambda values: any(0.001 < value < 0.999 for value in values)))
def test_an_end_that_no_accuracy_can_have_lies_beyond_all_values_and_others_where_they_are(values):
    low, middle, high = drawn_ends(LOGIT_PERCENT, [-0.1, 0.4, 1.1], values)
    inside = [value for value in values if 0.0005 < value < 0.9999]
    assert 0.0005 <= low < min(inside)
    assert max(inside) < high <= 0.9999
    assert middle == 0.4


def test_values_that_are_not_finite_take_no_part():
    axes = Figure().add_subplot()
    scale_axis(axes, "y", LINEAR, [math.nan, 1.0, math.inf, 2.0])
    assert axes.get_ylim() == pytest.approx((0.93, 2.07))
