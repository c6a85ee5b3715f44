"""The training loop: who is given to which optimiser, resuming, micro-batches and processes."""

import json
import math
import os
import shutil
import signal
import socket
import sys
import time
from functools import partial, partialmethod
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))
from training_standins import (
    ALONE,
    PUZZLES,
    assert_same_weights,
    config,
    run_in,
    trainer,
)

from baselines.trm import TRM, TRMConfig
from reasoning.attractor import Attractor, AttractorConfig
from reasoning.errors import InputError
from reasoning.training.config import EMAConfig, OptimizerConfig
from reasoning.training.distribution import World, join_world
from reasoning.training.ema import EMA
from reasoning.training.evaluation import predict
from reasoning.training.interrupts import interrupts
from reasoning.training.loop import Trainer
from reasoning.training.memory import peak_bytes, restart_peak
from reasoning.training.optimizers import Optimizers
from reasoning.training.pending import share_pending
from reasoning.training.runs import JsonLines, RunError, create_run, read_jsonl

# Optimisers


def test_the_loop_decays_every_puzzle_it_holds_and_no_other():
    made = trainer(optimizer=OptimizerConfig(embedding_lr=0.1, warmup=0))
    puzzles = made.model.embedding.puzzles.weight
    nn.init.ones_(puzzles)
    puzzles.register_hook(torch.zeros_like)
    made.advance()
    held = made.carry.puzzle.puzzle_ids.unique()
    assert 0 < len(held) < PUZZLES
    expected = torch.ones(PUZZLES, 1)
    expected[held] = 0.9  # 1 - lr wd, as published
    torch.testing.assert_close(puzzles.detach(), expected.expand_as(puzzles))


def test_muon_gets_the_matrices_of_the_net_and_nothing_else():
    model = trainer().model
    optimizers = Optimizers(model, OptimizerConfig(name="muon"))
    held = [{id(p) for g in o.param_groups for p in g["params"]} for o in optimizers._all]
    names = {id(p): name for name, p in model.named_parameters()}
    muon, adamw, sign = ({names[i] for i in ids} for ids in held)
    assert muon == {n for n in names.values() if n.startswith("net.")}
    assert sign == {"embedding.puzzles.weight"}
    assert muon | adamw | sign == set(names.values())


def test_what_one_optimiser_has_whole_another_does_not_ask_for():
    """A net of matrices alone has nothing for AdamW; one without any has nothing for Muon."""

    class Model(nn.Module):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def nets(self):
            return [self.net]

    made = Optimizers(Model(nn.Linear(3, 3, bias=False)), OptimizerConfig(name="muon"))
    assert made.kernels == ["torch.optim.Muon"]
    with pytest.raises(InputError, match="no matrix to train"):
        Optimizers(Model(nn.RMSNorm(3)), OptimizerConfig(name="muon"))


def test_ema_is_the_weighted_mean_of_the_history():
    model = nn.Linear(1, 1, bias=False)
    history = [2.0, 3.0, 5.0]
    nn.init.constant_(model.weight, history[0])
    ema = EMA(model, EMAConfig(decay=0.75))
    for step, value in enumerate(history[1:]):
        nn.init.constant_(model.weight, value)
        ema.update(model, step)
    assert ema.model.weight.item() == pytest.approx(0.75 * (0.75 * 2 + 0.25 * 3) + 0.25 * 5)


def test_buffers_of_the_average_are_the_newest():
    model = nn.BatchNorm1d(2)
    ema = EMA(model, EMAConfig(decay=0.9))
    for step in range(3):
        model(torch.randn(8, 2) + 5)
        ema.update(model, step)
        assert ema.model.num_batches_tracked == step + 1
        assert torch.equal(ema.model.running_mean, model.running_mean)
    assert model.running_mean.min() > 1


def test_buffers_that_are_caches_may_come_and_change():
    model = nn.Linear(2, 2)
    model.register_buffer("spread", torch.zeros(1, 2).expand(3, 2))
    ema = EMA(model, EMAConfig(decay=0.9))
    model.register_buffer("late", torch.zeros(4), persistent=False)
    model.spread = torch.ones(1, 2).expand(3, 2)
    ema.update(model, 0)
    assert torch.equal(ema.model.spread, torch.ones(3, 2))
    model.spread = torch.ones(5, 2)
    ema.update(model, 1)
    assert ema.model.spread.shape == (3, 2)


def test_the_puzzle_embedding_is_not_averaged():
    made = trainer()
    for _ in range(4):
        made.step()
    for (name, average), p in zip(
        made.ema.model.named_parameters(), made.model.parameters(), strict=True
    ):
        same = torch.equal(average, p)
        assert same == name.startswith("embedding.puzzles"), name
    assert made.model.embedding.puzzles.weight.abs().max() > 0


# Precision and compilation


def test_bf16_keeps_states_in_bf16_and_parameters_and_losses_in_fp32():
    made = trainer(kind=Attractor, settings=AttractorConfig, precision="bf16")
    sums = made.step()
    assert {part.dtype for part in made.carry.state} == {torch.bfloat16}
    assert {p.dtype for p in made.model.parameters()} == {torch.float32}
    assert sums["loss"].dtype == torch.float32
    wide = trainer(kind=Attractor, settings=AttractorConfig).step()
    assert sums["loss"].item() == pytest.approx(wide["loss"].item(), rel=0.02)


@pytest.mark.skipif(shutil.which("g++") is None, reason="the CPU compiler needs g++")
def test_a_compiled_net_trains_as_the_eager_one():
    eager = trainer(kind=Attractor, settings=AttractorConfig)
    compiled = trainer(kind=Attractor, settings=AttractorConfig, compile=True)
    assert list(eager.model.state_dict()) == list(compiled.model.state_dict())
    for _ in range(3):
        torch.testing.assert_close(compiled.step()["loss"], eager.step()["loss"])
    assert_same_weights(eager.model, compiled.model, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "gradient", ["one-step", "neumann", "phantom", "reversible", "adjoint", "unrolled"]
)
def test_a_compiled_net_has_every_gradient_of_the_eager_one(gradient, monkeypatch):
    # Captured and differentiated as ever; no kernels are built, which takes long.
    quick = partialmethod(nn.Module.compile, backend="aot_eager")
    monkeypatch.setattr(nn.Module, "compile", quick)
    settings = partial(AttractorConfig, gradient={"kind": gradient, "damping": 0.5})
    norms = [
        trainer(kind=Attractor, settings=settings, compile=compiled).step()["grad_norm"]
        for compiled in (False, True)
    ]
    # Untrained, the map is no contraction: an adjoint solve amplifies rounding.
    torch.testing.assert_close(*norms, rtol=1e-3, atol=0)


# Resuming and accumulation


def test_a_resumed_run_equals_an_unbroken_one_bit_for_bit(tmp_path):
    whole = run_in(tmp_path / "whole")
    create_run(tmp_path / "broken", {})
    first = trainer(tmp_path / "broken")
    for _ in range(8):
        first.step()
    first.save()
    # What a killed run leaves behind: lines past its checkpoint, the last one cut short.
    lines = (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line)["step"] <= 8]
    (tmp_path / "broken" / "metrics.jsonl").write_text("".join(kept) + lines[len(kept)] + '{"st')
    second = trainer(tmp_path / "broken")
    second.resume()
    second.net_calls = json.loads(kept[-1])["total_net_calls"]  # step() alone does not log
    second.train()
    assert_same_weights(whole.model, second.model, rtol=0, atol=0)
    assert_same_weights(whole.ema.model, second.ema.model, rtol=0, atol=0)
    texts = [(tmp_path / name / "metrics.jsonl").read_bytes() for name in ("whole", "broken")]
    assert texts[0] == texts[1]
    assert len(read_jsonl(tmp_path / "whole" / "metrics.jsonl")) == 6


@pytest.mark.parametrize("stop", [1, 3, 6, 11])
def test_an_interrupt_ends_after_the_step_in_hand_and_resumes_to_the_same_bytes(
    stop, tmp_path, capfd
):
    every = {"log_every": 4, "evaluate_every": 8}
    whole = run_in(tmp_path / "whole", **every)

    def press(progress):
        if progress.step == stop:
            os.kill(os.getpid(), signal.SIGINT)

    create_run(tmp_path / "broken", {})
    first = trainer(tmp_path / "broken", **every)
    first.listen = press
    outcome = first.train()
    assert (outcome.step, outcome.interrupted) == ((stop + 1), stop + 1 < 12)
    assert "saving after this step (Ctrl-C again: stop without)" in capfd.readouterr().err
    second = trainer(tmp_path / "broken", **every)
    second.resume()
    second.train()
    assert_same_weights(whole.ema.model, second.ema.model, rtol=0, atol=0)
    texts = [(tmp_path / name / "metrics.jsonl").read_bytes() for name in ("whole", "broken")]
    assert texts[0] == texts[1]
    costs = [read_jsonl(tmp_path / name / "timing.jsonl") for name in ("whole", "broken")]
    flops = [[line.get("flops") for line in each] for each in costs]
    assert flops[0] == flops[1]


def test_a_second_interrupt_acts_at_once():
    # What acts is the handler that was there; started in the background, there is none.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def pressed_twice():
        with interrupts(quiet=True) as received:
            os.kill(os.getpid(), signal.SIGINT)
            assert received == [signal.SIGINT]
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)  # not reached: the signal is taken between two instructions

    try:
        with pytest.raises(KeyboardInterrupt):
            pressed_twice()
    finally:
        signal.signal(signal.SIGINT, before)


def test_pending_sums_move_to_another_number_of_processes():
    def sums(share):
        values = {"slots": 4.0, "loss": share, "grad_norm": 2.0, "saved_bytes": 10 * share}
        return {name: torch.tensor(value) for name, value in values.items()}

    parts = [[sums(1.0), sums(2.0)], [sums(3.0), sums(4.0)]]
    alone = share_pending(parts, ALONE)
    assert [float(s["slots"]) for s in alone] == [8, 8]
    assert [float(s["loss"]) for s in alone] == [4, 6]
    assert [float(s["grad_norm"]) for s in alone] == [2, 2]
    assert [float(s["saved_bytes"]) for s in alone] == [30, 40]
    three = [share_pending(parts, World(rank, 3, ALONE.device)) for rank in range(3)]
    assert [sum(float(part[i]["loss"]) for part in three) for i in range(2)] == [4, 6]
    assert share_pending(parts, World(1, 2, ALONE.device)) == parts[1]


@pytest.mark.parametrize(("kind", "settings"), [(TRM, TRMConfig), (Attractor, AttractorConfig)])
def test_micro_batches_change_nothing_but_rounding(kind, settings):
    whole = trainer(kind=kind, settings=settings)
    parts = trainer(kind=kind, settings=settings, micro_batch=3)
    for _ in range(5):
        a, b = whole.step(), parts.step()
        torch.testing.assert_close(a["loss"], b["loss"])
    assert_same_weights(whole.model, parts.model, rtol=1e-4, atol=1e-5)


def test_a_folder_that_holds_a_run_is_not_overwritten(tmp_path):
    create_run(tmp_path, {})
    with pytest.raises(RunError, match="--resume"):
        create_run(tmp_path, {})


def test_json_lines_opened_anew_start_empty(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"step": 1}\n')
    JsonLines(path, None).close()
    assert path.read_text() == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": 0},
        {"batch": 0},
        {"micro_batch": 9},
        {"log_every": 3},
        {"stepz": 1},
        {"optimizer": {"lr": math.nan}},
        {"ema": {"decay": 1.0}},
    ],
)
def test_settings_that_make_no_sense_are_refused(changes):
    with pytest.raises(ValueError, match=next(iter(changes)).split("_")[0]):
        config(**changes)


# Evaluation


def test_predictions_cover_every_row_once_and_leave_the_mode_as_it_was():
    made = trainer()
    made.model.train()
    inputs = np.random.default_rng(0).integers(1, 5, (11, 4)).astype(np.uint8)
    ids = np.zeros(11, np.int32)
    whole = predict(made.model, inputs, ids, segments=3, batch=11, world=ALONE)
    parts = predict(made.model, inputs, ids, segments=3, batch=4, world=ALONE)
    assert whole.tokens.shape == (3, 11, 4)
    np.testing.assert_array_equal(whole.tokens, parts.tokens)
    assert whole.net_calls.tolist() == [18] * 11
    assert made.model.training
    for rows, asked in ((0, {}), (11, {"segments": 0}), (11, {"batch": 0})):
        given = {"segments": 3, "batch": 4, "world": ALONE} | asked
        with pytest.raises(InputError, match="must be at least 1"):
            predict(made.model, inputs[:rows], ids[:rows], **given)


# Memory


def test_the_peak_is_of_a_trainings_own_steps(tmp_path, monkeypatch):
    """Of a device that keeps a peak: not of an earlier training, nor of an evaluation."""
    device = {"peak": 10**9}
    monkeypatch.setattr("reasoning.training.loop.restart_peak", lambda _: device.update(peak=0))
    monkeypatch.setattr("reasoning.training.loop.peak_bytes", lambda _: device["peak"])
    advance = Trainer.advance

    def allocate(made: Trainer):
        device["peak"] = max(device["peak"], 1000 * made.config.batch)
        return advance(made)

    def evaluate(model: nn.Module):
        device["peak"] = 10**8
        return {}

    monkeypatch.setattr(Trainer, "advance", allocate)
    settings = {"steps": 6, "log_every": 2, "evaluate_every": 2, "checkpoint_every": 6}
    for batch in (8, 4):
        made = trainer(tmp_path / str(batch), batch=batch, **settings)
        made.evaluate = evaluate
        (tmp_path / str(batch)).mkdir()
        made.train()
        timing = read_jsonl(tmp_path / str(batch) / "timing.jsonl")
        peaks = [r["peak_bytes"] for r in timing if r["split"] == "train"]
        assert peaks == [1000 * batch] * 3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that keeps a peak")
def test_a_gpus_peak_is_restarted():
    device = torch.device("cuda")
    large = torch.zeros(2**26, device=device)
    del large
    assert peak_bytes(device) >= 2**28
    restart_peak(device)
    assert peak_bytes(device) < 2**28


# Several processes

TWELVE = {"batch": 12}


def _process(rank: int, size: int, port: int, folder: str) -> None:
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    torch.set_num_threads(1)
    world = join_world("cpu")
    made = trainer(Path(folder), world, **TWELVE)
    sums = [made.step() for _ in range(6)]
    losses = [float(world.sum(s["loss"].clone())) for s in sums]
    metered = sums[0] | {"saved_bytes": torch.tensor(100.0 * (rank + 1))}
    assert made._cost([metered], 1.0)["saved_bytes"] == 100 * size
    assert world.first(rank + 0.5) == 0.5
    mine, spread = torch.full((2,), rank + 5.0), torch.full((1,), rank + 5.0).expand(3)
    world.share([mine, spread])
    assert mine.tolist() == [5.0, 5.0]
    assert spread.tolist() == [rank + 5.0] * 3
    whose = world.gather_rows(torch.tensor([rank == 0, True]))
    assert whose.dtype == torch.bool
    assert whose.tolist() == [True, True, *[False, True] * (size - 1)]
    made.save()
    rows = np.random.default_rng(0).integers(1, 5, (7, 4)).astype(np.uint8)
    said = predict(made.model, rows, np.zeros(7, np.int32), 2, 3, world)
    assert said.finite.dtype == bool
    assert said.finite.all()
    if world.is_main:
        torch.save({"losses": losses, "tokens": said.tokens.tolist()}, Path(folder) / "said.pt")
    torch.distributed.destroy_process_group()
    if sys.platform == "linux":  # a thread of gloo that outlives its group can abort Python's end
        names = [task.read_text() for task in Path("/proc/self/task").glob("*/comm")]
        assert not [name for name in names if "gloo" in name]


@pytest.mark.parametrize("size", [2, 3])
def test_processes_train_as_one_and_their_checkpoint_resumes_in_one(size, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.spawn(_process, args=(size, port, str(tmp_path)), nprocs=size)
    said = torch.load(tmp_path / "said.pt")
    alone = trainer(**TWELVE)
    losses = [float(alone.step()["loss"]) for _ in range(6)]
    np.testing.assert_allclose(said["losses"], losses, rtol=1e-5)
    rows = np.random.default_rng(0).integers(1, 5, (7, 4)).astype(np.uint8)
    expected = predict(alone.model, rows, np.zeros(7, np.int32), 2, 7, ALONE).tokens
    np.testing.assert_array_equal(said["tokens"], expected)
    # The carry of every process was saved whole: one process goes on from it.
    resumed = trainer(tmp_path, **TWELVE)
    resumed.resume()
    # Every puzzle that was met has moved, alike: its gradients are of the slots of all processes.
    puzzles = resumed.model.embedding.puzzles.weight
    assert (puzzles != 0).any(-1).tolist() == [False, True, True, True, True]
    torch.testing.assert_close(puzzles, alone.model.embedding.puzzles.weight)
    torch.testing.assert_close(resumed.carry.state, alone.carry.state, rtol=1e-3, atol=1e-4)
    assert float(resumed.step()["loss"]) == pytest.approx(float(alone.step()["loss"]), rel=1e-5)


def test_a_batch_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="does not divide"):
        World(0, 3, torch.device("cpu")).rows(8)


def test_without_clipping_a_norm_that_overflows_harms_no_gradient():
    made = trainer(optimizer=OptimizerConfig(clip=None))
    for p in made.model.parameters():
        p.register_hook(lambda grad: grad * 1e30)
    assert made.advance()["grad_norm"].isinf()
    assert all(p.grad.isfinite().all() for p in made.model.parameters())
    assert all(p.isfinite().all() for p in made.model.parameters())
