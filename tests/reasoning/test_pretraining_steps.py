"""Steps of pretraining by hand: rates, FLOPs, tolerances, seeds."""

import pytest
import torch
from language_standins import (
    ALONE,
    BYTES,
    CONTEXT,
    ROWS,
    VOCABULARY,
    WIDTH,
    TinyLM,
    pretrainer,
    tiny_attractor,
)

from reasoning.pretraining.config import TermsConfig, ValidationConfig
from reasoning.pretraining.loop import _shown, sequence_seeds
from reasoning.pretraining.passes import Passes
from reasoning.pretraining.protocol import SolveBudget
from reasoning.pretraining.telemetry import rates
from reasoning.pretraining.validation import validate
from reasoning.training.distribution import World


def test_every_step_has_the_rates_of_its_number_and_trains_in_training_mode():
    made, modes = pretrainer(), []
    made.model.eval().block.register_forward_pre_hook(lambda b, _: modes.append(b.training))
    for step in range(12):
        made.step()
        share = min(1.0, (12 - step) / 6)  # falls over the last half
        for optimizer in made.optimizer.optimizers:
            for group in optimizer.param_groups:
                assert group["lr"] == pytest.approx(share * group["peak_lr"])
        assert made.optimizer.muon.param_groups[0]["momentum"] == pytest.approx(
            0.85 + 0.1 * min(1.0, step / 6)
        )
    assert set(modes) == {True}


def test_flops_are_those_of_all_steps_by_hand():
    """TinyLM: 5 W^2 once, W^2 repeated; two evaluations a token, two backward passes."""
    made = pretrainer()
    made.published = Passes(7, 1)  # what the rule charges is not what is measured
    record, spent = made._record([made.step() for _ in range(3)])
    once, core = 5 * WIDTH**2 + VOCABULARY * WIDTH, WIDTH**2
    attention, tokens = 4 * CONTEXT * WIDTH, 3 * 8 * CONTEXT
    matmuls = 3 * (2 * once + attention) + 2 * core * (2 + 2 * 2)
    assert record["flops_matmul_rule"] == spent == tokens * matmuls
    outside = sum(p.numel() for p in made.model.parameters()) - VOCABULARY * WIDTH - core
    published = 6 * outside + 3 * attention + 2 * core * 7 + 4 * core * 1
    assert record["flops_published_rule"] == tokens * published


def test_terms_of_the_loss_are_in_the_measured_passes():
    terms = TermsConfig(jacobian=0.1)
    plain, more = (
        pretrainer(model=tiny_attractor("one-step"), loss=loss) for loss in (TermsConfig(), terms)
    )
    assert plain.gradient == Passes(0, 2)
    assert more.gradient == Passes(2, 4)  # a pass and a product with J^T, and back through both


def test_rates_are_of_all_processes():
    found = rates(2.0, 300, 8e12, 0.5e12, World(0, 4, torch.device("cpu")))
    assert (found["tokens_per_second"], found["tflops_per_second"]) == (150, 4)
    assert found["mfu"] == 2.0  # 4 TFLOP/s of 4 times 0.5


def test_validation_solves_to_its_own_tolerance():
    asked = []

    class Asked(TinyLM):
        def forward(self, tokens, budget=None, seeds=None, cache=None):
            asked.append((budget.max_evaluations, budget.tolerance))
            return super().forward(tokens, budget, seeds)

    settings = ValidationConfig(tolerance=0.25, evaluations=(None, 1), batch_tokens=8 * CONTEXT)
    validate(Asked(), ROWS, BYTES, settings, ALONE)
    assert asked == [(None, 0.25), (1, 0.25)]


def test_a_listener_is_told_the_loss_of_the_models_own_budget():
    records = [{"max_evaluations": most, "loss": loss} for most, loss in ((0, 3.0), (None, 1.0))]
    told = {"max_evaluations": None, "loss": 1.0, "loss_at_0": 3.0}
    assert _shown(records) == _shown(records[::-1]) == told
    assert _shown(records[:1]) == {"max_evaluations": 0, "loss": 3.0}


def test_every_row_of_every_step_has_a_seed_of_its_own():
    seen = []

    class Seeded(TinyLM):
        def forward(self, tokens, budget=None, seeds=None, cache=None):
            seen.append(seeds)
            return super().forward(tokens, SolveBudget(), seeds)

    made = pretrainer(model=Seeded(), micro_batch=4)
    for _ in range(3):
        made.step()
    expected = [sequence_seeds(0, step, 8) for step in range(3)]
    assert torch.equal(torch.cat(seen), torch.cat(expected))
    assert len(torch.cat(seen).unique()) == 3 * 8
