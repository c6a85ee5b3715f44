"""Training to a deadline: the plan, and that measuring leaves no trace."""

import time

import pytest
import torch

from reasoning.training import deadline
from reasoning.training.config import TrainingConfig, replanned, seconds_of
from reasoning.training.deadline import Costs
from scripts.models.labels import label
from scripts.models.presets import RunConfig, preset
from scripts.timing.measures import sudokus, trainer_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2h", 7200), ("1h30m", 5400), ("8.5m", 510), ("420s", 420), ("1h1m1s", 3661)],
)
def test_lengths_of_time(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "h", "2 h", "-3m", "0s", "2d", "h2"])
def test_what_is_no_length_of_time(text):
    with pytest.raises(ValueError, match="write 2h"):
        seconds_of(text)


def test_the_steps_that_fit_take_the_time_there_is():
    config = TrainingConfig(steps=1, log_every=10, evaluate_every=100)
    costs = Costs(step=0.5, metering=2.0, evaluation=7.0, measuring=9.0)
    steps = costs.steps_in(1000.0, config)

    def taken(count):
        return 0.5 * count + 2.0 * (count / 10) + 7.0 * (count / 100 + 1)

    assert taken(steps) <= 1000 < taken(steps + 1)


def test_what_counts_in_steps_of_the_whole_run_keeps_its_part_of_it():
    config = preset("attractor-speed-cpu")
    half, double = (replanned(config, steps) for steps in (560, 2800))
    assert half.ema.start / 560 == double.ema.start / 2800 == config.ema.start / config.steps
    assert half.optimizer.warmup == config.optimizer.warmup * 560 / 1400
    assert double.optimizer.warmup == config.optimizer.warmup
    # Which is no other recipe, and has no other name; another start of averaging is one.
    assert label(half) == label(double) == "attractor-speed-cpu"
    other = half.model_copy(update={"ema": half.ema.model_copy(update={"start": 1})})
    assert label(other) == "attractor-speed-cpu ema.start=1"


def fresh(name="attractor-speed-mini", **changes):
    config = preset(name).model_dump() | {"batch": 4, "augment": False} | changes
    return trainer_of(RunConfig.model_validate(config), sudokus(4, 8), torch.device("cpu"))


def weights(trainer):
    models = (trainer.model, trainer.ema.model)
    return [p.clone() for model in models for p in model.state_dict().values()]


@pytest.mark.parametrize("name", ["attractor-speed-mini", "trm-mini"])
def test_after_measuring_training_is_as_if_nothing_had_been(name):
    measured, other = fresh(name), fresh(name)
    costs = deadline.measure(measured, 0.02)
    assert costs.step > 0
    for trainer in (measured, other):
        for _ in range(3):
            trainer.step()
    for a, b in zip(weights(measured), weights(other), strict=True):
        assert torch.equal(a, b)
    assert measured.net_calls == other.net_calls


def test_a_curriculums_depths_are_weighed_by_their_share_of_the_run(monkeypatch):
    trainer = fresh()
    spans = deadline._spans(trainer.config)
    stages = trainer.config.supervision.curriculum
    # Two depths: without evaluations until 0.75, then the model's own.
    assert [share for share, _ in spans] == pytest.approx([0.75, 0.25])
    steps = trainer.config.steps
    depths = [trainer.config.supervision.stage_at(first, steps).depth for _, first in spans]
    assert depths == [stages[0].depth, stages[-1].depth]

    def cost(trainer, seconds):
        return 3.0 if trainer.done else 1.0

    monkeypatch.setattr(deadline, "_seconds_per_step", cost)
    assert deadline.measure(trainer, 0.02).step == pytest.approx(0.75 * 1 + 0.25 * 3)


def test_a_plan_takes_its_own_time_off_and_fills_the_rest(monkeypatch):
    trainer = fresh()
    costs = Costs(step=0.1, metering=0.0, evaluation=0.0, measuring=0.0)
    monkeypatch.setattr(deadline, "measure", lambda trainer, seconds: costs)
    record = deadline.plan(trainer, 100.0, time.perf_counter() - 40.0)
    assert record["steps"] == trainer.config.steps == pytest.approx(600, abs=2)
    assert trainer.optimizers.config == trainer.config.optimizer
    assert trainer.ema.config == trainer.config.ema
    with pytest.raises(ValueError, match="no step fits into 1 s"):
        deadline.plan(trainer, 1.0, time.perf_counter() - 1.0)


@pytest.mark.parametrize("until", [0.3, 0.35, 0.7])
@pytest.mark.parametrize("steps", [7, 8, 10, 100])
def test_a_span_begins_at_the_first_step_of_its_depth(until, steps):
    stages = [{"until": until, "segments": 1, "evaluations": 1}]
    supervision = {"segments": 2, "curriculum": [*stages, {"until": 1.0, "segments": 2}]}
    config = TrainingConfig(steps=steps, supervision=supervision)
    (_, first), (_, second) = deadline._spans(config)
    of = [config.supervision.stage_at(step, steps).segments for step in range(steps)]
    assert (first, second) == (0, of.index(2))


def test_a_segment_ahead_is_a_cost_of_its_own():
    """HRM's Q-learning runs one where there is a choice: the first stage costs less."""
    stages = [{"until": 0.2, "segments": 1}, {"until": 0.5, "segments": 2}]
    curriculum = [*stages, {"until": 1.0, "segments": 4}]
    supervision = {"segments": 4, "halting": "q-learning", "curriculum": curriculum}
    config = TrainingConfig(steps=100, supervision=supervision)
    assert deadline._spans(config) == [(0.2, 0), (pytest.approx(0.8), 20)]
    halting = config.supervision.model_copy(update={"halting": "halt"})
    alike = config.model_copy(update={"supervision": halting})
    assert deadline._spans(alike) == [(pytest.approx(1.0), 0)]
