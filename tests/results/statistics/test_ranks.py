"""Ranks, curves, fronts and mean ranks over tasks, against closed forms and brute force."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from prunebench.results.statistics.curves import Limit, compression_at_loss, mean_quality
from prunebench.results.statistics.fronts import pareto_front
from prunebench.results.statistics.ranks import rank_intervals
from prunebench.results.statistics.tasks import critical_difference, mean_ranks

values = st.integers(0, 64).map(lambda value: value / 64)
curves = st.lists(
    st.tuples(st.integers(1, 40), values), min_size=2, max_size=8, unique_by=lambda point: point[0]
)


def test_what_is_far_apart_has_one_rank_and_what_is_not_shares_them():
    noise = np.random.default_rng(0).normal(0, 0.01, (4, 5))
    samples = np.array([[1.0], [3.0], [2.0], [2.0]]) + noise
    assert list(map(str, rank_intervals(samples.tolist()))) == ["4", "1", "2–3", "2–3"]
    lower = rank_intervals(samples.tolist(), higher_is_better=False)
    assert list(map(str, lower)) == ["1", "4", "2–3", "2–3"]


def test_of_equals_every_rank_is_left_open():
    assert rank_intervals([[0.5, 0.6, 0.7]] * 3) == [(1, 3)] * 3
    assert rank_intervals([[0.5, 0.6, 0.7]]) == [(1, 1)]


@given(st.lists(st.lists(values, min_size=4, max_size=4), min_size=2, max_size=5), st.data())
def test_ranks_are_those_of_a_strategy_wherever_it_stands_and_in_any_unit(samples, data):
    order = data.draw(st.permutations(range(len(samples))))
    ranks = rank_intervals(samples)
    assert [ranks[i] for i in order] == rank_intervals([samples[i] for i in order])
    assert ranks == rank_intervals([[4 * v + 1 for v in each] for each in samples])
    assert ranks == rank_intervals([[-v for v in each] for each in samples], higher_is_better=False)


@pytest.mark.slow
def test_of_alike_strategies_one_comparison_in_twenty_at_most_is_sure_of_any_order():
    samples = np.random.default_rng(2).normal(0.9, 0.01, (1000, 4, 5))
    sure = [any(rank != (1, 4) for rank in rank_intervals(each.tolist())) for each in samples]
    assert np.mean(sure) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 1000)


@pytest.mark.slow
def test_true_ranks_are_within_the_intervals():
    true = np.array([0.90, 0.91, 0.93, 0.94])
    samples = np.random.default_rng(3).normal(true[:, None], 0.01, (500, 4, 5))
    held = [
        all(low <= 4 - i <= high for i, (low, high) in enumerate(rank_intervals(each.tolist())))
        for each in samples
    ]
    assert np.mean(held) >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / 500)


@given(curves)
def test_the_mean_along_a_curve_is_the_trapezoid_over_log_compression(points):
    compression, quality = (list(each) for each in zip(*points, strict=True))
    ordered = sorted(points)
    x, y = np.log([c for c, _ in ordered]), [q for _, q in ordered]
    expected = scipy.integrate.trapezoid(y, x) / (x[-1] - x[0])
    ends = min(compression), max(compression)
    assert mean_quality(compression, quality, *ends) == pytest.approx(expected)


def test_the_mean_along_a_straight_line_is_its_middle():
    compression = [1, 2, 4, 8, 16]
    quality = [0.9 - 0.1 * math.log2(c) for c in compression]
    assert mean_quality(compression, quality, 1, 16) == pytest.approx(0.7)
    assert mean_quality(compression, quality, 2, 8) == pytest.approx(0.7)
    assert mean_quality(compression, quality, math.sqrt(2), 2) == pytest.approx(0.825)


@given(curves, values)
def test_a_curve_that_is_higher_by_so_much_has_a_mean_that_is(points, by):
    compression, quality = (list(each) for each in zip(*points, strict=True))
    ends = min(compression), max(compression)
    higher = mean_quality(compression, [q + by for q in quality], *ends)
    assert higher == pytest.approx(mean_quality(compression, quality, *ends) + by)
    assert min(quality) - 1e-9 <= higher - by <= max(quality) + 1e-9


def test_a_curve_that_does_not_reach_the_ends_has_no_mean():
    assert math.isnan(mean_quality([2, 4], [0.9, 0.8], 1, 4))
    assert math.isnan(mean_quality([2, 4], [0.9, 0.8], 2, 8))
    assert math.isnan(mean_quality([2, 4], [0.9, math.nan], 2, 4))
    assert math.isnan(mean_quality([], [], 2, 4))


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ([0, 0.5, 0.9, 2.9], "4.14×"),
        ([0, 0.5, 1.5, 3], "2.83×"),
        ([0, 0.5, 1.0, 1.0], "> 8×"),
        ([1.2, 0.5, 0.2, 0.1], "< 1×"),
        ([0, 2, 0, 3], "1.41×"),
        ([0, math.nan, 0, 0], "1×"),
    ],
)
def test_the_compression_at_a_loss_is_read_off_along_log_compression(loss, expected):
    assert str(compression_at_loss([1, 2, 4, 8], loss, 1)) == expected
    backwards = compression_at_loss([8, 4, 2, 1], loss[::-1], 1)
    assert str(backwards) == expected


@given(curves, values)
def test_no_more_is_lost_up_to_the_compression_at_a_loss(points, most):
    compression, loss = zip(*sorted(points), strict=True)
    found = compression_at_loss(compression, loss, most)
    below = [lost for c, lost in points if c < found.compression - 1e-9]
    assert all(lost <= most for lost in below)
    if not found.beyond:
        at = np.interp(math.log(found.compression), np.log(compression), loss)
        assert at == pytest.approx(most, abs=1e-9)
    assert found.beyond == (
        "<" if loss[0] > most else ">" if all(lost <= most for lost in loss) else ""
    )


def test_limits_are_in_order_with_what_lies_beyond_the_targets():
    limits = [Limit(8, ">"), Limit(3), Limit(2, "<"), Limit(7)]
    assert [str(each) for each in sorted(limits, key=lambda each: each.order)] == [
        *("< 2×", "3×", "7×", "> 8×")
    ]


def test_there_is_no_limit_without_points():
    assert compression_at_loss([], [], 1) is None


def beaten(point, others, higher):
    signs = [1 if each else -1 for each in higher]
    own = [s * v for s, v in zip(signs, point, strict=True)]
    for other in others:
        theirs = [s * v for s, v in zip(signs, other, strict=True)]
        if all(t >= o for t, o in zip(theirs, own, strict=True)) and theirs != own:
            return True
    return False


@given(
    st.lists(st.tuples(values, values, values), min_size=1, max_size=12),
    st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
def test_the_front_is_what_brute_force_finds(points, higher):
    expected = [not beaten(point, points, higher) for point in points]
    assert pareto_front(np.array(points), higher).tolist() == expected
    assert any(expected)


def test_a_point_without_a_number_is_on_no_front_and_beats_none():
    points = np.array([[0.9, math.nan], [0.5, 100], [0.4, 100]])
    assert pareto_front(points, [True, False]).tolist() == [False, True, False]


def test_friedman_s_test_and_the_mean_ranks_are_those_of_scipy():
    scores = np.random.default_rng(4).normal(size=(7, 4)).round(1)
    found = mean_ranks(scores, [True] * 7)
    assert found.means == pytest.approx(scipy.stats.rankdata(-scores, axis=1).mean(0))
    assert found.p == pytest.approx(scipy.stats.friedmanchisquare(*scores.T).pvalue)


def test_a_task_may_be_better_the_lower():
    scores = np.array([[0.9, 0.8, 0.7], [10, 20, 30]])
    assert mean_ranks(scores, [True, False]).means == (1, 2, 3)


@given(st.lists(st.lists(values, min_size=3, max_size=3), min_size=2, max_size=5))
def test_ranks_do_not_depend_on_the_scale_of_a_task(scores):
    table = np.array(scores)
    stretched = np.exp(table * np.arange(1, len(table) + 1)[:, None])
    higher = [True] * len(table)
    assert mean_ranks(table, higher).means == mean_ranks(stretched, higher).means


# Demšar (2006), table 5a.
QUANTILES = {2: 1.960, 3: 2.343, 4: 2.569, 5: 2.728, 6: 2.850, 7: 2.949, 8: 3.031, 9: 3.102}


@pytest.mark.parametrize("count", QUANTILES)
def test_the_critical_difference_is_that_of_the_table_in_the_paper(count):
    expected = QUANTILES[count] * math.sqrt(count * (count + 1) / (6 * 14))
    assert critical_difference(count, 14) == pytest.approx(expected, abs=1e-3)


@pytest.mark.slow
def test_groups_are_those_that_nemenyi_s_test_of_scikit_posthocs_cannot_tell_apart():
    posthocs = pytest.importorskip("scikit_posthocs")
    scores = np.random.default_rng(5).normal(np.arange(5) * 0.9, 1, (12, 5))
    found = mean_ranks(scores, [True] * 12)
    p = posthocs.posthoc_nemenyi_friedman(scores).to_numpy()
    together = {(i, j) for group in found.groups() for i, j in itertools.permutations(group, 2)}
    expected = {(i, j) for i, j in itertools.permutations(range(5), 2) if p[i, j] > 0.05}
    assert together == expected
    assert 0 < len(expected) < 20


def test_too_few_tasks_are_known_to_tell_nothing():
    scores = np.tile([0.9, 0.8, 0.7, 0.6, 0.5], (2, 1))
    assert not mean_ranks(scores, [True, True]).can_tell
    assert mean_ranks(np.tile(scores, (3, 1)), [True] * 6).can_tell
    assert mean_ranks(np.ones((2, 3)), [True, True]).p == 1
