"""Checkpoints of a training run: never of what is not finite, damage told, older ones opened."""

import shutil
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))
from training_standins import (
    SIZE,
    run_in,
    trainer,
)

from baselines.trm import TRM, TRMConfig
from reasoning.nn.grid import GridShape
from reasoning.training.checkpoints import (
    CheckpointError,
    list_checkpoints,
    load_weights,
    save_checkpoint,
)
from reasoning.training.config import OptimizerConfig
from reasoning.training.distribution import World, generators, restore_generators
from reasoning.training.runs import TrainingError, create_run

# What is not finite


def test_a_loss_that_is_not_finite_stops_with_its_step_and_keeps_the_checkpoint(tmp_path):
    made = trainer(tmp_path)
    create_run(tmp_path, {})
    for _ in range(4):
        made.step()
    made.save()
    nn.init.constant_(made.model.heads.lm_head.weight, float("nan"))
    with pytest.raises(TrainingError, match=r"step 6.*lr.*checkpoint of step 4 is intact"):
        made.train()
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step-00000004"]


def test_a_run_that_stops_before_its_first_checkpoint_claims_none(tmp_path):
    create_run(tmp_path, {})
    made = trainer(tmp_path, optimizer=OptimizerConfig(lr=1e30, warmup=0))
    with pytest.raises(TrainingError, match=r"step 2.*no checkpoint was written$"):
        made.train()
    assert not list_checkpoints(tmp_path)


PARTS = {
    "weight heads.lm_head.weight": lambda made: made.model.heads.lm_head.weight,
    "averaged heads.lm_head.weight": lambda made: made.ema.model.heads.lm_head.weight,
    "exp_avg_sq 0": lambda made: next(iter(made.optimizers._all[0].state.values()))["exp_avg_sq"],
    "carried state 1": lambda made: made.carry.state[1],
}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("part", PARTS)
def test_what_is_not_finite_is_no_checkpoint(part, value, tmp_path):
    made = trainer(tmp_path)
    create_run(tmp_path, {})
    made.step()
    made.save()
    made.step()
    PARTS[part](made).data.view(-1)[1] = value
    said = rf"{part} is no longer finite at step 2.*lr.*checkpoint of step 1 is intact"
    with pytest.raises(TrainingError, match=said):
        made.save()
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step-00000001"]


class Masked(TRM):
    """Whose buffers rule a token out, and whose first buffer is a view of one number."""

    def __init__(self, config, shape):
        super().__init__(config, shape)
        self.register_buffer("scale", torch.ones(1).expand(shape.vocabulary))
        self.register_buffer("mask", torch.zeros(shape.vocabulary))
        self.mask[0] = -torch.inf


def test_a_mask_of_minus_infinity_is_saved_and_resumed(tmp_path):
    made = run_in(tmp_path, kind=Masked)
    made.carry.state[1].view(-1)[0] = -torch.inf
    made.save()
    again = trainer(tmp_path, kind=Masked)
    again.model.mask.zero_()
    again.resume()
    assert again.model.mask[0] == again.ema.model.mask[0] == -torch.inf
    assert torch.equal(again.carry.state[1], made.carry.state[1])
    load_weights(tmp_path, Masked(TRMConfig(**SIZE, inner_steps=1), GridShape(4, 5, 5)))
    made.model.mask[1] = torch.nan
    with pytest.raises(TrainingError, match="weight mask is no longer finite"):
        made.save()


def test_what_is_not_finite_on_another_process_stops_this_one_too(tmp_path, monkeypatch):
    made = trainer(tmp_path)
    made.step()
    monkeypatch.setattr(World, "any", lambda world, here: True)
    with pytest.raises(TrainingError, match="another process"):
        made.save()
    assert not list_checkpoints(tmp_path)


def test_a_model_that_is_not_finite_is_not_evaluated(tmp_path):
    made = trainer(tmp_path, evaluate_every=2)
    create_run(tmp_path, {})
    made.evaluate = lambda model: pytest.fail("was evaluated")
    made.ema.model.heads.lm_head.weight.data[0, 0] = float("nan")
    with pytest.raises(TrainingError, match="averaged heads"):
        made.train()


def test_a_checkpoint_of_a_run_that_had_diverged_is_refused(tmp_path):
    made = run_in(tmp_path)
    made.ema.model.heads.lm_head.weight.data[0, 0] = float("nan")
    save_checkpoint(tmp_path, 13, made.model, made.ema.model, {})
    for read in (trainer(tmp_path).resume, lambda: load_weights(tmp_path, made.model)):
        with pytest.raises(CheckpointError, match=r"step-00000013: heads.*not finite.*delete"):
            read()


def test_only_the_last_two_checkpoints_are_kept(tmp_path):
    run_in(tmp_path)
    assert [p.name for p in list_checkpoints(tmp_path)] == ["step-00000008", "step-00000012"]


def test_what_a_kill_left_of_checkpoints_goes_with_the_next_one(tmp_path):
    folder = tmp_path / "checkpoints"
    for left in (".partial-00000002", "step-00000001", "step-00000099"):
        (folder / left).mkdir(parents=True)
        (folder / left / "weights.safetensors").touch()  # a rotation's victim has no manifest
    run_in(tmp_path)
    kept = ["step-00000008", "step-00000012", "step-00000099"]  # nothing newer is dropped
    assert sorted(path.name for path in folder.iterdir()) == kept


def test_a_checkpoint_holds_nothing_of_the_process_that_wrote_it(tmp_path):
    states = []
    for name in ("a", "b"):
        torch.seed()  # as every process begins
        run_in(tmp_path / name)
        last = list_checkpoints(tmp_path / name)[-1]
        states.append(torch.load(last / "state.pt", weights_only=True)["rng"][0]["cpu"])
    assert torch.equal(*states)


# Damage


def test_a_checkpoint_cut_in_half_is_refused_with_its_name(tmp_path):
    made = run_in(tmp_path)
    weights = list_checkpoints(tmp_path)[-1] / "ema.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    with pytest.raises(CheckpointError, match=r"ema\.safetensors.*the checkpoint before it"):
        load_weights(tmp_path, made.model)
    for older in list_checkpoints(tmp_path)[:-1]:
        shutil.rmtree(older)
    with pytest.raises(CheckpointError, match=r"ema\.safetensors.*begin anew: there is no other"):
        load_weights(tmp_path, made.model)


def test_weights_of_another_model_are_refused(tmp_path):
    run_in(tmp_path)
    other = TRM(TRMConfig(**SIZE | {"width": 32}), GridShape(4, 5))
    with pytest.raises(CheckpointError, match="does not fit"):
        load_weights(tmp_path, other)


def test_a_full_disk_loses_nothing_written_before(tmp_path, monkeypatch):
    made = run_in(tmp_path)
    before = list_checkpoints(tmp_path)

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("reasoning.training.checkpoints.torch.save", full)
    made.done += 1
    with pytest.raises(CheckpointError, match=r"No space left.*checkpoint of step 12 is intact"):
        made.save()
    made.run = tmp_path / "first"
    with pytest.raises(CheckpointError, match=r"No space left.*no checkpoint was written"):
        made.save()
    assert list_checkpoints(tmp_path) == before
    assert not list((tmp_path / "checkpoints").glob(".partial*"))


# Earlier versions


def test_a_run_of_the_other_update_says_in_one_line_how_to_go_on(tmp_path):
    made = trainer(tmp_path)
    create_run(tmp_path, {})
    for _ in range(4):
        made.step()
    weights = made.optimizers._all[0]
    for state in weights.state.values():  # as that package keeps it
        state["steps"] = int(state.pop("step"))
    made.save()
    with pytest.raises(CheckpointError, match=rf"{tmp_path}: after 4 steps.*adam-atan2-pytorch"):
        trainer(tmp_path).resume()
    settings = made.config.optimizer.model_dump() | {"name": "adam-atan2-pytorch"}
    resumed = trainer(tmp_path, optimizer=OptimizerConfig(**settings))
    resumed.resume()
    resumed.step()
    assert {float(s["step"]) for s in resumed.optimizers._all[0].state.values()} == {5.0}


def test_an_average_that_held_the_puzzle_embedding_is_gone_on_with(tmp_path):
    made = trainer(tmp_path)
    create_run(tmp_path, {})
    made.step()
    nn.init.ones_(made.ema.model.embedding.puzzles.weight)
    made.save()
    resumed = trainer(tmp_path)
    resumed.resume()
    resumed.step()
    newest = resumed.model.embedding.puzzles.weight
    assert torch.equal(resumed.ema.model.embedding.puzzles.weight, newest)


# What a model of one's own may be


class Tied(nn.Module):
    """The readout is the embedding, and two buffers are one."""

    def __init__(self):
        super().__init__()
        self.embedding, self.readout = nn.Embedding(5, 3), nn.Linear(3, 5, bias=False)
        self.readout.weight = self.embedding.weight
        self.register_buffer("once", torch.arange(4.0))
        self.register_buffer("again", self.once[1:])


def test_tied_weights_are_saved_whole_and_stay_tied(tmp_path):
    model, other = Tied(), Tied()
    save_checkpoint(tmp_path, 3, model, model, {})
    assert load_weights(tmp_path, other) == 3
    assert torch.equal(other.readout.weight, model.embedding.weight)
    assert other.readout.weight is other.embedding.weight
    assert torch.equal(other.again, model.again)


class Dropping(TRM):
    """Draws from torch's own generator, as dropout does."""

    def initial_state(self, batch, seeds=None):
        noise = torch.rand(()).item() if self.training else 0.0
        return tuple(part + noise for part in super().initial_state(batch, seeds))


def test_every_generator_of_every_process_goes_on(tmp_path, monkeypatch):
    """Of a GPU too, of which this one is told: dropout draws from its generator."""
    states = {"cpu": torch.get_rng_state(), "cuda": torch.arange(16, dtype=torch.uint8)}
    asked = []
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: states["cuda"])
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda *given: asked.append(given))
    cuda = torch.device("cuda", 0)
    (kept,) = World(0, 1, torch.device("cpu")).gather_objects(generators(cuda))
    assert torch.equal(kept["cuda"], states["cuda"])
    two = [kept | {"cuda": kept["cuda"] + process} for process in (0, 1)]
    restore_generators(two, World(1, 2, cuda))
    assert torch.equal(asked[0][0], states["cuda"] + 1)
    assert asked[0][1] == cuda
    assert torch.equal(torch.get_rng_state(), states["cpu"])
    restore_generators(torch.get_rng_state(), World(0, 1, cuda))  # as older checkpoints have it
    assert len(asked) == 1


def test_a_model_that_draws_resumes_exactly(tmp_path):
    whole = run_in(tmp_path / "whole", kind=Dropping)
    create_run(tmp_path / "broken", {})
    broken = trainer(tmp_path / "broken", kind=Dropping)
    torch.manual_seed(broken.config.seed)  # as training begins
    for _ in range(6):
        broken.step()
    broken.save()
    torch.rand(7)
    again = trainer(tmp_path / "broken", kind=Dropping)
    again.resume()
    again.train()
    for a, b in zip(whole.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", ["adamw", "adam-atan2", "muon"])
def test_a_resumed_run_takes_the_rates_that_it_is_given(name, tmp_path):
    run_in(tmp_path, optimizer=OptimizerConfig(name=name, lr=1e-2, muon_lr=1e-2, warmup=0))
    slow = OptimizerConfig(
        name=name,
        **dict.fromkeys(("lr", "muon_lr", "embedding_lr"), 1e-30),
        weight_decay=0,
        warmup=0,
    )
    again = trainer(tmp_path, steps=20, optimizer=slow)
    again.resume()
    before = [p.clone() for p in again.model.parameters()]
    again.step()
    for old, new in zip(before, again.model.parameters(), strict=True):
        assert torch.equal(old, new)


def test_a_run_is_not_resumed_with_another_batch(tmp_path):
    run_in(tmp_path)
    with pytest.raises(CheckpointError, match="was trained with a batch of 8, not 4"):
        trainer(tmp_path, batch=4).resume()
