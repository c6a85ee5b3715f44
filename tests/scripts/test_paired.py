"""Differences over seeds against brute force, published tables and another library's functions."""

import itertools
import math

import mpmath
import numpy as np
import pytest

from scripts.reports import paired
from scripts.reports.paired import (
    bootstrap_interval,
    difference,
    power_of,
    seeds_needed,
    student_interval,
    student_quantile,
    summary_difference,
)
from scripts.reports.records import Spread


@pytest.mark.parametrize(
    ("share", "freedom", "published"),
    [(0.975, 1, 12.706), (0.975, 2, 4.303), (0.975, 4, 2.776), (0.975, 9, 2.262), (0.9, 5, 1.476)],
)
def test_quantiles_are_those_of_students_table(share, freedom, published):
    assert student_quantile(share, freedom) == pytest.approx(published, abs=6e-4)


@pytest.mark.parametrize("freedom", [1.0, 1.37, 2.5, 7.9, 60.0, 4000.0])
def test_quantiles_invert_the_distribution_as_mpmath_has_it(freedom):
    t = student_quantile(0.975, freedom)
    beyond = mpmath.betainc(freedom / 2, 0.5, 0, freedom / (freedom + t * t), regularized=True) / 2
    assert float(beyond) == pytest.approx(0.025, rel=1e-6)


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6])
def test_the_bootstrap_is_that_of_every_resample(n):
    values = np.random.default_rng(n).normal(size=n)
    means = np.sort([np.mean(each) for each in itertools.product(values, repeat=n)])
    tail = math.ceil(0.025 * len(means))
    expected = means[tail - 1], means[-tail]
    assert bootstrap_interval(values) == pytest.approx(expected, abs=1e-12)


def test_drawn_resamples_agree_with_all_of_them(monkeypatch):
    values = np.random.default_rng(7).normal(size=8)
    every = bootstrap_interval(values)
    monkeypatch.setattr(paired, "EXACT", 2)
    drawn = bootstrap_interval(values)
    assert drawn == pytest.approx(every, abs=0.03)
    assert drawn == bootstrap_interval(values), "the same every time"


def test_students_interval_by_hand():
    # 14.0, 1.8, 4.8: mean 6.87, deviation 6.36, times 4.303 / sqrt(3).
    low, high = student_interval([14.0, 1.8, 4.8])
    assert (low, high) == pytest.approx((6.867 - 15.79, 6.867 + 15.79), abs=0.02)


def test_equal_seeds_are_paired_and_others_are_not():
    first, second = {0: 0.664, 1: 0.740, 2: 0.646}, {0: 0.524, 1: 0.722, 2: 0.598}
    found = difference(first, second)
    assert found.paired
    assert found.n == 3
    assert found.bootstrap == pytest.approx((0.018, 0.140))
    assert found.low < 0 < found.high, "three seeds of one sign are no proof"
    apart = difference(first, {3: 0.524, 4: 0.722, 5: 0.598})
    assert not apart.paired
    assert apart.mean == pytest.approx(found.mean)


def test_shared_luck_of_a_seed_cancels_in_pairs_alone():
    luck = {seed: 10.0 * seed for seed in range(5)}
    lower = {seed: value - 1 - 0.01 * (seed % 2) for seed, value in luck.items()}
    assert difference(luck, lower).low > 0.9
    others = {seed + 5: value for seed, value in lower.items()}
    assert difference(luck, others).low < 0 < difference(luck, others).high


def test_unpaired_means_are_welchs():
    # Welch's example as it is computed in textbooks: freedom by Satterthwaite's rule.
    a, b = Spread(mean=20.0, sd=2.0, n=4), Spread(mean=15.0, sd=5.0, n=9)
    v, w = 4 / 4, 25 / 9
    freedom = (v + w) ** 2 / (v**2 / 3 + w**2 / 8)
    t = float(mpmath.findroot(lambda t: mpmath.quad(_density(freedom), [0, t]) - 0.475, 2.2))
    found = summary_difference(a, b)
    assert (found.low, found.high) == pytest.approx(
        (5 - t * math.sqrt(v + w), 5 + t * math.sqrt(v + w)), rel=1e-6
    )


def _density(freedom):
    scale = mpmath.gamma((freedom + 1) / 2) / (
        mpmath.sqrt(freedom * mpmath.pi) * mpmath.gamma(freedom / 2)
    )
    return lambda t: scale * (1 + t * t / freedom) ** (-(freedom + 1) / 2)


def test_one_seed_has_no_interval():
    with pytest.raises(ValueError, match="two seeds"):
        difference({0: 1.0}, {0: 2.0})
    with pytest.raises(ValueError, match="two seeds"):
        difference({0: 1.0}, {1: 2.0})
    with pytest.raises(ValueError, match="two seeds"):
        summary_difference(Spread(mean=1, sd=None, n=3), Spread(mean=1, sd=1, n=3))


@pytest.mark.parametrize("n", [3, 5, 8])
def test_the_interval_holds_the_truth_as_often_as_it_says(n):
    rng = np.random.default_rng(n)
    held = bootstrap_alone = 0
    for draw in rng.normal(size=(400, n)):
        found = difference(dict(enumerate(draw)), dict.fromkeys(range(n), 0.0))
        held += found.low <= 0 <= found.high
        bootstrap_alone += found.bootstrap[0] <= 0 <= found.bootstrap[1]
    assert held >= 0.925 * 400  # 0.95 less two standard errors
    assert bootstrap_alone < held
    if n == 3:
        assert bootstrap_alone < 0.82 * 400, "the range of three: right three times in four"


# G*Power's numbers at 5 % two-sided and power 0.8 (Faul et al. 2007), of differences of 0.5, 0.8
# and 1 deviations.
@pytest.mark.parametrize(
    ("effect", "pairs", "each"), [(0.5, 34, 64), (0.8, 15, 26), (1.0, 10, 17), (0.2, 199, 394)]
)
def test_seeds_needed_are_the_published_numbers(effect, pairs, each):
    assert seeds_needed(1 / effect, apart=1.0) == pairs
    assert seeds_needed(1 / effect, apart=1.0, paired=False) == each


def test_seeds_needed_do_what_they_promise():
    n = seeds_needed(0.06, apart=0.05)
    draws = np.random.default_rng(0).normal(0.05, 0.06, (20_000, n))
    t = draws.mean(1) / (draws.std(1, ddof=1) / math.sqrt(n))
    told = (np.abs(t) > student_quantile(0.975, n - 1)).mean()
    assert told == pytest.approx(power_of(n, 0.06, 0.05), abs=0.01)
    assert told > 0.79
    assert power_of(n - 1, 0.06, 0.05) < 0.8


def test_without_spread_three_seeds_do():
    assert seeds_needed(0.0) == 3
