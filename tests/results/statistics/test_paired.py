"""Paired comparisons agree with SciPy, promise what they keep, and say what few pairs cannot."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from prunebench.results.statistics.bootstrap import bootstrap_interval, bootstrap_intervals
from prunebench.results.statistics.paired import (
    compare,
    effect_size,
    holm,
    least_p,
    means_and_p,
    sign_flip_test,
    t_test,
)

numbers = st.integers(-1000, 1000).map(lambda value: value / 64)
pairs = st.lists(st.tuples(numbers, numbers), min_size=3, max_size=9)
REPETITIONS = 2000


def split(sample):
    return [a for a, _ in sample], [b for _, b in sample]


@pytest.mark.parametrize("test", ["t", "sign-flip"])
def test_many_samples_at_once_are_judged_as_each_alone(test):
    drawn = np.random.default_rng(0).normal(0.3, 1, (40, 5))
    drawn[:10, 0] = math.nan
    drawn[:2, 1:4] = math.nan
    drawn[30:35] = 0.25
    drawn[35:] = 0
    means, p_values = means_and_p(drawn, test)
    alone = [compare([0.0] * 5, row, test) for row in drawn]
    np.testing.assert_allclose(means, [each.difference for each in alone])
    np.testing.assert_allclose(p_values, [each.p for each in alone])


@given(pairs)
def test_the_t_test_is_that_of_scipy(sample):
    first, second = split(sample)
    differences = np.subtract(second, first)
    if np.ptp(differences) > 0:
        found = compare(first, second)
        expected = scipy.stats.ttest_rel(second, first)
        assert found.p == pytest.approx(expected.pvalue, rel=1e-9)
        interval = expected.confidence_interval(0.95)
        assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


@given(st.lists(numbers, min_size=1, max_size=8))
def test_the_sign_flip_test_counts_all_ways(sample):
    observed = abs(sum(sample))
    ways = list(itertools.product((-1, 1), repeat=len(sample)))
    sums = [abs(sum(s * v for s, v in zip(way, sample, strict=True))) for way in ways]
    expected = sum(each >= observed for each in sums) / len(ways)
    assert sign_flip_test(np.array(sample)) == expected


def test_the_sign_flip_test_is_the_permutation_test_of_scipy():
    sample = np.random.default_rng(0).normal(0.4, 1, 9)
    expected = scipy.stats.permutation_test(
        (sample,), np.mean, permutation_type="samples", n_resamples=np.inf
    )
    assert sign_flip_test(sample) == pytest.approx(expected.pvalue)


def test_of_many_pairs_the_sign_flip_test_draws_ways_and_agrees_with_the_exact_p():
    sample = np.random.default_rng(1).normal(0.45, 1, 17)
    ways = 1 - 2 * (np.arange(2**17)[:, None] >> np.arange(17) & 1)
    exact = (abs(ways @ sample) >= abs(sample.sum()) - 1e-12).mean()
    assert sign_flip_test(sample) == pytest.approx(exact, rel=0.15)
    assert sign_flip_test(sample) == sign_flip_test(sample)


@pytest.mark.parametrize("count", range(1, 9))
def test_the_smallest_p_is_that_of_differences_of_one_sign(count):
    assert sign_flip_test(np.arange(1.0, count + 1)) == least_p(count) == 2 / 2**count


def test_five_pairs_never_reach_what_six_do():
    assert least_p(5) > 0.06
    assert least_p(6) < 0.05


@given(pairs, st.sampled_from(["t", "sign-flip"]))
def test_swapping_the_samples_turns_signs_and_nothing_else(sample, test):
    first, second = split(sample)
    one, other = compare(first, second, test), compare(second, first, test)
    assert one.difference == -other.difference
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low), nan_ok=True, abs=1e-9)
    assert one.p == pytest.approx(other.p, nan_ok=True)
    assert one.effect_size == pytest.approx(-other.effect_size, nan_ok=True)
    assert (one.above, one.below) == (other.below, other.above)


def test_pairs_that_lack_a_value_are_left_out():
    whole = compare([1, 2, 3], [2, 4, 3.5])
    assert compare([1, 9, 2, 3, math.inf], [2, math.nan, 4, 3.5, 1]) == whole
    assert compare([1.0], [math.nan]).pairs == 0


@pytest.mark.parametrize("test", ["t", "sign-flip"])
def test_equal_samples_are_told_from_equal_differences(test):
    same = compare([1, 2, 3], [1, 2, 3], test)
    assert same.is_equal
    assert same.p == 1
    shifted = compare([1, 2, 3], [1.1, 2.1, 3.1], test)
    assert not shifted.is_equal
    assert shifted.p == 0.25  # and not 0, though the differences have no spread
    assert math.isnan(shifted.effect_size)


def test_one_pair_claims_nothing():
    found = compare([1.0], [2.0])
    assert (found.pairs, found.difference) == (1, 1)
    assert all(map(math.isnan, (found.low, found.high, found.p, found.effect_size)))


@pytest.mark.parametrize("count", [3, 5, 10])
def test_the_effect_size_has_no_bias(count):
    samples = np.random.default_rng(count).normal(0.8, 1, (6000, count))
    found = [effect_size(sample) for sample in samples]
    margin = 4 * np.std(found) / math.sqrt(len(found))
    assert np.mean(found) == pytest.approx(0.8, abs=margin)
    assert np.mean(samples.mean(1) / samples.std(1, ddof=1)) > 0.8 + margin


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_what_the_step_down_procedure_does(probabilities):
    adjusted = holm(probabilities)
    order = sorted(range(len(probabilities)), key=lambda i: probabilities[i])
    for level in (0.01, 0.05, 0.3):
        rejected = set()
        for place, i in enumerate(order):
            if probabilities[i] * (len(order) - place) > level:
                break
            rejected.add(i)
        assert rejected == {i for i, p in enumerate(adjusted) if p <= level}


@pytest.mark.slow
def test_holm_is_that_of_statsmodels():
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    p = [0.01, 0.2, 0.03, 0.03, 0.9, 0.004]
    assert holm(p) == pytest.approx(multitest.multipletests(p, method="holm")[1])


def test_holm_passes_over_what_was_not_tested():
    adjusted = holm([0.01, math.nan, 0.02])
    assert math.isnan(adjusted[1])
    assert adjusted[::2] == pytest.approx([0.02, 0.02])


@pytest.mark.parametrize("count", [3, 5, 10])
def test_student_s_interval_holds_the_difference_as_often_as_it_says(count):
    generator = np.random.default_rng(count)
    seeds = generator.normal(0, 3, (REPETITIONS, count))  # what the pairs have in common
    first = seeds + generator.normal(0, 1, seeds.shape)
    second = seeds + 0.7 + generator.normal(0, 2, seeds.shape)
    found = [compare(a, b) for a, b in zip(first, second, strict=True)]
    held = np.mean([each.low <= 0.7 <= each.high for each in found])
    assert 0.92 <= held <= 0.98
    apart = [each.p for each in found]
    assert np.mean([p <= 0.05 for p in apart]) > 0.05


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "draw"),
    [(5, "normal"), (5, "uniform"), (10, "normal"), (10, "uniform"), (10, "exponential")],
)
def test_the_bootstrap_interval_holds_the_mean_as_often_as_it_says(count, draw):
    generator = np.random.default_rng(count)
    samples = getattr(generator, draw)(size=(REPETITIONS, count))
    true = {"normal": 0, "exponential": 1, "uniform": 0.5}[draw]
    ends = np.concatenate([bootstrap_intervals(part) for part in np.array_split(samples, 40)])
    held = ((ends[:, 0] <= true) & (true <= ends[:, 1])).mean()
    assert 0.92 <= held <= 0.98


@pytest.mark.slow
@pytest.mark.parametrize("count", [3, 5, 10])
@pytest.mark.parametrize("test", [t_test, sign_flip_test])
def test_of_alike_networks_at_most_one_comparison_in_twenty_claims_a_difference(count, test):
    """Accuracies are numbers of 1,000 right answers, by networks that are equally good."""
    repetitions = 8000
    generator = np.random.default_rng(count)
    first, second = generator.binomial(1000, 0.95, (2, repetitions, count)) / 1000
    claims = np.mean([test(b - a) <= 0.05 for a, b in zip(first, second, strict=True)])
    assert claims <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / repetitions)
    if test is sign_flip_test and count < 6:
        assert claims == 0


def test_few_values_have_no_bootstrap_interval():
    assert all(map(math.isnan, bootstrap_interval([1.0, 2, 3, 4])))
    assert all(map(math.isnan, bootstrap_interval([1.0, 2, 3, 4, math.nan])))


def test_the_bootstrap_interval_is_that_of_a_plain_loop():
    sample = [0.1, 0.5, 0.2, 0.9, 0.3]
    mean, error = np.mean(sample), np.std(sample, ddof=1) / math.sqrt(5)
    ratios = []
    for each in itertools.product(sample, repeat=5):
        spread = np.std(each, ddof=1) / math.sqrt(5)
        shift = np.mean(each) - mean
        ratios.append(shift / spread if len(set(each)) > 1 else math.copysign(math.inf, shift))
    ratios.sort()
    upper, lower = (ratios[math.ceil(part * len(ratios)) - 1] for part in (0.975, 0.025))
    expected = mean - upper * error, mean - lower * error
    assert bootstrap_interval(sample) == pytest.approx(expected)


@given(st.lists(numbers, min_size=5, max_size=6, unique=True), st.sampled_from([0.5, 2, 16]))
def test_the_bootstrap_interval_moves_and_grows_with_the_values(sample, factor):
    low, high = bootstrap_interval(sample)
    other = bootstrap_interval([factor * value + 3 for value in sample])
    assert other == pytest.approx((factor * low + 3, factor * high + 3), rel=1e-6, abs=1e-6)
