"""CORE over several draws of examples."""

import numpy as np
import pytest
from test_lm_core import ALONE, SEED, Bytes, Table

from reasoning.pretraining.evaluation.answers import answer_task
from reasoning.pretraining.evaluation.core import evaluate_bundle
from reasoning.pretraining.evaluation.core_tasks import read_bundle, read_items
from reasoning.pretraining.evaluation.likelihood import Scorer


def test_nats_and_cropped_items_are_over_all_draws(bundle):
    """Nats a token of every draw's right answers; an item that some draw cropped counts once."""
    scorer, seeds = Scorer(Table(257, 150), ALONE), (SEED, 2345)
    read = read_bundle(bundle, ["choose"])
    (score,) = evaluate_bundle(scorer, Bytes(), read, seeds).tasks
    (task,), items = read.tasks, read_items(read.tasks[0])
    draws = [answer_task(scorer, Bytes(), task, items, seed, len(items)) for seed in seeds]
    nll, tokens = (sum(getattr(d, n).sum() for d in draws) for n in ("nll", "tokens"))
    assert score.nats_per_token == pytest.approx(nll / tokens)
    assert score.nats_per_token != pytest.approx(nll / len(items))
    cropped = np.logical_or(*(d.cropped > 0 for d in draws))
    assert score.cropped == cropped.sum()
    assert 0 < score.cropped < sum(d.cropped.sum() for d in draws)
