"""The pretraining loop on a stand-in model: a step's numbers, what is not finite, damage."""

import math
import os
import signal
import sys
from functools import partialmethod
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))
from language_standins import (
    ALONE,
    BYTES,
    CONTEXT,
    ROWS,
    TEXT,
    CountingStream,
    TinyLM,
    assert_same_tensors,
    config,
    pretrainer,
    run_in,
    tiny_attractor,
)

from reasoning.pretraining.checkpoints import load_language_weights, save_pretraining
from reasoning.pretraining.config import ValidationConfig
from reasoning.pretraining.loop import sequence_seeds
from reasoning.pretraining.protocol import LMOutput, SolveBudget
from reasoning.pretraining.telemetry import TokenStatistics
from reasoning.pretraining.validation import validate
from reasoning.training.checkpoints import CheckpointError, list_checkpoints
from reasoning.training.distribution import World
from reasoning.training.runs import TrainingError, create_run, read_jsonl


def test_it_learns_and_logs_what_it_should(tmp_path):
    run_in(tmp_path, steps=60, log_every=20, checkpoint_every=20, jacobian_every=40)
    records = read_jsonl(tmp_path / "metrics.jsonl")
    training = [r for r in records if r["split"] == "train"]
    assert [r["step"] for r in training] == [20, 40, 60]
    first, second, last = training
    assert last["loss"] < 0.75 * first["loss"]
    assert first["tokens"] == 20 * 8 * CONTEXT
    assert (first["lr"], second["lr"]) == (8e-3, pytest.approx(8e-3 * 21 / 30))
    assert first["evaluations"] == first["evaluations_p95"] == 2
    assert 0 < first["residual"] < first["residual_p95"]
    norms = [r.get("jacobian_norm") for r in training]
    assert norms == [None, pytest.approx(3, rel=1e-3), pytest.approx(3, rel=1e-3)]
    # both FLOP rules are sums over the run
    assert last["flops_matmul_rule"] == pytest.approx(3 * first["flops_matmul_rule"])
    assert last["flops_published_rule"] == pytest.approx(3 * first["flops_published_rule"])
    timing = read_jsonl(tmp_path / "timing.jsonl")
    assert [(r["split"], r["step"]) for r in timing] == [(r["split"], r["step"]) for r in records]
    timing = [r for r in timing if r["split"] == "train"]
    assert timing[0]["tokens_per_second"] > 0
    assert timing[0]["mfu"] is None


def test_the_loss_is_the_mean_over_the_global_batch():
    made, model = pretrainer(), TinyLM()
    rows = torch.from_numpy(CountingStream(8, 4).next())
    output = model(rows[:, :-1], seeds=sequence_seeds(0, 0, 8))
    expected = F.cross_entropy(output.logits.flatten(0, 1), rows[:, 1:].flatten())
    expected.backward()
    expected = expected.detach()
    norm = torch.stack([p.grad.square().sum() for p in model.parameters()]).sum().sqrt()
    loss, seen = made.step()
    assert loss == pytest.approx(float(expected), rel=1e-5)
    assert seen == pytest.approx(float(norm), rel=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {"micro_batch": 3},
        {"compile": True},
    ],
)
def test_how_a_step_is_computed_changes_nothing_but_rounding(changes, monkeypatch):
    # The graph is captured and differentiated as ever; no kernels are built, which takes long.
    quick = partialmethod(nn.Module.compile, backend="aot_eager")
    monkeypatch.setattr(nn.Module, "compile", quick)
    whole, other = pretrainer(), pretrainer(**changes)
    for _ in range(4):
        np.testing.assert_allclose(whole.step(), other.step(), rtol=1e-4)
    assert_same_tensors(whole, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", ["one-step", "adjoint"])
def test_a_compiled_map_has_the_gradients_of_the_eager_one(kind, monkeypatch):
    quick = partialmethod(nn.Module.compile, backend="aot_eager")
    monkeypatch.setattr(nn.Module, "compile", quick)
    steps = []
    for compiled in (False, True):
        made = pretrainer(model=tiny_attractor(kind), compile=compiled)
        steps.append([made.step() for _ in range(2)])
    np.testing.assert_allclose(*steps, rtol=1e-4)


def test_sequence_seeds_differ_by_row_step_and_seed():
    seeds = torch.cat([sequence_seeds(seed, step, 8) for seed in (0, 1) for step in (0, 1)])
    assert len(seeds.unique()) == 32
    assert seeds.min() >= 0


def test_statistics_are_means_and_percentiles_over_all_tokens_of_the_window():
    statistics = TokenStatistics()
    # The tail lies in the first step alone.
    values = [torch.arange(100.0, 200).reshape(4, 25), torch.arange(100.0).reshape(4, 25)]
    for value in values:
        statistics.add({"evaluations": value, "shift": value * 0 + 2})
    numbers = statistics.summary(ALONE)
    expected = float(np.quantile(np.arange(200), 0.95, method="higher"))
    executed = (199 + 99) / 2  # each micro-batch runs until its last token stops
    assert numbers == {
        "evaluations": 99.5,
        "evaluations_executed": executed,
        "shift": 2.0,
        "evaluations_p95": expected,
    }
    statistics = TokenStatistics()  # a window of its own
    assert statistics.summary(ALONE) == {}
    statistics.add({"evaluations": values[1]})
    assert statistics.summary(ALONE)["evaluations_p95"] == 95
    statistics.add({"residual": torch.tensor([[1.0, math.inf]])})
    assert statistics.summary(ALONE)["residual"] is None


@pytest.mark.parametrize("stop", [1, 3, 6, 11])
def test_an_interrupt_ends_after_the_step_in_hand_and_resumes_to_the_same_bytes(
    stop, tmp_path, capfd
):
    def made(name):
        settings = {"log_every": 4, "micro_batch": 3}
        return pretrainer(tmp_path / name, model=tiny_attractor("one-step"), **settings)

    def press(progress):
        if progress.step == stop:
            os.kill(os.getpid(), signal.SIGINT)

    for name in ("whole", "broken"):
        create_run(tmp_path / name, {})
    whole, first = made("whole"), made("broken")
    whole.train()
    first.listen = press
    assert first.train() is (stop + 1 < 12)
    assert first.done == stop + 1
    assert "saving after this step (Ctrl-C again: stop without)" in capfd.readouterr().err
    second = made("broken")
    second.resume()
    second.train()
    assert_same_tensors(whole, second, rtol=0, atol=0)
    texts = [(tmp_path / name / "metrics.jsonl").read_bytes() for name in ("whole", "broken")]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("size", [1, 2, 4])
def test_statistics_move_to_another_number_of_processes(size):
    values = torch.arange(48.0).reshape(2, 2, 12)
    states = []
    for value in values:  # of two processes
        statistics = TokenStatistics()
        statistics.add({"evaluations": value})
        states.append(statistics.state())
    moved = []
    for rank in range(size):
        statistics = TokenStatistics()
        statistics.restore(states, World(rank, size, torch.device("cpu")))
        moved.append(statistics.state())
    for name, total in (("evaluations", 24 * 47), ("evaluations_executed", 23 + 47)):
        assert sum(float(state["sums"][name]) for state in moved) == total
    assert {state["counts"]["evaluations"] for state in moved} == {48 / size}
    tails = torch.cat([state["tails"]["evaluations"] for state in moved])
    assert sorted(tails.tolist()) == list(range(48))


def test_the_weights_alone_are_read_back_and_two_checkpoints_kept(tmp_path):
    made = run_in(tmp_path)
    assert [p.name for p in list_checkpoints(tmp_path)] == ["step-00000008", "step-00000012"]
    model = TinyLM(seed=1)
    assert load_language_weights(tmp_path, model, ALONE) == 12
    for a, b in zip(model.parameters(), made.model.parameters(), strict=True):
        assert torch.equal(a, b)


# What is not finite


class Poisoned(TinyLM):
    """Its gradient (or, with `loss`, its loss) is not finite at these training passes."""

    def __init__(self, steps, loss=False):
        super().__init__()
        self.steps, self.loss, self.passes = steps, loss, 0

    def forward(self, tokens, budget=None, seeds=None, cache=None):
        output = super().forward(tokens, budget or SolveBudget(), seeds)
        if seeds is None:
            return output
        self.passes += 1
        if self.passes not in self.steps:
            return output
        logits = output.logits
        if self.loss:
            return LMOutput(logits * float("nan"), output.diagnostics)
        logits.register_hook(lambda g: g * float("inf"))
        return LMOutput(logits * 1, output.diagnostics)


@pytest.mark.parametrize("loss", [True, False])
def test_an_update_that_is_not_finite_is_skipped_and_counted(loss, tmp_path):
    made = pretrainer(tmp_path, model=Poisoned({3}, loss))
    made.step(), made.step()
    before = {name: value.clone() for name, value in made._tensors().items()}
    made.step()
    after = made._tensors()
    assert all(torch.equal(after[name], before[name]) for name in before)
    made.step()
    assert not torch.equal(made._tensors()["model.head.weight"], before["model.head.weight"])
    assert (made.done, made.skipped, made.skipped_in_a_row) == (4, 1, 0)


def test_too_many_in_a_row_stop_the_run_and_keep_its_checkpoint(tmp_path):
    create_run(tmp_path, {})
    made = pretrainer(tmp_path, model=Poisoned({2, *range(6, 12)}, loss=True), max_skipped=3)
    said = r"step 8.*3 updates in a row.*lr.*the checkpoint of step 4 is intact"
    with pytest.raises(TrainingError, match=said):
        made.train()
    assert [p.name for p in list_checkpoints(tmp_path)] == ["step-00000004"]
    records = [r for r in read_jsonl(tmp_path / "metrics.jsonl") if r["split"] == "train"]
    assert [r["skipped"] for r in records] == [1, 1, 2]
    assert all(math.isfinite(r["loss"]) for r in records)
    resumed = pretrainer(tmp_path)
    resumed.resume()
    assert resumed.skipped == 1
    assert resumed.train() is False


@pytest.mark.parametrize(
    "name", ["model.head.weight", "optimizer.block.mlp.weight.momentum", "model.embedding.weight"]
)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_no_checkpoint(name, value, tmp_path):
    create_run(tmp_path, {})
    made = pretrainer(tmp_path)
    made.step()
    made.save()
    made.step()
    made._tensors()[name].view(-1)[3] = value
    said = rf"step 2: {name} is no longer finite.*lr.*checkpoint of step 1 is intact"
    with pytest.raises(TrainingError, match=said):
        made.save()
    assert [p.name for p in list_checkpoints(tmp_path)] == ["step-00000001"]


def test_a_mask_of_minus_infinity_is_saved_and_resumed(tmp_path):
    def masked() -> TinyLM:
        model = TinyLM()
        model.register_buffer("mask", torch.tensor([-torch.inf, 0.0]))
        model.register_buffer("scale", torch.ones(1).expand(3))  # one number, three places
        return model

    create_run(tmp_path, {})
    made = pretrainer(tmp_path, model=masked())
    made.step()
    made.save()
    again = pretrainer(tmp_path, model=masked())
    again.model.mask.zero_()
    again.resume()
    assert again.model.mask[0] == -torch.inf
    assert load_language_weights(tmp_path, masked(), made.world) == 1


def test_weights_that_an_update_made_nan_are_neither_validated_nor_written(tmp_path):
    create_run(tmp_path, {})
    made = pretrainer(tmp_path, checkpoint_every=2)
    made.optimizer.optimizers[0].register_step_post_hook(
        lambda *_: made.model.head.weight.data.fill_(math.nan) if made.done == 5 else None
    )
    with pytest.raises(TrainingError, match=r"step 6: model.head.*of step 4 is intact"):
        made.train()
    assert [p.name for p in list_checkpoints(tmp_path)] == ["step-00000002", "step-00000004"]
    assert not [r for r in read_jsonl(tmp_path / "metrics.jsonl") if r["split"] == "validation"]


def test_a_run_that_stops_before_its_first_checkpoint_claims_none(tmp_path):
    create_run(tmp_path, {})
    made = pretrainer(tmp_path, model=Poisoned({1, 2}, loss=True), max_skipped=2)
    with pytest.raises(TrainingError, match=r"step 2.*no checkpoint was written$"):
        made.train()


# Damage


def test_a_checkpoint_of_a_run_that_had_diverged_is_refused(tmp_path):
    made = run_in(tmp_path)
    made._tensors()["model.head.weight"][0, 0] = math.nan
    save_pretraining(tmp_path, 13, made._tensors(), {}, ALONE)
    for read in (
        pretrainer(tmp_path).resume,
        lambda: load_language_weights(tmp_path, TinyLM(), ALONE),
    ):
        with pytest.raises(CheckpointError, match=r"step-00000013: model.head.*delete"):
            read()


def test_a_checkpoint_cut_in_half_is_refused_with_its_name(tmp_path):
    run_in(tmp_path)
    shard = next(list_checkpoints(tmp_path)[-1].glob("*.distcp"))
    shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])
    with pytest.raises(CheckpointError, match=r"distcp.*delete"):
        pretrainer(tmp_path).resume()


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    run_in(tmp_path)
    other = TinyLM()
    other.head = nn.Linear(16, 5, bias=False)
    with pytest.raises(CheckpointError, match="does not fit this model"):
        load_language_weights(tmp_path, other, ALONE)
    other.more = nn.Linear(2, 2)
    other.head = TinyLM().head
    with pytest.raises(CheckpointError, match=r"does not fit this model.*more"):
        load_language_weights(tmp_path, other, ALONE)


def test_a_run_with_a_second_moment_per_row_is_read_but_not_resumed(tmp_path, monkeypatch):
    def wide_lm():
        model = TinyLM()
        model.block.mlp = nn.Sequential(
            nn.Linear(16, 24, bias=False), nn.Linear(24, 16, bias=False)
        )
        return model

    with monkeypatch.context() as earlier:
        name = "reasoning.pretraining.optimizer.second_moment_shape"
        earlier.setattr(name, lambda rows, columns: (rows, 1))
        run_in(tmp_path, model=wide_lm())
    with pytest.raises(CheckpointError, match=r"step-00000012.*wide matrices per row.*anew"):
        pretrainer(tmp_path, model=wide_lm()).resume()
    assert load_language_weights(tmp_path, wide_lm(), ALONE) == 12


def test_a_full_disk_loses_nothing_written_before(tmp_path, monkeypatch):
    made = run_in(tmp_path)
    before = list_checkpoints(tmp_path)

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("torch.distributed.checkpoint.filesystem._write_item", full)
    made.done += 1
    with pytest.raises(CheckpointError, match="No space left"):
        made.save()
    assert list_checkpoints(tmp_path) == before
    assert not list((tmp_path / "checkpoints").glob(".partial*"))


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": 0},
        {"micro_batch": 9},
        {"lanes": 3},
        {"checkpoint_every": 5},
        {"jacobian_every": 3},
        {"jacobian_every": 2, "parallel": "sharded"},
        {"contexts": 4},
    ],
)
def test_settings_that_make_no_sense_are_refused(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        config(**changes)


# Validation


def test_validation_is_the_mean_over_tokens_and_bytes(tmp_path):
    model = TinyLM()
    model.train()
    settings = ValidationConfig(batch_tokens=3 * CONTEXT, evaluations=(None, 0, 1))
    records = validate(model, ROWS, BYTES, settings, ALONE)
    assert model.training
    assert [r["max_evaluations"] for r in records] == [None, 0, 1]
    for record, most in zip(records, (2, 0, 1), strict=True):
        tokens = torch.from_numpy(ROWS.tokens)
        with torch.no_grad():
            logits = model(tokens[:, :-1], SolveBudget(most)).logits.double()
        nll = -logits.log_softmax(-1).gather(-1, tokens[:, 1:, None])[..., 0].numpy()
        assert record["tokens"] == TEXT.sum()
        assert record["loss"] == pytest.approx(nll[TEXT].mean(), rel=1e-5)
        assert record["loss_with_bos"] == pytest.approx(nll.mean(), rel=1e-5)
        assert record["perplexity"] == pytest.approx(np.exp(nll[TEXT].mean()), rel=1e-5)
        bits = nll[TEXT].sum() / math.log(2)
        assert record["bits_per_byte"] == pytest.approx(
            bits / BYTES[ROWS.tokens[:, 1:]].sum(), rel=1e-5
        )
        assert record["evaluations"] == most
    assert records[1]["residual"] is None
    with pytest.raises(ValueError, match=r"8 validation rows .* 3 processes"):
        validate(model, ROWS, BYTES, settings, World(0, 3, torch.device("cpu")))
