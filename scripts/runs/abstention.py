"""Is a score a confidence? AUROC against correctness, and error against the share answered.

AUROC is the chance that a right answer has more confidence than a wrong one, ties counting half
(Mann and Whitney 1947), its standard error DeLong's (1988). A selective solver answers only where
its confidence is at least a threshold: coverage is the share of puzzles it then answers, risk the
error rate among those, and the area under the curve is the mean, over all puzzles, of the risk at
the puzzle's own confidence (Geifman and El-Yaniv 2017): the lower the better, and the plain error
rate where the confidence knows nothing.
"""

from math import sqrt
from typing import Any

import numpy as np

from scripts.usage import UsageError

RESAMPLES = 200  # bootstrap samples for the standard error of the area
POINTS = 200  # most points of a risk-coverage curve that are recorded


def _midranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1, equal values sharing the mean of theirs."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (count.cumsum() - (count - 1) / 2)[place]


def auroc(confidence: np.ndarray, right: np.ndarray) -> dict[str, float] | None:
    """{mean, stderr, n, right} of confidence (N,) against right bool (N,); None for one class.

    The standard error is None with fewer than two of either. ValueError for NaN.
    """
    confidence, right = _checked(confidence, right)
    positives, negatives = int(right.sum()), int((~right).sum())
    if not positives or not negatives:
        return None
    ranks = _midranks(confidence)
    # Of every right answer the share of wrong ones below it, and of every wrong one likewise.
    above = (ranks[right] - _midranks(confidence[right])) / negatives
    below = 1 - (ranks[~right] - _midranks(confidence[~right])) / positives
    stderr = None
    if positives > 1 and negatives > 1:
        stderr = sqrt(above.var(ddof=1) / positives + below.var(ddof=1) / negatives)
    return {"mean": float(above.mean()), "stderr": stderr, "n": len(right), "right": positives}


def _risks(confidence: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(T,) puzzles answered and errors among them at each distinct confidence, falling."""
    _, place = np.unique(-confidence, return_inverse=True)
    answered = np.bincount(place).cumsum()
    return answered, np.bincount(place, weights=~right).cumsum()


def _area(confidence: np.ndarray, right: np.ndarray) -> float:
    answered, errors = _risks(confidence, right)
    return float(np.diff(answered, prepend=0) @ (errors / answered)) / len(right)


def risk_coverage(confidence: np.ndarray, right: np.ndarray) -> dict[str, Any]:
    """The curve, {"coverage": [...], "risk": [...]} over falling confidence, and its area.

    "area" is {mean, stderr, n}, the error by bootstrap with a fixed seed; "best_area" is that of a
    confidence which ranks every right answer above every wrong one. ValueError for NaN.
    """
    confidence, right = _checked(confidence, right)
    answered, errors = _risks(confidence, right)
    shown = np.unique(np.linspace(0, len(answered) - 1, POINTS).round().astype(int))
    rng = np.random.default_rng(0)
    areas = []
    for _ in range(RESAMPLES):
        rows = rng.integers(0, len(right), len(right))
        areas.append(_area(confidence[rows], right[rows]))
    return {
        "coverage": (answered / len(right))[shown].tolist(),
        "risk": (errors / answered)[shown].tolist(),
        "area": {
            "mean": _area(confidence, right),
            "stderr": float(np.std(areas, ddof=1)),
            "n": len(right),
        },
        "best_area": _area(np.where(right, 1.0, -np.arange(len(right))), right),
    }


def _checked(confidence: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    confidence, right = np.asarray(confidence, np.float64), np.asarray(right, bool)
    if confidence.ndim != 1 or confidence.shape != right.shape or not len(right):
        raise UsageError(f"need two arrays (N,), got {confidence.shape} and {right.shape}")
    if np.isnan(confidence).any():
        raise UsageError("a confidence is NaN")
    return confidence, right
