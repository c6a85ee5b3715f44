"""Steps of training by hand: averages, rates, draws, lines of metrics, modes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from training_standins import ALONE, trainer

from baselines.trm import TRM
from reasoning.errors import InputError
from reasoning.supervision import SupervisionConfig
from reasoning.training.config import EMAConfig, OptimizerConfig
from reasoning.training.ema import EMA
from reasoning.training.evaluation import predict
from reasoning.training.runs import TrainingError


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


class Pondering(TRM):
    """With a loss of its own in so many segments, the first ones."""

    segments_with = 1_000

    def segment(self, *args):
        output = super().segment(*args)
        self.segments_with -= 1
        if self.segments_with < 0:
            return output
        return replace(output, own_loss=self.own_loss(output))

    def own_loss(self, output):
        weight = next(self.parameters())
        return 0.5 * weight.square().sum().expand(len(output.q))


def test_a_loss_of_the_models_own_is_added_with_its_gradient():
    plain, pondering = trainer(), trainer(kind=Pondering)
    name, weight = next(iter(pondering.model.named_parameters()))
    before = weight.detach().clone()
    sums, own = (made._backward(*made._batch(0)) for made in (plain, pondering))
    added = 8 * 0.5 * before.square().sum()  # of 8 slots
    torch.testing.assert_close(own["own_loss"], added)
    torch.testing.assert_close(own["loss"], sums["loss"] + added)
    other = dict(plain.model.named_parameters())[name].grad
    torch.testing.assert_close(weight.grad, before if other is None else other + before)


def test_a_loss_of_the_models_own_is_in_every_segment_or_none():
    for changes in ({"micro_batch": 4}, {}):
        made = trainer(kind=Pondering, **changes)
        made.model.segments_with = 1
        with pytest.raises(InputError, match="own_loss: one segment tells it, and another does"):
            made._record([made.advance(), made.advance()])


def test_a_loss_of_the_models_own_of_another_shape_or_no_number_is_told():
    made = trainer(kind=Pondering)
    made.model.own_loss = lambda output: output.q[:, :1]
    with pytest.raises(InputError, match=r"own_loss has shape \(8, 1\), expected \(8,\)"):
        made.advance()
    made.model.own_loss = lambda output: output.q[:, 0] * torch.nan
    with pytest.raises(TrainingError, match="the model's own_loss is nan"):
        made._record([made.advance()])


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
