"""AUROC against counting pairs, risk-coverage against its definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.runs.abstention import auroc, risk_coverage


def drawn(seed: int, n: int, levels: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores with ties and infinities; right ones tend to score higher."""
    rng = np.random.default_rng(seed)
    right = rng.random(n) < 0.6
    scores = rng.integers(0, levels, n) + 0.7 * right * rng.integers(0, levels, n)
    return np.where(rng.random(n) < 0.1, -np.inf, scores), right


def pairs(scores: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(right, wrong): 1 where the right one scores higher, 1/2 where alike."""
    a, b = scores[right][:, None], scores[~right][None]
    return np.where(a == b, 0.5, a > b)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.integers(2, 60), st.integers(1, 20))
def test_auroc_counts_pairs(seed, n, levels):
    scores, right = drawn(seed, n, levels)
    found = auroc(scores, right)
    if right.all() or not right.any():
        assert found is None
        return
    wins = pairs(scores, right)
    assert found["mean"] == pytest.approx(wins.mean())
    assert (found["n"], found["right"]) == (n, right.sum())
    if min(wins.shape) > 1:
        # DeLong: the variance of each side's placements.
        variance = wins.mean(1).var(ddof=1) / len(wins) + wins.mean(0).var(ddof=1) / wins.shape[1]
        assert found["stderr"] == pytest.approx(variance**0.5)
    else:
        assert found["stderr"] is None


def test_the_standard_error_of_auroc_is_its_spread():
    found = [auroc(*drawn(seed, 200, 10)) for seed in range(300)]
    spread = np.std([f["mean"] for f in found])
    assert np.mean([f["stderr"] for f in found]) == pytest.approx(spread, rel=0.15)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.integers(1, 50), st.integers(1, 12))
def test_risk_coverage_is_its_definition(seed, n, levels):
    scores, right = drawn(seed, n, levels)
    found = risk_coverage(scores, right)
    thresholds = sorted(set(scores.tolist()), reverse=True)
    answered = [scores >= t for t in thresholds]
    np.testing.assert_allclose(found["coverage"], [a.mean() for a in answered])
    np.testing.assert_allclose(found["risk"], [(~right[a]).mean() for a in answered])
    own = [(~right[scores >= score]).mean() for score in scores]
    assert found["area"]["mean"] == pytest.approx(np.mean(own))
    # The best order puts the wrong last.
    errors = np.sort(~right)
    best = np.mean([errors[: k + 1].mean() for k in range(n)])
    assert found["best_area"] == pytest.approx(best if right.any() else 1.0)
    assert found["best_area"] <= found["area"]["mean"] + 1e-12


def test_a_constant_confidence_knows_nothing():
    right = np.array([True, False, False, True, False])
    assert auroc(np.zeros(5), right)["mean"] == 0.5
    found = risk_coverage(np.zeros(5), right)
    assert (found["coverage"], found["risk"]) == ([1.0], [0.6])
    assert found["area"]["mean"] == pytest.approx(0.6)


def test_the_standard_error_of_the_area_is_its_spread():
    found = [risk_coverage(*drawn(seed, 150, 10))["area"] for seed in range(60)]
    spread = np.std([f["mean"] for f in found])
    assert np.mean([f["stderr"] for f in found]) == pytest.approx(spread, rel=0.3)


def test_long_curves_are_thinned_but_keep_their_ends():
    scores, right = np.arange(5000.0), np.arange(5000) % 3 > 0
    found = risk_coverage(scores, right)
    assert len(found["coverage"]) <= 200
    assert found["coverage"][0] == 1 / 5000
    assert found["coverage"][-1] == 1


@pytest.mark.parametrize(
    ("confidence", "right"), [([], []), ([1.0], [True, False]), ([float("nan")], [True])]
)
def test_what_is_no_confidence_is_refused(confidence, right):
    for measure in (auroc, risk_coverage):
        with pytest.raises(ValueError, match=r"NaN|need two arrays"):
            measure(np.array(confidence), np.array(right, bool))
