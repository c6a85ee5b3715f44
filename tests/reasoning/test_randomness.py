"""The counter-based noise: its law, and what a sample's numbers may depend on."""

import math

import numpy as np
import torch

from reasoning.randomness import content_seeds, fold, normal, poisson, truncated_normal

MASK = 2**64 - 1


def splitmix_finaliser(x: int) -> int:
    """Steele et al. (2014), in plain integers."""
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & MASK
    return x ^ (x >> 31)


def test_fold_is_splitmix64_in_wrapping_arithmetic():
    golden = 0x9E3779B97F4A7C15
    for seed, number in ((0, 0), (5, 1), (2**62, 2**62), (-3, 7), (-1, 2**63 - 1)):
        want = splitmix_finaliser((splitmix_finaliser(seed & MASK) + (number + 1) * golden) & MASK)
        got = int(fold(torch.tensor([seed]), number)[0]) & MASK
        assert got == want


def moments(x: torch.Tensor) -> tuple[float, float, float, float]:
    x = x.double().flatten()
    z = (x - x.mean()) / x.std()
    return float(x.mean()), float(x.std()), float((z**3).mean()), float((z**4).mean())


def test_normal_has_the_moments_of_a_normal():
    mean, std, skew, kurtosis = moments(normal(torch.arange(64), (4096,)))
    # 262,144 draws: five standard errors.
    assert abs(mean) < 0.01
    assert abs(std - 1) < 0.007
    assert abs(skew) < 0.025
    assert abs(kurtosis - 3) < 0.05


def test_truncated_normal_is_cut_and_has_deviation_one():
    drawn = truncated_normal(torch.arange(64), (4096,))
    mean, std, _, _ = moments(drawn)
    assert abs(mean) < 0.01
    assert abs(std - 1) < 0.006
    assert 2.27 < float(drawn.abs().max()) <= 2 / 0.87962566103423978
    # Its distribution function at one deviation of the parent normal, by the normal's own.
    below = float((drawn < 1 / 0.87962566103423978).double().mean())
    assert abs(below - (0.8413447 - 0.0227501) / 0.9544997) < 0.005


def test_a_sample_depends_on_its_seed_alone():
    seeds = torch.tensor([11, 12, 13, 14])
    whole = normal(seeds, (3, 5))
    for row in range(4):
        assert torch.equal(normal(seeds[row : row + 1], (3, 5))[0], whole[row])
    assert torch.equal(normal(seeds.flip(0), (3, 5)).flip(0), whole)


def test_neighbouring_seeds_and_uses_are_independent():
    drawn = torch.stack([normal(fold(torch.arange(50), use), (2000,)) for use in range(2)])
    rows = drawn.reshape(100, 2000).numpy()
    correlation = np.corrcoef(rows)
    np.fill_diagonal(correlation, 0)
    assert np.abs(correlation).max() < 5.5 / np.sqrt(2000)


def test_content_seeds_know_content_order_and_seed_and_no_place():
    rows = torch.tensor([[1, 2, 3], [1, 3, 2], [3, 2, 1], [1, 2, 4], [0, 0, 0], [0, 0, 255]])
    seeds = torch.cat([content_seeds(rows, seed) for seed in range(3)])
    assert len(seeds.unique()) == 18
    assert torch.equal(content_seeds(rows[3:5].to(torch.uint8), 1), seeds[9:11])


def test_poisson_has_the_frequencies_of_a_poisson():
    """100,000 draws; every frequency within five deviations of its law's."""
    drawn = poisson(torch.arange(100_000), 8.0)
    counts = np.bincount(drawn.numpy(), minlength=30) / 1e5
    law = np.exp(np.array([k * math.log(8) - 8 - math.lgamma(k + 1) for k in range(len(counts))]))
    assert (abs(counts - law) <= 5 * np.sqrt(law / 1e5) + 1e-5).all()
    assert torch.equal(poisson(torch.tensor([17, 3]), 8.0), drawn[[17, 3]])
