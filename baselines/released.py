"""Weights that the authors of HRM, TRM and EqR release, read into this suite's models.

A release is a file (`released_files`) of tensors under the names of the authors' modules,

    embed_tokens.embedding_weight (V, D)    puzzle_emb.weights (ids, D)    H_init, L_init (D,)
    lm_head.weight (V, D)    q_head.weight (2, D)    q_head.bias (2,)
    {H,L}_level.layers.<i>.self_attn.{qkv_proj,o_proj}.weight
    {H,L}_level.layers.<i>.{mlp,mlp_t}.{gate_up_proj,down_proj}.weight

each behind any of the prefixes `_orig_mod.`, `model.` and `inner.`. y is their z_H, z their z_L.
HRM has both levels; TRM and EqR have one net, their L_level. Inside, the layouts are those of
`reasoning.nn`: q, k and v packed as heads along the output, gate before up, half-split rotation.

Sizes come from the tensors. What tensors cannot tell comes from an option (`Unstated`), from the
configuration that the authors saved beside their weights (`released_settings`), or else is assumed
as published; `Released.settings` says which:

* HRM: N 2, T 2, one puzzle token. TRM: T 3, n 6 (4 on the 30x30 maze), 16 puzzle tokens, of which
  the first holds the embedding and the rest are zero. EqR: TRM with a random start and damped noisy
  updates; no puzzle tokens, or TRM's 16 where the file holds a puzzle embedding.
* 8 heads, at EqR's width 128 too; attention has rotary positions, the token mixer none.
* After the token mixer, the norm runs over the tokens (TRM's code normalises before it transposes
  back).
* Rotary base 10000, and 1e-5 in the norms.

Sources: HRM arXiv 2506.21734, TRM arXiv 2510.04871, and EqR, with the code released with each.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor

from baselines.hrm import HRM, HRMConfig
from baselines.released_files import ReleasedError, read_release, some
from baselines.released_settings import FIXED, Setting, Stated, System, Unstated, state
from baselines.trm import TRM, TRMConfig
from reasoning.nn.grid import GridShape
from reasoning.nn.layers import rotary_table, swiglu_width

__all__ = ["Released", "ReleasedError", "System", "Unstated", "infer", "load_released"]

_TABLES = ("rotary_emb.cos_cached", "rotary_emb.sin_cached")
_EMBEDDING, _PUZZLES = "embed_tokens.embedding_weight", "puzzle_emb.weights"
_POSITIONS = "embed_pos.embedding_weight"
# Their first axis is the puzzle tokens and cells.
_SPANNING = ("L_level.layers.0.mlp_t.down_proj.weight", _POSITIONS, _TABLES[0])
_LEVELS = {"hrm": {"net": "L_level", "high": "H_level"}, "trm": {"net": "L_level"}}
_LEVELS["eqr"] = _LEVELS["trm"]
# Their names of this suite's parameters outside the levels.
_NAMES = {
    "embedding.tokens.weight": _EMBEDDING,
    "embedding.puzzles.weight": _PUZZLES,
    "embedding.positions": _POSITIONS,
    "heads.lm_head.weight": "lm_head.weight",
    "heads.q_head.weight": "q_head.weight",
    "heads.q_head.bias": "q_head.bias",
    "initial_y": "H_init",
    "initial_z": "L_init",
}
# Cells of the published grids by vocabulary: 9x9 sudoku and 30x30 maze.
_CELLS = {11: 81, 6: 900}
_MAZE = (900, 6)
_INTERVENTIONS = {"initial": "random", "update_damping": 0.05, "update_noise": 0.01}
_ROUNDING = 256  # the released code rounds SwiGLU widths up to a multiple of this
_HEADS = 8  # of every published model


@dataclass(frozen=True)
class Released:
    """A release as a model, with its configuration.

    dropped: tensors of the file that the model has no place for: rotary tables, found equal to the
    model's own, and the constant starts of a model whose start is random.
    settings: what the tensors do not tell, and who says it.
    said_by: the authors' configuration, None if there is none; segments: a puzzle's by it.
    average: whether the weights are the average that a training checkpoint holds.
    """

    model: HRM | TRM
    config: HRMConfig | TRMConfig
    shape: GridShape
    dropped: tuple[str, ...]
    settings: Mapping[str, Setting]
    said_by: str | None = None
    segments: int | None = None
    average: bool = False


def load_released(path: Path, system: System, unstated: Unstated | None = None) -> Released:
    """Read a released file into a model, every tensor placed, on the CPU in fp32.

    ReleasedError, naming the file and the keys, if it is damaged, if a tensor is missing, left over
    or of another shape, if its sizes contradict each other or the configuration beside it, or if
    that asks for what these models cannot do.
    """
    files = read_release(path)
    try:
        stated = Stated() if files.arch is None else state(files.arch, files.said_by, system)
        released = _fit(files.tensors, system, unstated or Unstated(), stated)
    except ValidationError as error:
        raise ReleasedError(f"{path}: {error.errors()[0]['msg']}") from error
    except ReleasedError as error:
        raise ReleasedError(f"{path}: {error}") from error
    return replace(
        released,
        said_by=None if files.arch is None else files.said_by,
        segments=stated.segments,
        average=files.average,
    )


def infer(
    tensors: Mapping[str, Tensor], system: System, asked: Unstated, stated: Stated | None = None
) -> tuple[HRMConfig | TRMConfig, GridShape]:
    """A model's configuration and grid: from the shapes of its tensors, and what those do not tell
    from the options asked for, else from the authors' configuration, else as published.

    system: whose release the tensors are of; stated: the authors' configuration, None: there is
    none.

    ReleasedError if a tensor needed for this is missing or they contradict each other.
    """
    stated = stated or Stated()
    unstated = _merged(asked, stated)
    levels = {prefix: _depth(tensors, prefix) for prefix in _LEVELS[system].values()}
    if len(set(levels.values())) > 1:
        raise ReleasedError(f"its levels differ in layers, {levels}: not supported")
    vocabulary, width = _matrix(tensors, _EMBEDDING)
    puzzles = _matrix(tensors, _PUZZLES)[0] if _PUZZLES in tensors else 1
    mixer = "mlp" if "L_level.layers.0.mlp_t.down_proj.weight" in tensors else "attention"
    cells, puzzle_tokens = _lengths(tensors, system, unstated, vocabulary)
    sizes: dict[str, Any] = {
        "width": width,
        "layers": levels["L_level"],
        "heads": unstated.heads or _heads(tensors, width),
        "mixer": mixer,
        "positions": _positions(tensors, mixer, unstated, stated),
        "puzzle_tokens": puzzle_tokens,
    }
    for key, found in (
        ("hidden_size", width),
        ("L_layers", levels["L_level"]),
        ("vocab_size", vocabulary),
        ("mlp_t", mixer == "mlp"),
        *([("H_layers", levels["H_level"])] if system == "hrm" else []),
    ):
        stated.agree(key, found)
    sizes |= _swiglu(tensors, width, puzzle_tokens + cells, mixer, stated)
    if mixer == "mlp":
        sizes["mixer_norm"] = unstated.mixer_norm or "tokens"
    if system != "hrm" and (cells, vocabulary) == _MAZE:
        sizes["inner_steps"] = 4
    if system == "eqr":
        sizes |= _INTERVENTIONS
    told = ("cycles", "inner_steps", *_INTERVENTIONS)
    sizes |= unstated.model_dump(include=set(told), exclude_none=True)
    shape = GridShape(cells, vocabulary, puzzles)
    return (HRMConfig if system == "hrm" else TRMConfig)(**sizes), shape


def published_names(model: HRM | TRM, system: System) -> dict[str, str]:
    """The authors' name of every entry of the model's state dict."""
    names = {}
    for ours in model.state_dict():
        level, _, rest = ours.partition(".")
        inside = _LEVELS[system].get(level)
        names[ours] = f"{inside}.{rest}" if inside else _NAMES[ours]
    return names


def _merged(asked: Unstated, stated: Stated) -> Unstated:
    options = asked.model_dump(exclude_none=True)
    return stated.settings.model_copy(update=options)


def _fit(
    tensors: Mapping[str, Tensor], system: System, asked: Unstated, stated: Stated
) -> Released:
    config, shape = infer(tensors, system, asked, stated)
    if _PUZZLES in tensors and (spare := config.width - tensors[_PUZZLES].shape[1]) > 0:
        # The released code pads each embedding with zeros to whole positions.
        tensors = {**tensors, _PUZZLES: F.pad(tensors[_PUZZLES], (0, spare))}
    with torch.random.fork_rng(devices=[]):  # the drawn weights are replaced
        model = (HRM if system == "hrm" else TRM)(config, shape)
    names, own = published_names(model, system), model.state_dict()
    spare = set(_TABLES) | ({"H_init", "L_init"} if config.initial == "random" else set())
    dropped = sorted(spare & tensors.keys())
    missing = [name for name in names.values() if name not in tensors]
    left = sorted(tensors.keys() - set(names.values()) - spare)
    if missing or left:
        said = [f"lacks {some(missing)}"] if missing else []
        said += [f"holds {some(left)}, for which {system} has no place"] if left else []
        raise ReleasedError(f"{' and '.join(said)}; {_looks_like(tensors)}")
    for ours, name in names.items():
        if tensors[name].shape != own[ours].shape or not tensors[name].is_floating_point():
            raise ReleasedError(
                f"{name} is {tensors[name].dtype} {tuple(tensors[name].shape)}, expected floating "
                f"{tuple(own[ours].shape)}"
            )
        if not tensors[name].isfinite().all():
            raise ReleasedError(f"{name} holds numbers that are not finite")
    _check_tables(tensors, config, shape)
    model.load_state_dict({ours: tensors[name] for ours, name in names.items()}, strict=True)
    settings = _settings(tensors, system, config, shape, asked, stated)
    return Released(model, config, shape, tuple(dropped), settings)


def _settings(
    tensors: Mapping[str, Tensor],
    system: System,
    config: HRMConfig | TRMConfig,
    shape: GridShape,
    asked: Unstated,
    stated: Stated,
) -> dict[str, Setting]:
    """Every setting that the tensors do not tell, and who says it."""
    spanned = any(name in tensors for name in _SPANNING)
    told = {
        "cells": spanned,
        "heads": config.mixer == "mlp" or _TABLES[0] in tensors,
        "puzzle_tokens": spanned or not config.puzzle_tokens,
        "positions": config.positions == "learned" or config.mixer == "mlp",
        "mixer_norm": config.mixer != "mlp",
        "cycles": False,
        "inner_steps": False,
        # What HRM and TRM do not have is theirs by name.
        **dict.fromkeys(_INTERVENTIONS, system != "eqr"),
    }
    found: dict[str, Setting] = {}
    for name, by_tensors in told.items():
        value = shape.cells if name == "cells" else getattr(config, name)
        option, said = getattr(asked, name), getattr(stated.settings, name)
        if option is not None:
            found[name] = Setting(value, "option", None if said == option else said)
        elif said is not None:
            found[name] = Setting(value, stated.said_by)
        elif not by_tensors:
            found[name] = Setting(value, "assumed")
    for name in ("rope_theta", "rms_norm_eps"):
        if name != "rope_theta" or config.positions == "rope":
            source = stated.said_by if name in stated.fixed else "assumed"
            found[name] = Setting(FIXED[name], source)
    return found


def _matrix(tensors: Mapping[str, Tensor], name: str) -> tuple[int, int]:
    """The shape of a matrix that must be there."""
    if name not in tensors:
        raise ReleasedError(f"lacks {name}; {_looks_like(tensors)}")
    if tensors[name].dim() != 2:
        raise ReleasedError(f"{name} is {tuple(tensors[name].shape)}, expected a matrix")
    return tuple(tensors[name].shape)


def _depth(tensors: Mapping[str, Tensor], level: str) -> int:
    """How many layers a level has."""
    start = f"{level}.layers."
    count = len({key.removeprefix(start).split(".")[0] for key in tensors if key.startswith(start)})
    if not count:
        raise ReleasedError(f"lacks {start}*; {_looks_like(tensors)}")
    return count


def _lengths(
    tensors: Mapping[str, Tensor], system: System, unstated: Unstated, vocabulary: int
) -> tuple[int, int]:
    """Cells and puzzle tokens, from a tensor that spans both where there is one."""
    has_puzzles = _PUZZLES in tensors
    if unstated.puzzle_tokens and not has_puzzles:
        raise ReleasedError(f"lacks {_PUZZLES}: it has no puzzle tokens to number")
    if unstated.puzzle_tokens == 0 and has_puzzles:
        raise ReleasedError(f"holds {_PUZZLES}, but is said to have no puzzle tokens")
    usual = unstated.puzzle_tokens or {"hrm": 1}.get(system, 16) if has_puzzles else 0
    cells = unstated.cells or _CELLS.get(vocabulary)
    lengths = [_matrix(tensors, name)[0] for name in _SPANNING if name in tensors]
    if not lengths:
        if cells is None:
            raise ReleasedError(
                f"a vocabulary of {vocabulary} does not tell the grid's size: give the cells"
            )
        return cells, usual
    rest = lengths[0] - usual
    # Grids are square; where the usual padding leaves none, the vocabulary decides.
    if unstated.cells is None and (cells is None or _square(rest)):
        cells = rest
    tokens = lengths[0] - cells
    if tokens < 0 or bool(tokens) != has_puzzles or unstated.puzzle_tokens not in (None, tokens):
        raise ReleasedError(
            f"its nets span {lengths[0]} positions: {cells} cells do not fit with "
            f"{unstated.puzzle_tokens or ('some' if has_puzzles else 'no')} puzzle tokens"
        )
    return cells, tokens


def _square(number: int) -> bool:
    return number > 0 and math.isqrt(number) ** 2 == number


def _heads(tensors: Mapping[str, Tensor], width: int) -> int:
    if _TABLES[0] not in tensors:
        return _HEADS
    return max(1, width // _matrix(tensors, _TABLES[0])[1])


def _positions(
    tensors: Mapping[str, Tensor], mixer: str, unstated: Unstated, stated: Stated
) -> str:
    learned = _POSITIONS in tensors
    if stated.learned not in (None, learned):
        raise ReleasedError(
            f"{stated.said_by} says that positions are {'' if stated.learned else 'not '}learned, "
            f"the file {'holds' if learned else 'lacks'} {_POSITIONS}"
        )
    if learned:
        return "learned"
    return "none" if mixer == "mlp" else unstated.positions or "rope"


def _swiglu(
    tensors: Mapping[str, Tensor], width: int, length: int, mixer: str, stated: Stated
) -> dict[str, float | int]:
    """An expansion and a rounding that give the inner widths of both SwiGLUs: the configuration's,
    or 4 where it does."""
    inner = {width: _matrix(tensors, "L_level.layers.0.mlp.down_proj.weight")[1]}
    if mixer == "mlp":
        inner[length] = _matrix(tensors, "L_level.layers.0.mlp_t.down_proj.weight")[1]
    said = stated.sizes.get("expansion")
    if said is not None:
        wanted = {n: swiglu_width(said, n, _ROUNDING) for n in inner}
        if wanted != inner:
            raise ReleasedError(
                f"{stated.said_by} says expansion {said}, which gives SwiGLUs of {wanted} inner "
                f"channels, the tensors have {inner}"
            )
        return {"expansion": said, "multiple": _ROUNDING}
    multiple = math.gcd(_ROUNDING, *inner.values())
    # A width fixes the expansion up to the rounding: the largest that both allow, if any.
    for expansion in (4.0, min(wide * 1.5 / narrow for narrow, wide in inner.items())):
        if all(swiglu_width(expansion, n, multiple) == w for n, w in inner.items()):
            return {"expansion": expansion, "multiple": multiple}
    raise ReleasedError(f"no one expansion gives its SwiGLU inner widths {inner}")


def _check_tables(
    tensors: Mapping[str, Tensor], config: HRMConfig | TRMConfig, shape: GridShape
) -> None:
    """Rotary tables in the file must be those the model computes."""
    present = [name for name in _TABLES if name in tensors]
    if not present:
        return
    if config.positions != "rope":
        raise ReleasedError(f"holds {some(present)}, but its positions are {config.positions}")
    own = rotary_table(config.puzzle_tokens + shape.cells, config.width // config.heads)
    for name, table in zip(_TABLES, own, strict=True):
        if name not in tensors:
            continue
        theirs = tensors[name]
        # Tables cast to bf16 on the way are off by up to 2^-9.
        if theirs.shape != table.shape or (theirs - table).abs().max() > 2**-8:
            raise ReleasedError(
                f"{name} {tuple(theirs.shape)} is not the table of base 10000 in the half-split "
                f"layout {tuple(table.shape)}: another rotation is not supported"
            )


def _looks_like(tensors: Mapping[str, Tensor]) -> str:
    """What the names say of the file, as a hint."""
    levels = [level for level in ("H_level", "L_level") if _has(tensors, f"{level}.layers.")]
    if levels == ["H_level", "L_level"]:
        return "its names are HRM's"
    if levels == ["L_level"]:
        return "its names are TRM's or EqR's"
    return f"its names are {some(sorted(tensors))}"


def _has(names: Iterable[str], start: str) -> bool:
    return any(name.startswith(start) for name in names)
