"""Steps of training by hand: averages, rates, draws, lines of metrics, modes."""

import numpy as np
import pytest
import torch
from torch import nn
from training_standins import ALONE, trainer

from reasoning.supervision import SupervisionConfig
from reasoning.training.config import EMAConfig, OptimizerConfig
from reasoning.training.ema import EMA
from reasoning.training.evaluation import predict


def test_the_average_warms_up_and_before_its_start_is_the_weights():
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    warm = EMA(model, EMAConfig(decay=0.2, warmup=True))
    late = EMA(model, EMAConfig(decay=0.75, start=2))
    expected = 0.0
    for step, value in enumerate((2.0, 3.0, 5.0, 7.0)):
        nn.init.constant_(model.weight, value)
        warm.update(model, step), late.update(model, step)
        decay = (1 / 10, 2 / 11, 0.2, 0.2)[step]  # (1 + t) / (10 + t), at most 0.2
        expected = decay * expected + (1 - decay) * value
        assert warm.model.weight.item() == pytest.approx(expected)
        assert (late.model.weight.item() == value) == (step < 2)
    assert late.model.weight.item() == pytest.approx(0.75 * (0.75 * 3 + 0.25 * 5) + 0.25 * 7)


def test_a_step_has_the_rate_of_its_number_and_is_averaged_by_it():
    """Of every optimiser the peak's share; the weights after the step enter the average."""
    made = trainer(optimizer=OptimizerConfig(warmup=4), ema=EMAConfig(decay=0.9, warmup=True))
    expected = [p.detach().clone() for p in made.model.parameters()]
    for step in range(6):
        made.advance()
        groups = [g for o in made.optimizers._all for g in o.param_groups]
        shares = [g["lr"] / g["peak_lr"] for g in groups]
        assert shares == pytest.approx([min(1.0, (step + 1) / 4)] * 2)
        decay, weights = (1 + step) / (10 + step), made.model.parameters()
        pairs = zip(expected, weights, strict=True)
        expected = [decay * a + (1 - decay) * p.detach() for a, p in pairs]
    for (name, average), want in zip(made.ema.model.named_parameters(), expected, strict=True):
        if not name.startswith("embedding.puzzles"):
            torch.testing.assert_close(average, want)


def test_what_a_step_draws_is_of_its_number_and_stage():
    stages = [{"until": 0.5, "segments": 2}, {"until": 1.0, "segments": 4}]
    supervision = SupervisionConfig(segments=16, exploration=1.0, curriculum=stages)
    made = trainer(supervision=supervision)  # of 12 steps
    for limit, steps in ((2, range(6)), (4, range(6, 12))):
        minima = torch.cat([made._batch(step)[1] for step in steps])
        assert set(minima.tolist()) == set(range(2, limit + 1))
    seeds = torch.cat([made._batch(step)[2] for step in range(12)])
    assert len(seeds.unique()) == 12 * 8
    assert torch.equal(seeds, torch.cat([trainer()._batch(step)[2] for step in range(12)]))


def test_a_line_of_metrics_is_means_over_slots_and_over_those_that_finished():
    made = trainer()
    sums = made.advance()  # 8 slots
    sums |= {"loss": torch.tensor(4.0), "finished": torch.tensor(5.0)}
    sums |= {f"finished_{name}": torch.tensor(2.0) for name in ("cell", "exact", "segments")}
    record = made._record([sums])
    assert record["loss"] == 0.5
    assert record["finished_cell"] == record["finished_exact"] == pytest.approx(2 / 5)
    assert record["finished_segments"] == pytest.approx(2 / 5)
    assert made._record([sums | {"finished": torch.tensor(0.0)}])["finished_exact"] is None


@pytest.mark.parametrize("training", [False, True])
def test_steps_are_taken_in_training_mode_and_predictions_in_eval_mode(training):
    made, modes = trainer(), []
    made.model.net.register_forward_pre_hook(lambda net, _: modes.append(net.training))
    if training:
        made.model.eval()
        made.advance()
    else:
        grids = np.ones((3, 4), np.uint8)
        predict(made.model.train(), grids, np.zeros(3, np.int32), 2, 3, ALONE)
    assert set(modes) == {training}
