"""Differences between two arms over seeds, with 95 % intervals, and how many seeds one needs.

Runs of one seed share data order and, where the models allow, initialisation: their differences are
taken seed by seed. The interval is the bootstrap's over seeds, widened to Student's t where that is
wider. The bootstrap alone is too narrow for few seeds: of three it is the range of the three
differences, which leaves out a true zero by chance one time in four.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations_with_replacement

import numpy as np

from scripts.reports.records import Spread
from scripts.usage import UsageError

OUTSIDE = 0.05  # of the 95 % intervals, half on either side
EXACT = 10  # values up to which every resample is counted; from more on some are drawn
DRAWN = 20_000
POWER = 0.8  # to tell a difference that is there
ALIKE = 1e-9  # an interval no wider is of seeds that differ alike, from which nothing follows
APART = 0.05  # of exact accuracy: the difference that seeds are counted for
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(200)


@dataclass(frozen=True)
class Difference:
    """mean: first less second; low, high: its 95 % interval; bootstrap, student: what that is made
    of (bootstrap None where seeds are known by mean and deviation alone).

    n: pairs, or seeds of the arm that has fewer; deviation: standard deviation of the pairs'
    differences; unpaired: the root of the arms' mean variance.
    """

    mean: float
    low: float
    high: float
    student: tuple[float, float]
    bootstrap: tuple[float, float] | None
    n: int
    paired: bool
    deviation: float


def difference(first: Mapping[int, float], second: Mapping[int, float]) -> Difference:
    """Of values by seed: paired where both have the same seeds, else of the two means. ValueError
    for fewer than two seeds of an arm."""
    if first.keys() == second.keys():
        values = [first[seed] - second[seed] for seed in sorted(first)]
        student, spread = student_interval(values), _spread(values)
        known = Difference(spread.mean, *student, student, None, spread.n, True, spread.sd)
        return _widened(known, bootstrap_interval(values))
    a, b = ([values[seed] for seed in sorted(values)] for values in (first, second))
    known = summary_difference(_spread(a), _spread(b))
    drawn = _means(a, 0) - _means(b, 1)
    return _widened(known, _percentiles(drawn, np.ones(len(drawn), int)))


def summary_difference(first: Spread, second: Spread) -> Difference:
    """Of means and deviations over seeds: Welch's interval. ValueError where a deviation is not
    known, or is of fewer than two seeds."""
    if min(first.n, second.n) < 2 or first.sd is None or second.sd is None:
        raise UsageError("a spread needs two seeds or more")
    mean, n = first.mean - second.mean, min(first.n, second.n)
    parts = first.sd**2 / first.n, second.sd**2 / second.n
    half = 0.0
    if sum(parts) > 0:
        below = parts[0] ** 2 / (first.n - 1) + parts[1] ** 2 / (second.n - 1)
        freedom = sum(parts) ** 2 / below
        half = student_quantile(1 - OUTSIDE / 2, freedom) * math.sqrt(sum(parts))
    student = mean - half, mean + half
    deviation = math.sqrt((first.sd**2 + second.sd**2) / 2)
    return Difference(mean, *student, student, None, n, False, deviation)


def _spread(values: Sequence[float]) -> Spread:
    if len(values) < 2:
        raise UsageError("a difference needs two seeds or more of each arm")
    return Spread(mean=float(np.mean(values)), sd=float(np.std(values, ddof=1)), n=len(values))


def _widened(known: Difference, bootstrap: tuple[float, float]) -> Difference:
    low, high = min(known.low, bootstrap[0]), max(known.high, bootstrap[1])
    return replace(known, low=low, high=high, bootstrap=bootstrap)


# Intervals


def student_interval(values: Sequence[float]) -> tuple[float, float]:
    """Student's 95 % interval of the mean of values (N,). ValueError for fewer than two."""
    spread = _spread(values)
    half = student_quantile(1 - OUTSIDE / 2, spread.n - 1) * spread.sd / math.sqrt(spread.n)
    return spread.mean - half, spread.mean + half


def bootstrap_interval(values: Sequence[float]) -> tuple[float, float]:
    """The percentile bootstrap's 95 % interval of the mean of values (N,): over all N^N resamples
    up to N = 10, over 20,000 drawn ones (the same every time) from there on."""
    if len(values) < 2:
        raise UsageError("a bootstrap needs two values or more")
    if len(values) > EXACT:
        means = _means(values, 0)
        return _percentiles(means, np.ones(len(means), int))
    return _percentiles(*_resamples(values))


def _resamples(values: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """The mean of every resample, and of how many orders of drawing it is the mean."""
    n = len(values)
    chosen = np.array(list(combinations_with_replacement(range(n), n)))
    times = (chosen[:, :, None] == np.arange(n)).sum(1)  # how often each value was drawn
    factorials = np.array([math.factorial(k) for k in range(n + 1)])
    orders = factorials[n] // factorials[times].prod(1)
    return times @ np.asarray(values, float) / n, orders


def _means(values: Sequence[float], stream: int) -> np.ndarray:
    rng = np.random.default_rng((0, stream))
    return rng.choice(np.asarray(values, float), (DRAWN, len(values))).mean(1)


def _percentiles(means: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    """The least mean that is not among the lowest 2.5 %, and its mirror image."""
    order = np.argsort(means)
    means, below = means[order], np.cumsum(counts[order])
    tail = OUTSIDE / 2 * below[-1]
    above = below[-1] - below + counts[order]
    return float(means[below >= tail][0]), float(means[above >= tail][-1])


def student_quantile(share: float, freedom: float) -> float:
    """Student's t below which `share` of the distribution lies, share >= 1/2, freedom > 0 (which
    Welch's rule makes a fraction)."""
    angle_low, angle_high = 0.0, math.pi / 2
    for _ in range(60):
        angle = (angle_low + angle_high) / 2
        if 0.5 + _central(angle, freedom) < share:
            angle_low = angle
        else:
            angle_high = angle
    return math.sqrt(freedom) * math.tan((angle_low + angle_high) / 2)


def _central(angle: float, freedom: float) -> float:
    """P(0 < T < t) at t = sqrt(freedom) tan(angle), as the integral of cos^(freedom - 1)."""
    places = angle / 2 * (_NODES + 1)
    area = angle / 2 * float(_WEIGHTS @ np.cos(places) ** (freedom - 1))
    scale = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)
    return area * math.exp(scale) / math.sqrt(math.pi)


# How many seeds


def seeds_needed(deviation: float, apart: float = APART, paired: bool = True) -> int:
    """The least number of seeds (of each arm) from which a difference of `apart` is told from zero
    by a two-sided 5 % t test with probability POWER; 3 at least.

    deviation: as a Difference has it, best of the first five seeds; of `apart`'s unit.
    """
    enough, n = 3, 3
    while power_of(n, deviation, apart, paired) < POWER:
        enough, n = n + 1, 2 * n
    while enough < n:
        middle = (enough + n) // 2
        if power_of(middle, deviation, apart, paired) < POWER:
            enough = middle + 1
        else:
            n = middle
    return n


def power_of(n: int, deviation: float, apart: float, paired: bool = True) -> float:
    """With what probability n seeds (of each arm) tell a difference of `apart` from zero.

    deviation: as in `seeds_needed`, of `apart`'s unit; paired: whether differences are taken seed
    by seed.
    """
    if deviation == 0:
        return 1.0
    freedom = n - 1 if paired else 2 * n - 2
    shift = apart / deviation * math.sqrt(n if paired else n / 2)
    least = student_quantile(1 - OUTSIDE / 2, freedom)
    # T is (normal + shift) / r, with freedom * r^2 of the chi-squared distribution.
    width = 12 / math.sqrt(2 * freedom)
    low = max(0.0, 1 - width)
    r = low + (1 + width - low) / 2 * (_NODES + 1)
    density = (
        math.log(2)
        + freedom / 2 * math.log(freedom / 2)
        - math.lgamma(freedom / 2)
        + (freedom - 1) * np.log(r)
        - freedom * r**2 / 2
    )
    weights = (1 + width - low) / 2 * _WEIGHTS * np.exp(density)
    return float(weights @ (_below(shift - least * r) + _below(-shift - least * r)))


def _below(z: np.ndarray) -> np.ndarray:
    """The normal distribution's share below z."""
    return np.array([math.erfc(-value / math.sqrt(2)) / 2 for value in z])
