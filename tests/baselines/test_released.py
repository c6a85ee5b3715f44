"""Released weights in this suite's models, against a straight-line transcription of the modules."""

import pickle
from pathlib import Path

import pytest
import released_oracle as oracle
import torch

from baselines.released import ReleasedError, Unstated, infer, load_released, published_names
from baselines.trm import TRM
from reasoning.nn.reasoner import parameter_count
from reasoning.supervision import Depth
from scripts.models.presets import build_model, preset

WIDTH, CELLS, VOCABULARY, BATCH = 64, 16, 6, 3
SMALL = {"width": WIDTH, "vocabulary": VOCABULARY, "inner": 256}
INPUTS = torch.randint(0, VOCABULARY, (BATCH, CELLS), generator=torch.Generator().manual_seed(1))
IDS = torch.tensor([0, 2, 1])
GRID = Unstated(cells=CELLS, heads=2, cycles=2, inner_steps=3)

# Which release, its tensors, puzzle tokens, loop.
CASES = {
    "hrm": (
        "hrm",
        oracle.random_state(("H_level", "L_level"), 4, **SMALL, puzzles=3),
        1,
        oracle.hrm_segment,
    ),
    "trm": (
        "trm",
        oracle.random_state(("L_level",), 2, **SMALL, puzzles=3),
        16,
        oracle.trm_segment,
    ),
    "trm-mlp": (
        "trm",
        oracle.random_state(("L_level",), 2, **SMALL, length=CELLS + 16, inner_t=256, puzzles=3),
        16,
        oracle.trm_segment,
    ),
}


def save(folder: Path, tensors, name: str = "step_1.pt") -> Path:
    torch.save(tensors, folder / name)
    return folder / name


def compare(model, weights, puzzle_tokens, loop, segments, tolerance, carried, rope=True):
    """Every segment's logits, q, y and z equal the transcription's, started from its carry, or,
    `carried`, from the model's own."""
    length = puzzle_tokens + CELLS
    with torch.no_grad():
        x = oracle.embed(weights, INPUTS, IDS, puzzle_tokens)
        y, z = oracle.start(weights, BATCH, length)
        state = model.initial_state(BATCH)
        for _ in range(segments):
            y, z = loop(weights, y, z, x, 2, 2, 3, rope)
            output = model.segment(state, INPUTS, IDS, Depth())
            wanted = (*oracle.read(weights, y, puzzle_tokens), y, z)
            for got, want in zip((output.logits, output.q, *output.state), wanted, strict=True):
                torch.testing.assert_close(got, want, rtol=0, atol=tolerance)
            state = output.state if carried else (y, z)


@pytest.mark.parametrize("name", CASES)
def test_every_segment_equals_the_published_modules(name, tmp_path):
    system, weights, puzzle_tokens, loop = CASES[name]
    released = load_released(save(tmp_path, weights), system, GRID)
    compare(released.model, weights, puzzle_tokens, loop, 4, 1e-5, carried=False)
    assert released.dropped == ()


@pytest.mark.parametrize("name", CASES)
def test_carried_segments_equal_the_published_modules_in_float64(name, tmp_path):
    """Rounding grows from segment to segment of random nets, so that far only float64 tells."""
    system, weights, puzzle_tokens, loop = CASES[name]
    model = load_released(save(tmp_path, weights), system, GRID).model.double()
    wide = {key: value.double() for key, value in weights.items()}
    compare(model, wide, puzzle_tokens, loop, 4, 1e-8, carried=True)


def test_learned_positions_and_none(tmp_path):
    _, weights, puzzle_tokens, loop = CASES["hrm"]
    generator = torch.Generator().manual_seed(2)
    drawn = torch.randn(CELLS + puzzle_tokens, WIDTH, generator=generator)
    positions = {"embed_pos.embedding_weight": drawn / 8}
    learned = weights | positions
    released = load_released(save(tmp_path, learned), "hrm", GRID)
    assert released.config.positions == "learned"
    compare(released.model, learned, puzzle_tokens, loop, 2, 1e-5, carried=False, rope=False)
    unstated = GRID.model_copy(update={"positions": "none"})
    released = load_released(save(tmp_path, weights), "hrm", unstated)
    compare(released.model, weights, puzzle_tokens, loop, 2, 1e-5, carried=False, rope=False)


@pytest.mark.parametrize("mlp", [False, True])
def test_eqr_is_trm_without_puzzle_tokens_damped_from_a_random_start(mlp, tmp_path):
    mixer = {"length": CELLS, "inner_t": 256} if mlp else {}
    weights = oracle.random_state(("L_level",), 1, **SMALL, **mixer, puzzles=0)
    released = load_released(save(tmp_path, weights), "eqr", GRID)
    config = released.config
    assert (config.initial, config.update_damping, config.update_noise) == ("random", 0.05, 0.01)
    assert released.dropped == ("H_init", "L_init")
    del weights["H_init"], weights["L_init"]
    assert load_released(save(tmp_path, weights), "eqr", GRID).dropped == ()

    silent = TRM(config.model_copy(update={"update_noise": 0.0}), released.shape)
    silent.load_state_dict(released.model.state_dict())
    seeds = torch.arange(BATCH)
    y, z = state = silent.initial_state(BATCH, seeds)

    def damped(w, name, u, injection, heads, rope):
        return 0.05 * u + 0.95 * oracle.level(w, name, u, injection, heads, rope)

    with torch.no_grad():
        x = oracle.embed(weights, INPUTS, IDS, 0)
        y, z = oracle.trm_segment(weights, y, z, x, 2, 2, 3, call=damped)
        output = silent.segment(state, INPUTS, IDS, Depth(), seeds)
        noisy = released.model.segment(state, INPUTS, IDS, Depth(), seeds)
    wanted = (*oracle.read(weights, y, 0), y, z)
    for got, want in zip((output.logits, output.q, *output.state), wanted, strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=1e-5)
    assert not torch.equal(noisy.logits, output.logits)


@pytest.mark.parametrize("name", ["trm", "trm-mlp"])
def test_eqr_with_a_puzzle_embedding_and_told_to_be_still_is_trm(name, tmp_path):
    """A file of EqR may hold TRM's 16 puzzle tokens; without its interventions it is TRM."""
    _, weights, puzzle_tokens, loop = CASES[name]
    path = save(tmp_path, weights)
    assert load_released(path, "eqr", GRID).config.puzzle_tokens == puzzle_tokens
    still = {"initial": "fixed", "update_damping": 0.0, "update_noise": 0.0}
    released = load_released(path, "eqr", GRID.model_copy(update=still))
    assert released.dropped == ()
    compare(released.model, weights, puzzle_tokens, loop, 4, 1e-5, carried=False)


@pytest.mark.parametrize(
    "prefix", ["", "inner.", "model.inner.", "_orig_mod.model.inner.", "model._orig_mod.inner."]
)
def test_any_prefix_loads_the_same(prefix, tmp_path):
    system, weights, *_ = CASES["trm"]
    path = save(tmp_path, {prefix + key: value for key, value in weights.items()})
    model = load_released(path, system, GRID).model
    for ours, theirs in published_names(model, system).items():
        assert torch.equal(model.state_dict()[ours], weights[theirs]), ours


def test_bf16_becomes_fp32_and_the_global_generator_is_left_alone(tmp_path):
    system, weights, *_ = CASES["trm"]
    rounded = {key: value.bfloat16() for key, value in weights.items()}
    path, before = save(tmp_path, rounded), torch.get_rng_state()
    model = load_released(path, system, GRID).model
    assert torch.equal(torch.get_rng_state(), before)
    for ours, theirs in published_names(model, system).items():
        assert model.state_dict()[ours].dtype == torch.float32
        assert torch.equal(model.state_dict()[ours], rounded[theirs].float())


def tables(length, head_width, interleaved=False):
    angle = torch.outer(torch.arange(length), 1e4 ** (-torch.arange(0, head_width, 2) / head_width))
    angle = angle.repeat_interleave(2, 1) if interleaved else torch.cat((angle, angle), 1)
    names = ("rotary_emb.cos_cached", "rotary_emb.sin_cached")
    return dict(zip(names, (angle.cos(), angle.sin()), strict=True))


def test_rotary_tables_tell_heads_and_cells_and_are_dropped(tmp_path):
    system, weights, *_ = CASES["trm"]
    path = save(tmp_path, weights | tables(CELLS + 16, WIDTH // 2))
    released = load_released(path, system)
    assert (released.config.heads, released.shape.cells) == (2, CELLS)
    assert released.dropped == ("rotary_emb.cos_cached", "rotary_emb.sin_cached")
    path = save(tmp_path, weights | tables(CELLS + 16, WIDTH // 2, interleaved=True))
    with pytest.raises(ReleasedError, match=r"cos_cached .* half-split"):
        load_released(path, system)


# Parameters (published counts) and what the tensors must be told apart into.
PUBLISHED = {
    "trm-7m": ("trm", ("L_level",), 2, 81, 11, {}, 6_828_034, 6),
    "trm-7m maze": ("trm", ("L_level",), 2, 900, 6, {}, 6_822_914, 4),
    "trm-mlp-7m": ("trm", ("L_level",), 2, 81, 11, {"length": 97, "inner_t": 512}, 5_028_866, 6),
    "hrm-27m": ("hrm", ("H_level", "L_level"), 4, 81, 11, {}, 27_275_266, 2),
    "hrm-27m maze": ("hrm", ("H_level", "L_level"), 4, 900, 6, {}, 27_270_146, 2),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes_are_inferred_without_options(name):
    """From shapes alone, and the same model as the preset's, but for where TRM-mlp normalises."""
    system, levels, layers, cells, vocabulary, mixer, count, inner_steps = PUBLISHED[name]
    size = {"width": 512, "vocabulary": vocabulary, "inner": 1536, "device": "meta"}
    tensors = oracle.random_state(levels, layers, **size, **mixer)
    trained = {k: v for k, v in tensors.items() if k not in ("puzzle_emb.weights", *STARTS)}
    assert sum(value.numel() for value in trained.values()) == count

    config, shape = infer(tensors, system, Unstated())
    assert (shape.cells, shape.vocabulary, shape.puzzles) == (cells, vocabulary, 1)
    assert config.inner_steps == inner_steps
    named = preset(name.removesuffix(" maze"), "maze" if "maze" in name else "sudoku")
    assert config.model_copy(update={"mixer_norm": named.model.mixer_norm}) == named.model
    with torch.device("meta"):
        model = build_model(named.model_copy(update={"model": config}), shape)
    assert parameter_count(model) == count
    names = published_names(model, system)
    assert set(names.values()) == tensors.keys()
    for ours, theirs in names.items():
        assert model.state_dict()[ours].shape == tensors[theirs].shape, theirs


STARTS = ("H_init", "L_init")


@pytest.mark.parametrize(
    ("inner", "inner_t", "length"), [(512, 768, 97), (256, 256, 32), (768, 256, 97), (96, 48, 32)]
)
def test_other_expansions_are_found(inner, inner_t, length):
    """Inner widths of expansions 8, 4, and of others, also where none rounds to 256."""
    sizes = {"width": 64, "vocabulary": 11, "inner": inner, "device": "meta"}
    tensors = oracle.random_state(("L_level",), 1, **sizes, length=length, inner_t=inner_t)
    unstated = Unstated(cells=length - 16)
    if (inner, inner_t) == (768, 256):  # 12 to 18 for the channels, at most 4 for the tokens
        with pytest.raises(ReleasedError, match="no one expansion"):
            infer(tensors, "trm", unstated)
        return
    config, shape = infer(tensors, "trm", unstated)
    with torch.device("meta"):
        own = TRM(config, shape).state_dict()
    assert own["net.layers.0.mlp.down_proj.weight"].shape == (64, inner)
    assert own["net.layers.0.mlp_t.down_proj.weight"].shape == (length, inner_t)


def without(key):
    return lambda w: {k: v for k, v in w.items() if k != key}


REFUSED = {
    "missing": (without("q_head.bias"), "lacks q_head.bias"),
    "missing layer": (without("L_level.layers.0.mlp.down_proj.weight"), "lacks L_level.layers.0"),
    "missing embedding": (without("embed_tokens.embedding_weight"), "lacks embed_tokens"),
    "missing start": (without("L_init"), "lacks L_init"),
    "left over": (lambda w: w | {"model.inner.extra": torch.ones(2)}, "holds extra, for which trm"),
    "other system": (
        lambda w: w | {"H_level.layers.0.mlp.down_proj.weight": torch.ones(2, 2)},
        "holds H_level.* its names are HRM's",
    ),
    "shape": (lambda w: w | {"lm_head.weight": torch.ones(5, WIDTH)}, r"lm_head.weight .* \(5, 64"),
    "integers": (lambda w: w | {"q_head.bias": torch.ones(2).long()}, "q_head.bias is torch.int64"),
    "twice": (lambda w: w | {"model.H_init": w["H_init"]}, "model.H_init names H_init a second"),
    "nested": (lambda w: {"weights": w, "step": 3}, "holds weights, step, not tensors"),
    "list": (lambda w: list(w.values()), "holds list, expected a dict"),
    "vector": (
        lambda w: w | {"embed_tokens.embedding_weight": torch.ones(3)},
        "expected a matrix",
    ),
    "not finite": (
        lambda w: w | {"lm_head.weight": w["lm_head.weight"].log()},
        "lm_head.weight holds numbers that are not finite",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_does_not_fit_is_refused_with_file_and_keys(what, tmp_path):
    change, said = REFUSED[what]
    path = save(tmp_path, change(dict(CASES["trm"][1])))
    with pytest.raises(ReleasedError, match=said) as error:
        load_released(path, "trm", GRID)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_a_file_of_another_system_is_refused(tmp_path):
    trm, hrm = (save(tmp_path, CASES[name][1], f"{name}.pt") for name in ("trm", "hrm"))
    for path, system, said in (
        (trm, "hrm", "lacks H_level.* its names are TRM's"),
        (hrm, "eqr", "holds H_level"),
        (hrm, "trm", "holds H_level"),
    ):
        with pytest.raises(ReleasedError, match=said):
            load_released(path, system, GRID)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"heads": 3}, "even multiple of heads"),
        ({"cells": 40}, "span 32 positions: 40 cells"),
        ({"puzzle_tokens": 3}, "span 32 positions: 16 cells"),
    ],
)
def test_options_that_contradict_the_tensors_are_refused(options, said, tmp_path):
    path = save(tmp_path, CASES["trm-mlp"][1])
    with pytest.raises(ReleasedError, match=said):
        load_released(path, "trm", GRID.model_copy(update=options))


def test_a_cut_or_foreign_file_is_refused_and_code_is_not_run(tmp_path):
    path = save(tmp_path, CASES["trm"][1])
    whole = path.read_bytes()
    ran = tmp_path / "ran"

    class Code:
        def __reduce__(self):
            return Path.touch, (ran,)

    contents = [whole[: len(whole) * part // 8] for part in range(8)]
    contents += [whole[:-10], b"not a file of tensors", pickle.dumps({"a": Code()}, protocol=2)]
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(ReleasedError, match="not a whole file of plain tensors") as error:
            load_released(path, "trm", GRID)
        assert str(path) in str(error.value)
    torch.save({"a": Code()}, path)
    with pytest.raises(ReleasedError, match="pickled code"):
        load_released(path, "trm", GRID)
    assert not ran.exists()
    place = whole.index(next(iter(CASES["trm"][1].values())).numpy().tobytes())
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
    with pytest.raises(ReleasedError, match="not a whole file"):
        load_released(path, "trm", GRID)
    with pytest.raises(ReleasedError, match=r"absent.pt: cannot be read \(No such file"):
        load_released(tmp_path / "absent.pt", "trm", GRID)
