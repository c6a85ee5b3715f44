"""What a release says of itself: all_config.yaml, training checkpoints, and what is assumed."""

import codecs
import os
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import released_oracle as oracle
import torch
import yaml

from baselines.released import ReleasedError, Unstated, load_released
from baselines.trm import TRM
from reasoning.supervision import Depth

WIDTH, CELLS, VOCABULARY, BATCH = 64, 16, 6, 3
SMALL = {"width": WIDTH, "vocabulary": VOCABULARY, "inner": 256}
INPUTS = torch.randint(0, VOCABULARY, (BATCH, CELLS), generator=torch.Generator().manual_seed(1))
IDS = torch.tensor([0, 2, 1])
GRID = Unstated(cells=CELLS)
COMMON = {
    "loss": {"name": "losses@ACTLossHead", "loss_type": "stablemax_cross_entropy"},
    "halt_exploration_prob": 0.1, "halt_max_steps": 5, "H_cycles": 1, "L_cycles": 3, "H_layers": 2,
    "L_layers": 2, "hidden_size": WIDTH, "num_heads": 4, "expansion": 4, "puzzle_emb_ndim": WIDTH,
    "pos_encodings": "rope", "forward_dtype": "bfloat16",
}  # fmt: skip
HRM_NAME = {"name": "hrm.hrm_act_v1@HierarchicalReasoningModel_ACTV1"}
TRM_NAME = {"name": "recursive_reasoning.trm@TinyRecursiveReasoningModel_ACTV1"}
EQR_NAME = {"name": "eqr@EqRModel", "short_name": "EqR"}
TRM_KEYS = TRM_NAME | {"mlp_t": False, "puzzle_emb_len": 3, "no_ACT_continue": True, "H_layers": 0}
EQR_KEYS = EQR_NAME | {
    "mlp_t": False, "lambda_": 0.8, "noise_scale": 0.0, "H_init_std": 1.0, "L_init_std": 1.0,
    "board_height": None, "board_width": None, "H_layers": 0,
}  # fmt: skip


def weights_of(levels=("L_level",), layers=2, **more) -> dict[str, torch.Tensor]:
    return oracle.random_state(levels, layers, **SMALL, **({"puzzles": 3} | more))


def eqr_arch(**more: Any) -> dict[str, Any]:
    return {k: v for k, v in COMMON.items() if k != "puzzle_emb_ndim"} | EQR_KEYS | more


def write(folder: Path, tensors: Any, arch: dict[str, Any] | None = None, mark=b"") -> Path:
    """A file as the authors leave it, with their configuration beside it."""
    torch.save(tensors, folder / "step_10")
    if arch is not None:
        config = {"arch": arch, "data_paths": ["data/x"], "epochs": 100, "ema": True}
        (folder / "all_config.yaml").write_bytes(mark + yaml.dump(config).encode())
    return folder / "step_10"


def answers(model, weights, tokens, loop, heads, cycles, steps, state=None, **how):
    """One segment of the model and of the transcription: the largest difference."""
    with torch.no_grad():
        x = oracle.embed(weights, INPUTS, IDS, tokens)
        y, z = state or oracle.start(weights, BATCH, CELLS + tokens)
        output = model.segment((y, z), INPUTS, IDS, Depth())
        y, z = loop(weights, y, z, x, heads, cycles, steps, **how)
        wanted = (*oracle.read(weights, y, tokens), y, z)
    pairs = zip((output.logits, output.q, *output.state), wanted, strict=True)
    return max(float((got - want).abs().max()) for got, want in pairs)


@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_a_configuration_of_trm_is_what_the_model_computes(tmp_path, mark):
    weights = weights_of()
    released = load_released(write(tmp_path, weights, COMMON | TRM_KEYS, mark), "trm", GRID)
    assert answers(released.model, weights, 3, oracle.trm_segment, 4, 1, 3) < 1e-5
    assert released.segments == 5
    by = {name: setting.source for name, setting in released.settings.items()}
    assert by == {
        "cells": "option", "heads": "all_config.yaml", "puzzle_tokens": "all_config.yaml",
        "positions": "all_config.yaml", "cycles": "all_config.yaml",
        "inner_steps": "all_config.yaml", "rope_theta": "assumed", "rms_norm_eps": "assumed",
    }  # fmt: skip
    # What was assumed before is another model.
    (tmp_path / "all_config.yaml").unlink()
    plain = load_released(tmp_path / "step_10", "trm", GRID)
    assert (plain.config.heads, plain.config.cycles, plain.config.inner_steps) == (8, 3, 6)
    assert {s.source for s in plain.settings.values()} == {"option", "assumed"}
    assert plain.said_by is None


def test_a_configuration_of_hrm_with_narrow_puzzle_embeddings(tmp_path):
    """An embedding narrower than the state is padded with zeros, as the released code does."""
    weights = weights_of(("H_level", "L_level"))
    weights["puzzle_emb.weights"] = weights["puzzle_emb.weights"][:, :40].clone()
    arch = COMMON | HRM_NAME | {"puzzle_emb_ndim": 40, "H_cycles": 3, "L_cycles": 1}
    released = load_released(write(tmp_path, weights, arch), "hrm", GRID)
    assert released.config.puzzle_tokens == 1
    assert answers(released.model, weights, 1, oracle.hrm_segment, 4, 3, 1) < 1e-5


def test_a_configuration_of_eqr_has_its_damping_and_eight_narrow_heads(tmp_path):
    """Maze-Unique's model has 8 heads at width 128."""
    sizes = {"width": 128, "vocabulary": VOCABULARY, "inner": 512, "puzzles": 0}
    weights = oracle.random_state(("L_level",), 1, **sizes)
    del weights["H_init"], weights["L_init"]  # not saved there
    arch = eqr_arch(hidden_size=128, num_heads=8, L_layers=1, seq_len=CELLS)
    released = load_released(write(tmp_path, weights, arch), "eqr")
    config = released.config
    assert (config.initial, config.update_damping, config.update_noise) == ("random", 0.2, 0.0)

    def damped(w, name, u, injection, heads, rope):
        return 0.2 * u + 0.8 * oracle.level(w, name, u, injection, heads, rope)

    state = released.model.initial_state(BATCH, torch.arange(BATCH))
    loop = oracle.trm_segment
    difference = answers(released.model, weights, 0, loop, 8, 1, 3, state, call=damped)
    assert difference < 1e-5
    (tmp_path / "all_config.yaml").unlink()
    assert load_released(tmp_path / "step_10", "eqr", GRID).config.heads == 8


def test_learned_positions_and_none(tmp_path):
    weights = weights_of()
    path = write(tmp_path, weights, COMMON | TRM_KEYS | {"pos_encodings": "none"})
    released = load_released(path, "trm", GRID)
    how = {"rope": False}
    assert answers(released.model, weights, 3, oracle.trm_segment, 4, 1, 3, **how) < 1e-5
    weights["embed_pos.embedding_weight"] = torch.randn(CELLS + 3, WIDTH) / 8
    path = write(tmp_path, weights, COMMON | TRM_KEYS | {"pos_encodings": "learned"})
    released = load_released(path, "trm", GRID)
    assert answers(released.model, weights, 3, oracle.trm_segment, 4, 1, 3, **how) < 1e-5


def test_an_option_goes_before_the_configuration_and_is_told(tmp_path):
    path = write(tmp_path, weights_of(), COMMON | TRM_KEYS)
    released = load_released(path, "trm", Unstated(cells=CELLS, heads=2, cycles=1))
    assert released.config.heads == 2
    heads, cycles = released.settings["heads"], released.settings["cycles"]
    assert (heads.source, heads.value, heads.other) == ("option", 2, 4)
    assert (cycles.source, cycles.other) == ("option", None)


REFUSED = {
    "unknown": ({"adaptive_depth": True}, "arch has adaptive_depth"),
    "another model": (
        {"name": "recursive_reasoning.trm_singlez@TinyRecursiveReasoningModel_ACTV1"},
        "trm_singlez.* none of HRM's",
    ),
    "another system": (HRM_NAME, "give --model hrm, not trm"),
    "rotation": ({"rope_theta": 1000.0}, "rope_theta 1000.0 is not supported, only 10000"),
    "norm": ({"rms_norm_eps": 1e-6}, "rms_norm_eps 1e-06 is not supported"),
    "two axes": ({"pos_encodings": "rope2d"}, "pos_encodings rope2d is not supported"),
    "learned": ({"pos_encodings": "learned"}, "positions are learned, the file lacks embed_pos"),
    "width": ({"hidden_size": 128}, "hidden_size 128, the tensors say 64"),
    "layers": ({"L_layers": 3}, "L_layers 3, the tensors say 2"),
    "mixer": ({"mlp_t": True}, "mlp_t True, the tensors say False"),
    "expansion": ({"expansion": 8}, "expansion 8, which gives SwiGLUs"),
    "no embedding": ({"puzzle_emb_ndim": 0}, "holds puzzle_emb.weights, but is said"),
    "wide embedding": ({"puzzle_emb_ndim": 128}, "puzzle_emb_ndim 128 is more than hidden_size"),
    "heads": ({"num_heads": 5}, "even multiple of heads"),
    "no number": ({"H_cycles": "three"}, "H_cycles: .*integer.*got 'three'"),
    "unresolved": ({"puzzle_emb_ndim": "${.hidden_size}"}, "expected a number"),
    "masked": ({"causal": True}, "causal True is not supported"),
    "text": ({"expansion": "4x"}, "expansion is '4x', expected a number"),
    "spread": ({"H_init_std": 0.5}, "H_init_std 0.5 is not supported, only 1"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_represented_is_refused_by_name(what, tmp_path):
    change, said = REFUSED[what]
    path = write(tmp_path, weights_of(), COMMON | TRM_KEYS | change)
    with pytest.raises(ReleasedError, match=said) as error:
        load_released(path, "trm", GRID)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_the_layers_of_both_levels_are_compared(tmp_path):
    path = write(tmp_path, weights_of(("H_level", "L_level")), COMMON | HRM_NAME | {"H_layers": 1})
    with pytest.raises(ReleasedError, match="H_layers 1, the tensors say 2"):
        load_released(path, "hrm", GRID)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"arch: [", "all_config.yaml: cannot be read"),
        (b"\xff", "all_config.yaml: cannot be read"),
        (b"arch: !!python/object:os.system {}", "all_config.yaml: cannot be read"),
        (b"seed: 0", "has no mapping arch"),
        (b"", "has no mapping arch"),
        (b"[1]", "has no mapping arch"),
    ],
)
def test_a_configuration_that_is_none_is_refused(text, said, tmp_path):
    path = write(tmp_path, weights_of())
    (tmp_path / "all_config.yaml").write_bytes(text)
    with pytest.raises(ReleasedError, match=said) as error:
        load_released(path, "trm", GRID)
    assert "\n" not in str(error.value)


# ---------------------------------------------------------------------- EqR's training checkpoints


@dataclass
class Carry:
    """An object of the authors' code in a checkpoint."""

    steps: torch.Tensor
    data: dict[str, torch.Tensor]


def checkpoint_of(weights, averaged, **more) -> dict[str, Any]:
    """Every entry that EqR's code saves."""
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([parameter])
    return {
        "step": 10,
        "total_steps": 20,
        "model": {f"_orig_mod.model.inner.{k}": v for k, v in weights.items()},
        "optimizers": [optimizer.state_dict()],
        "optimizer_lrs": [1e-4],
        "carry": Carry(torch.zeros(2), {"inputs": torch.ones(2, 3)}),
        "rng": {"torch": torch.random.get_rng_state(), "cuda": None},
        "numpy": np.random.get_state(),  # noqa: NPY002, what their code saves
        "python": random.getstate(),
        "train_dataset": {"generator": np.random.default_rng(0)},
        "iteration": 3,
        "config": {"arch": eqr_arch(), "epochs": 5},
        "ema": {"mu": 0.999, "shadow": {f"model.inner.{k}": v for k, v in averaged.items()}},
        "wandb_run_id": None,
    } | more


def test_a_checkpoint_gives_its_average_and_its_own_configuration(tmp_path):
    last, averaged = weights_of(puzzles=0), weights_of(puzzles=0)
    del last["H_init"], last["L_init"], averaged["H_init"], averaged["L_init"]
    last = {key: value + 1 for key, value in last.items()}
    path = write(tmp_path, checkpoint_of(last, averaged), COMMON | TRM_KEYS)  # not what counts
    released = load_released(path, "eqr", GRID)
    assert released.average
    assert released.said_by == "its own config"
    assert isinstance(released.model, TRM)
    for ours, theirs in (
        ("heads.lm_head.weight", "lm_head.weight"),
        ("net.layers.1.mlp.down_proj.weight", "L_level.layers.1.mlp.down_proj.weight"),
    ):
        assert torch.equal(released.model.state_dict()[ours], averaged[theirs])
    assert released.settings["update_damping"].value == 0.2


def test_buffers_are_not_averaged_and_without_an_average_the_last_weights_count(tmp_path):
    """TRM's starts and puzzle embedding are buffers, which no average holds."""
    last, averaged = weights_of(), weights_of()
    last = {key: value + 1 for key, value in last.items()}
    buffers = ("H_init", "L_init", "puzzle_emb.weights")
    shadow = {key: value for key, value in averaged.items() if key not in buffers}
    config = {"arch": COMMON | TRM_KEYS}
    path = write(tmp_path, checkpoint_of(last, shadow, config=config))
    released = load_released(path, "trm", GRID)
    expected = shadow | {key: last[key] for key in buffers}
    assert answers(released.model, expected, 3, oracle.trm_segment, 4, 1, 3) < 1e-5
    path = write(tmp_path, checkpoint_of(last, shadow, config=config, ema=None))
    plain = load_released(path, "trm", GRID)
    assert not plain.average
    assert answers(plain.model, last, 3, oracle.trm_segment, 4, 1, 3) < 1e-4


class Code:
    def __init__(self, call, *arguments):
        self.made = call, arguments

    def __reduce__(self):
        return self.made


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    ran = tmp_path / "ran"
    weights = weights_of(puzzles=0)
    evaluated = Code(eval, f"open({str(ran)!r}, 'w')")
    path = write(tmp_path, checkpoint_of(weights, weights, carry=evaluated))
    assert load_released(path, "eqr", GRID).average  # a blank stands for it
    for code in (Code(os.system, f"touch {ran}"), Code(Path.touch, ran)):
        path = write(tmp_path, checkpoint_of(weights, weights, carry=code))
        with pytest.raises(ReleasedError, match="pickled code, which is never run"):
            load_released(path, "eqr", GRID)
    assert not ran.exists()
    torch.load(write(tmp_path, {"carry": evaluated}), weights_only=False)
    assert ran.exists()  # it would have run


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ema": {"mu": 0.9, "shadow": {}}}, "ema holds no weights"),
        ({"ema": {"mu": 0.9, "shadow": {"model.other": torch.ones(2)}}}, "holds other, its model"),
        ({"model": {"a": 1}}, "holds a, not tensors"),
        ({"config": {"epochs": 5}}, "its own config has no mapping arch"),
    ],
)
def test_checkpoints_that_do_not_fit_are_refused(change, said, tmp_path):
    weights = weights_of(puzzles=0)
    path = write(tmp_path, checkpoint_of(weights, weights, **change))
    with pytest.raises(ReleasedError, match=said) as error:
        load_released(path, "eqr", GRID)
    assert str(error.value).startswith(f"{path}: ")
