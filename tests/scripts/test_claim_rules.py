"""What decides a claim: tokens, seeds, ratios, failures."""

from dataclasses import replace

import pytest
from test_claims import ANY, APART, MORE, arm, record, word

from scripts.studies.claims import Contrast, Quantity, judge, place

LOSS = Quantity("a", "perplexity"), Quantity("b", "perplexity")
LANGUAGE = Contrast("made up", *LOSS, "less", language=True)


def texts(first, second, tokens):
    """A record of two arms' perplexities by seed, trained on so many tokens each."""
    sides = zip("ab", (first, second), tokens, strict=True)
    return record(*(arm(name, values, "perplexity", tokens=n) for name, values, n in sides))


def test_of_two_arms_the_fewer_tokens_count():
    low, high = [4.0, 4.1, 4.0], [5.0, 5.1, 5.1]
    for tokens in ((8e6, 3e5), (3e5, 8e6)):
        assert word(LANGUAGE, texts(low, high, tokens)) == ("undecided", "0.3 million tokens")
    long = texts(low, high, (1e8, 1e8))
    for tokens in ((1e9, 9e6), (9e6, 1e9)):  # on one side more, of both fewer
        assert word(LANGUAGE, texts(high, low, tokens), long)[0] == "held"


def test_more_tokens_decide_before_more_seeds():
    low, high = [4.0, 4.1, 4.0], [5.0, 5.1, 5.1]
    long, often = texts(low, high, (9e7, 9e7)), texts(high * 2, low * 2, (9e6, 9e6))
    assert word(LANGUAGE, often, long)[0] == word(LANGUAGE, long, often)[0] == "held"
    more = texts(high * 2, low * 2, (9e7, 9e7))  # of as many tokens, the more seeds
    assert word(LANGUAGE, more, long)[0] == word(LANGUAGE, long, more)[0] == "not held"


def test_a_relative_effect_is_the_mean_ratio_seed_by_seed_less_one():
    flops = Quantity("a", "flops"), Quantity("b", "flops")
    test = Contrast("made up", *flops, "less", relative=True)
    made = record(arm("a", [3.0, 6.0, 8.0], "flops"), arm("b", [4.0, 10.0, 10.0], "flops"))
    (outcome,) = judge(replace(ANY, contrasts=(test,)), {"r": made}).outcomes
    assert outcome.effect.mean == pytest.approx((-0.25 - 0.4 - 0.2) / 3)
    # t at 2 degrees of freedom times the standard error, of deviations 0.0333, -0.1167, 0.0833
    half = 4.3027 * (0.0333**2 + 0.1167**2 + 0.0833**2) ** 0.5 / 6**0.5
    assert outcome.effect.high == pytest.approx(-0.85 / 3 + half, abs=1e-3)
    assert place(replace(test, says="about", margin=0.02), 8.0) == (-0.02, 0.02)


def test_failed_and_collapsed_runs_of_both_arms_are_counted():
    for names in ("ab", "ba"):
        made = record(arm(names[0], [*APART[0], None]), arm(names[1], [*APART[1], 0.5]))
        (outcome,) = judge(replace(ANY, contrasts=(MORE,)), {"r": made}).outcomes
        assert (outcome.word, outcome.failed, outcome.collapsed) == ("undecided", 1, 0)
    made = record(arm("a", [0.6, 0.0, 0.6, 0.6]), arm("b", [0.001, 0.5, 0.002, 0.5]))
    (outcome,) = judge(replace(ANY, contrasts=(MORE,)), {"r": made}).outcomes
    assert outcome.collapsed == 3
