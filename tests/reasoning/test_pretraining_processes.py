"""Pretraining in processes of its own: killed and resumed, two as one, across world sizes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))
from language_standins import (
    ALONE,
    BYTES,
    CONTEXT,
    ROWS,
    TEXT,
    VOCABULARY,
    TinyLM,
    assert_same_tensors,
    pretrainer,
    run_in,
    tiny_attractor,
)

from baselines.parcae import Parcae, ParcaeConfig
from reasoning.pretraining.validation import validate
from reasoning.training.checkpoints import list_checkpoints
from reasoning.training.distribution import World, join_world, leave_world
from reasoning.training.runs import create_run, read_jsonl


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
    made = {kind: tiny_attractor(kind) for kind in ("one-step", "adjoint", "phantom")}
    size = {"width": 16, "head_width": 8, "context": CONTEXT}
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
    leave_world()


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
