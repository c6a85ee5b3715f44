"""Weights that the authors of HRM, TRM and EqR release, read into this suite's models.

A release is a `.pt`/`.pth` of tensors under the names of the authors' modules,

    embed_tokens.embedding_weight (V, D)    puzzle_emb.weights (ids, D)    H_init, L_init (D,)
    lm_head.weight (V, D)    q_head.weight (2, D)    q_head.bias (2,)
    {H,L}_level.layers.<i>.self_attn.{qkv_proj,o_proj}.weight
    {H,L}_level.layers.<i>.{mlp,mlp_t}.{gate_up_proj,down_proj}.weight

each behind any of the prefixes `_orig_mod.`, `model.` and `inner.`. y is their z_H, z their z_L.
HRM has both levels; TRM and EqR have one net, their L_level. Inside, the layouts are those of
`reasoning.nn`: q, k and v packed as heads along the output, gate before up, half-split rotation.

Sizes come from the tensors. What tensors cannot tell (`Unstated`) is as published unless given:

* HRM: N 2, T 2, one puzzle token. TRM: T 3, n 6 (4 on the 30x30 maze), 16 puzzle tokens, of which
  the first holds the embedding and the rest are zero. EqR: TRM with a random start and damped noisy
  updates; no puzzle tokens, or TRM's 16 where the file holds a puzzle embedding.
* Heads are 64 wide; attention has rotary positions, the token mixer none.
* After the token mixer, the norm runs over the tokens (TRM's code normalises before it transposes
  back).

Sources: HRM arXiv 2506.21734, TRM arXiv 2510.04871, and EqR, with the code released with each.
"""

import math
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, ValidationError
from torch import Tensor

from baselines.hrm import HRM, HRMConfig
from baselines.trm import TRM, TRMConfig
from reasoning.frozen import Frozen
from reasoning.nn.grid import GridShape
from reasoning.nn.layers import rotary_table, swiglu_width

System = Literal["hrm", "trm", "eqr"]

_PREFIXES = ("_orig_mod.", "model.", "inner.")
_TABLES = ("rotary_emb.cos_cached", "rotary_emb.sin_cached")
_EMBEDDING, _PUZZLES = "embed_tokens.embedding_weight", "puzzle_emb.weights"
_POSITIONS = "embed_pos.embedding_weight"
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
_SHOWN = 4  # keys that a message names


class ReleasedError(ValueError):
    """A released file cannot be used; one line with the file, the keys and the remedy."""


class Unstated(Frozen):
    """What a file of tensors does not say. None: told by another tensor, or as published."""

    cells: int | None = Field(None, gt=0, description="cells of a grid; none: from the vocabulary")
    heads: int | None = Field(None, gt=0, description="attention heads; none: 64 channels each")
    puzzle_tokens: int | None = Field(
        None, gt=0, description="positions that hold the puzzle embedding; none: HRM 1, others 16"
    )
    positions: Literal["rope", "none"] = Field(
        "rope", description="positions of attention without learned ones"
    )
    mixer_norm: Literal["channels", "tokens"] = Field(
        "tokens", description="axis of the norm after an mlp mixer"
    )
    cycles: int | None = Field(None, gt=0, description="y updates per segment; none: HRM 2, TRM 3")
    inner_steps: int | None = Field(
        None, gt=0, description="z updates per y update; none: HRM 2, TRM 6, on 30x30 mazes 4"
    )
    initial: Literal["fixed", "random"] | None = Field(
        None, description="the start of y and z; none: fixed, EqR's random"
    )
    update_damping: float | None = Field(
        None, ge=0, lt=1, description="share of the state kept in an update; none: 0, EqR's 0.05"
    )
    update_noise: float | None = Field(
        None, ge=0, description="deviation of the noise in an update; none: 0, EqR's 0.01"
    )


@dataclass(frozen=True)
class Released:
    """A release as a model, with its configuration.

    dropped: tensors of the file that the model has no place for: rotary tables, found equal to the
    model's own, and the constant starts of a model whose start is random.
    """

    model: HRM | TRM
    config: HRMConfig | TRMConfig
    shape: GridShape
    dropped: tuple[str, ...]


def load_released(path: Path, system: System, unstated: Unstated | None = None) -> Released:
    """Read a released file into a model, every tensor placed, on the CPU in fp32.

    ReleasedError, naming the file and the keys, if it is damaged, if a tensor is missing, left over
    or of another shape, or if its sizes contradict each other.
    """
    tensors = read_tensors(path)
    try:
        return _fit(tensors, system, unstated or Unstated())
    except ValidationError as error:
        raise ReleasedError(f"{path}: {error.errors()[0]['msg']}") from error
    except ReleasedError as error:
        raise ReleasedError(f"{path}: {error}") from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by their names without prefixes, floating ones in fp32.

    ReleasedError if the file is missing or damaged, or holds anything but tensors.
    """
    try:
        with path.open("rb") as file:
            if zipfile.is_zipfile(file) and (bad := zipfile.ZipFile(file).testzip()):
                raise zipfile.BadZipFile(bad)  # torch does not look at the checksums
            file.seek(0)
            found = torch.load(file, map_location="cpu", weights_only=True)
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise ReleasedError(f"{path}: cannot be read ({error.strerror})") from error
    except Exception as error:  # a cut or foreign file makes the unpickler raise almost anything
        raise ReleasedError(
            f"{path}: is not a whole file of plain tensors ({type(error).__name__}): it was cut "
            "short, or it holds pickled code, which is never run; download it again, or save the "
            "module's state_dict() alone"
        ) from error
    if not isinstance(found, Mapping) or not found:
        raise ReleasedError(f"{path}: holds {type(found).__name__}, expected a dict of tensors")
    others = [str(key) for key, value in found.items() if not isinstance(value, Tensor)]
    if others:
        raise ReleasedError(
            f"{path}: holds {_some(others)}, not tensors; save the module's state_dict() alone"
        )
    tensors: dict[str, Tensor] = {}
    for key, value in found.items():
        name = _plain_name(str(key))
        if name in tensors:
            raise ReleasedError(f"{path}: {key} names {name} a second time")
        tensors[name] = value.float() if value.is_floating_point() else value
    return tensors


def infer(
    tensors: Mapping[str, Tensor], system: System, unstated: Unstated
) -> tuple[HRMConfig | TRMConfig, GridShape]:
    """A model's configuration and grid, from the shapes of its tensors.

    ReleasedError if a tensor needed for this is missing or they contradict each other.
    """
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
        "positions": _positions(tensors, mixer, unstated),
        "puzzle_tokens": puzzle_tokens,
    }
    sizes |= _swiglu(tensors, width, puzzle_tokens + cells, mixer)
    if mixer == "mlp":
        sizes["mixer_norm"] = unstated.mixer_norm
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


def _fit(tensors: Mapping[str, Tensor], system: System, unstated: Unstated) -> Released:
    config, shape = infer(tensors, system, unstated)
    with torch.random.fork_rng(devices=[]):  # the drawn weights are replaced
        model = (HRM if system == "hrm" else TRM)(config, shape)
    names, own = published_names(model, system), model.state_dict()
    spare = set(_TABLES) | ({"H_init", "L_init"} if config.initial == "random" else set())
    dropped = sorted(spare & tensors.keys())
    missing = [name for name in names.values() if name not in tensors]
    left = sorted(tensors.keys() - set(names.values()) - spare)
    if missing or left:
        said = [f"lacks {_some(missing)}"] if missing else []
        said += [f"holds {_some(left)}, for which {system} has no place"] if left else []
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
    return Released(model, config, shape, tuple(dropped))


def _plain_name(key: str) -> str:
    while key.startswith(_PREFIXES):
        key = key.split(".", 1)[1]
    return key


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
    usual = unstated.puzzle_tokens or {"hrm": 1}.get(system, 16) if has_puzzles else 0
    cells = unstated.cells or _CELLS.get(vocabulary)
    spanning = ("L_level.layers.0.mlp_t.down_proj.weight", _POSITIONS, _TABLES[0])
    lengths = [_matrix(tensors, name)[0] for name in spanning if name in tensors]
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
    head_width = _matrix(tensors, _TABLES[0])[1] if _TABLES[0] in tensors else 64
    return max(1, width // head_width)


def _positions(tensors: Mapping[str, Tensor], mixer: str, unstated: Unstated) -> str:
    if _POSITIONS in tensors:
        return "learned"
    return "none" if mixer == "mlp" else unstated.positions


def _swiglu(
    tensors: Mapping[str, Tensor], width: int, length: int, mixer: str
) -> dict[str, float | int]:
    """An expansion and a rounding that give the inner widths of both SwiGLUs, 4 where it does."""
    inner = {width: _matrix(tensors, "L_level.layers.0.mlp.down_proj.weight")[1]}
    if mixer == "mlp":
        inner[length] = _matrix(tensors, "L_level.layers.0.mlp_t.down_proj.weight")[1]
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
        raise ReleasedError(f"holds {_some(present)}, but its positions are {config.positions}")
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
    return f"its names are {_some(sorted(tensors))}"


def _has(names: Iterable[str], start: str) -> bool:
    return any(name.startswith(start) for name in names)


def _some(names: list[str]) -> str:
    """A few names, and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
