"""The pretraining loop on a stand-in model: resuming, accumulation, processes, damage."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partialmethod
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))
from language_standins import CONTEXT, VOCABULARY, CountingStream, TinyLM

from baselines.parcae import Parcae, ParcaeConfig
from reasoning.attractor_lm import AttractorLM, AttractorLMConfig
from reasoning.pretraining.checkpoints import load_language_weights
from reasoning.pretraining.config import MuonAdamWConfig, PretrainingConfig, ValidationConfig
from reasoning.pretraining.flops import Passes
from reasoning.pretraining.loop import Pretrainer, sequence_seeds
from reasoning.pretraining.protocol import LMOutput, SolveBudget
from reasoning.pretraining.telemetry import TokenStatistics
from reasoning.pretraining.validation import validate
from reasoning.solver_config import GradientConfig, SolverConfig
from reasoning.training.checkpoints import CheckpointError, list_checkpoints
from reasoning.training.distribution import World, join_world
from reasoning.training.loop import TrainingError
from reasoning.training.runs import create_run, read_jsonl

ALONE = World(0, 1, torch.device("cpu"))
ROWS = np.random.default_rng(0).integers(0, VOCABULARY, (8, CONTEXT + 1))
BYTES = np.arange(VOCABULARY)  # token 0, as BOS, has none
TEXT = ROWS[:, 1:] > 0


def config(**changes) -> PretrainingConfig:
    base = {
        "steps": 12,
        "context": CONTEXT,
        "batch": 8,
        "lanes": 4,
        "log_every": 2,
        "checkpoint_every": 4,
        "device": "cpu",
        "optimizer": MuonAdamWConfig(momentum_ramp=6),
        "validation": ValidationConfig(every=6, batch_tokens=3 * CONTEXT, evaluations=(None, 0)),
    }
    return PretrainingConfig(**base | changes)


def pretrainer(folder=None, world=ALONE, model=None, **changes) -> Pretrainer:
    settings = config(**changes)
    stream = CountingStream(settings.batch, settings.lanes, world.rank, world.size)

    def measure(trained):
        return validate(trained, ROWS, BYTES, settings.validation, world)

    made = model or TinyLM()
    return Pretrainer(made, stream, settings, world, Passes(2, 2), Passes(0, 2), folder, measure)


def run_in(folder: Path, **changes) -> Pretrainer:
    create_run(folder, {})
    made = pretrainer(folder, **changes)
    assert made.train() is False
    return made


def assert_same_tensors(a: Pretrainer, b: Pretrainer, **tolerance):
    ours, theirs = a._tensors(), b._tensors()
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], msg=name, **tolerance)


# One process


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
    assert norms == [None, pytest.approx(3, rel=1e-3), None]
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


def test_sequence_seeds_differ_by_row_step_and_seed():
    seeds = torch.cat([sequence_seeds(seed, step, 8) for seed in (0, 1) for step in (0, 1)])
    assert len(seeds.unique()) == 32
    assert seeds.min() >= 0


def test_statistics_are_means_over_all_tokens_and_the_last_steps_percentile():
    statistics = TokenStatistics()
    values = [torch.arange(100.0).reshape(4, 25), torch.arange(100.0, 200).reshape(4, 25)]
    for value in values:
        statistics.start_step()
        statistics.add({"evaluations": value, "shift": value * 0 + 2})
    numbers = statistics.summary(ALONE)
    assert numbers == {"evaluations": 99.5, "shift": 2.0, "evaluations_p95": 195.0}
    statistics.add({"residual": torch.tensor([[1.0, math.inf]])})
    assert statistics.summary(ALONE)["residual"] is None


# Resuming


def test_a_run_killed_and_resumed_equals_an_unbroken_one_bit_for_bit(tmp_path):
    whole = run_in(tmp_path / "whole", steps=40)
    killed = tmp_path / "killed"
    process = start_process("slow", killed)
    try:
        deadline = time.monotonic() + 60
        while not list_checkpoints(killed):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.02)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    resumed = pretrainer(killed, steps=40)
    resumed.resume()
    assert 0 < resumed.done < 40
    assert resumed.train() is False
    assert_same_tensors(whole, resumed, rtol=0, atol=0)
    texts = [(run / "metrics.jsonl").read_bytes() for run in (tmp_path / "whole", killed)]
    assert texts[0] == texts[1]
    steps = [r["step"] for r in read_jsonl(killed / "timing.jsonl") if r["split"] == "train"]
    assert steps == list(range(2, 42, 2))


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
    with pytest.raises(TrainingError, match=r"step 8.*3 updates in a row.*lr"):
        made.train()
    assert [p.name for p in list_checkpoints(tmp_path)] == ["step-00000004"]
    records = [r for r in read_jsonl(tmp_path / "metrics.jsonl") if r["split"] == "train"]
    assert [r["skipped"] for r in records] == [1, 1, 2]
    assert all(math.isfinite(r["loss"]) for r in records)
    resumed = pretrainer(tmp_path)
    resumed.resume()
    assert resumed.skipped == 1
    assert resumed.train() is False


# Damage


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
        tokens = torch.from_numpy(ROWS)
        with torch.no_grad():
            logits = model(tokens[:, :-1], SolveBudget(most)).logits.double()
        nll = -logits.log_softmax(-1).gather(-1, tokens[:, 1:, None])[..., 0].numpy()
        assert record["tokens"] == TEXT.sum()
        assert record["loss"] == pytest.approx(nll[TEXT].mean(), rel=1e-5)
        assert record["loss_with_bos"] == pytest.approx(nll.mean(), rel=1e-5)
        assert record["perplexity"] == pytest.approx(np.exp(nll[TEXT].mean()), rel=1e-5)
        bits = nll[TEXT].sum() / math.log(2)
        assert record["bits_per_byte"] == pytest.approx(bits / BYTES[ROWS[:, 1:]].sum(), rel=1e-5)
        assert record["evaluations"] == most
    assert records[1]["residual"] is None
    with pytest.raises(ValueError, match=r"8 validation rows .* 3 processes"):
        validate(model, ROWS, BYTES, settings, World(0, 3, torch.device("cpu")))


# Two processes


def start_process(task: str, folder: Path, rank: int = 0, world: int = 1) -> subprocess.Popen:
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world),
    }
    return subprocess.Popen([sys.executable, __file__, task, str(folder)], env=environment)


def in_two_processes(task: str, folder: Path) -> dict:
    processes = [start_process(task, folder, rank, 2) for rank in range(2)]
    try:
        assert [process.wait(timeout=120) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    return json.loads((folder / "said.json").read_text())


PARALLEL = ("replicated", "sharded")


def solving_models() -> dict[str, nn.Module]:
    """Models that call their blocks many times, under every kind of backward pass."""
    size = {"width": 16, "head_width": 8, "context": CONTEXT}
    solver = SolverConfig(tolerance=1e-2, max_evaluations=12)
    made = {}
    for kind in ("one-step", "adjoint", "phantom"):
        torch.manual_seed(0)
        config = AttractorLMConfig(
            **size, backbone_layers=1, solver=solver, gradient=GradientConfig(kind=kind)
        )
        made[kind] = AttractorLM(config, VOCABULARY)
    config = ParcaeConfig(**size, prelude_layers=1, core_layers=1, coda_layers=1, steps=3)
    torch.manual_seed(0)
    return made | {"parcae": Parcae(config, VOCABULARY)}


def test_two_processes_train_as_one_and_resume_across_world_sizes(tmp_path):
    alone = pretrainer(tmp_path / PARALLEL[0])
    first = [alone.step() for _ in range(4)]
    alone.save()  # by one process, for two to go on from
    shutil.copytree(tmp_path / PARALLEL[0], tmp_path / PARALLEL[1])
    second = [alone.step() for _ in range(4)]
    validated = validate(alone.model, ROWS, BYTES, alone.config.validation, ALONE)
    together = in_two_processes("two", tmp_path)
    for name, model in solving_models().items():
        made = pretrainer(model=model)
        np.testing.assert_allclose(together.pop(name), [made.step() for _ in range(3)], rtol=1e-3)
    for parallel, said in together.items():
        np.testing.assert_allclose(said["fresh"], first, rtol=1e-4)
        np.testing.assert_allclose(said["resumed"], second, rtol=1e-4)
        for ours, theirs in zip(validated, said["validation"], strict=True):
            assert ours["tokens"] == theirs["tokens"] == TEXT.sum()
            assert theirs["loss"] == pytest.approx(ours["loss"], rel=1e-4)
        assert said["statistics"]["evaluations_p95"] == 2
        # and one process goes on from what two wrote
        resumed = pretrainer(tmp_path / parallel)
        resumed.resume()
        assert resumed.done == 8
        assert resumed.source.state() == alone.source.state()
        assert_same_tensors(alone, resumed, rtol=1e-3, atol=1e-5)


def process(task: str, folder: Path) -> None:
    torch.set_num_threads(1)
    if task == "slow":
        create_run(folder, {})
        made = pretrainer(folder, steps=40)
        made.listen = lambda progress: time.sleep(0.05)
        made.train()
        return
    rank = int(os.environ["RANK"])
    store = f"file://{folder}/store"
    torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    world = join_world("cpu")
    said = {parallel: as_one_of_two(folder / parallel, world, parallel) for parallel in PARALLEL}
    for name, model in solving_models().items():
        made = pretrainer(None, world, model, parallel="sharded")
        said[name] = [made.step() for _ in range(3)]
    if world.is_main:
        (folder / "said.json").write_text(json.dumps(said))
    torch.distributed.destroy_process_group()


def as_one_of_two(folder: Path, world: World, parallel: str) -> dict:
    """Four steps from the start; four more from the checkpoint in the folder, which is replaced."""
    fresh = pretrainer(folder, world, parallel=parallel)
    said = {"fresh": [fresh.step() for _ in range(4)]}
    made = pretrainer(folder, world, TinyLM(seed=5), parallel=parallel)
    made.resume()
    said["resumed"] = [made.step() for _ in range(4)]
    if parallel == "sharded":
        momentum = made.optimizer.state_tensors()["block.qkv.weight.momentum"]
        assert momentum.to_local().numel() == momentum.numel() // 2
    said["statistics"] = made.statistics.summary(world)
    said["validation"] = validate(made.model, ROWS, BYTES, made.config.validation, world)
    made.save()
    return said


if __name__ == "__main__":
    process(sys.argv[1], Path(sys.argv[2]))
