"""What a release says of its model besides the tensors: by options, by its configuration, or as
published.

The mapping `arch` of an `all_config.yaml` names, in the three publications,

    H_cycles, L_cycles          y updates a segment, z updates a y update
    hidden_size, L_layers, H_layers, num_heads, expansion, mlp_t
    pos_encodings, rope_theta, rms_norm_eps
    puzzle_emb_ndim             channels of the puzzle embedding; 0: there is none
    puzzle_emb_len              positions it is padded to (TRM); 0: as many as it fills
    lambda_, noise_scale, H_init_std, L_init_std      EqR: u <- (1 - l) u + l net(u, c) + noise
    halt_max_steps              segments

and others, which are about the training alone. A key that is none of these, or a value that these
models cannot take, is refused by its name: it may change what the model computes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import Field, ValidationError

from reasoning.errors import InputError
from reasoning.frozen import Frozen

System = Literal["hrm", "trm", "eqr"]
_SHOWN = 4  # keys that a message names


class ReleasedError(InputError):
    """A released file cannot be used; one line with the file, the keys and the remedy."""


def some(names: list[str]) -> str:
    """A few names, and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


_SYSTEMS: dict[str, System] = {"hrm_act_v1": "hrm", "hrm": "hrm", "trm": "trm", "eqr": "eqr"}
# Their names of what the tensors do not tell.
_NAMES = {"H_cycles": "cycles", "L_cycles": "inner_steps", "num_heads": "heads", "seq_len": "cells",
          "noise_scale": "update_noise"}  # fmt: skip
# The only values of these that the models here have; those of their code where a key is left out.
FIXED = {
    "rms_norm_eps": 1e-5, "rope_theta": 1e4, "H_init_std": 1.0, "L_init_std": 1.0, "causal": False,
}  # fmt: skip
_SIZES = ("hidden_size", "L_layers", "H_layers", "vocab_size", "expansion", "mlp_t")
_READ = {"name", "pos_encodings", "puzzle_emb_ndim", "puzzle_emb_len", "lambda_", "halt_max_steps"}
_TRAINING = {
    "short_name", "loss", "batch_size", "num_puzzle_identifiers", "forward_dtype",
    "halt_exploration_prob", "no_ACT_continue", "disable_act_halt", "act_inference",
    "halt_threshold", "halt_confirm_steps", "halt_confirm_mode", "board_height", "board_width",
}  # fmt: skip


class Unstated(Frozen):
    """What a file of tensors does not say. None: by its configuration, by another tensor, or as
    published."""

    cells: int | None = Field(None, gt=0, description="cells of a grid; none: from the vocabulary")
    heads: int | None = Field(None, gt=0, description="attention heads; none: 8")
    puzzle_tokens: int | None = Field(
        None, ge=0, description="positions that hold the puzzle embedding; none: HRM 1, others 16"
    )
    positions: Literal["rope", "none"] | None = Field(
        None, description="positions of attention without learned ones; none: rope"
    )
    mixer_norm: Literal["channels", "tokens"] | None = Field(
        None, description="axis of the norm after an mlp mixer; none: tokens"
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
class Setting:
    """One setting of a released model and who says it: "option", the configuration's name, or
    "assumed". other: what the configuration says where an option overrides it."""

    value: Any
    source: str
    other: Any = None


@dataclass(frozen=True)
class Stated:
    """The authors' configuration in this suite's names.

    learned: whether positions are, None if it does not say; sizes: what the tensors have too, by
    their keys; fixed: which of FIXED it says; segments: a puzzle's, None if it does not say.
    """

    said_by: str = ""
    settings: Unstated = field(default_factory=Unstated)
    learned: bool | None = None
    sizes: Mapping[str, Any] = field(default_factory=dict)
    fixed: tuple[str, ...] = ()
    segments: int | None = None

    def agree(self, key: str, found: Any) -> None:
        """ReleasedError unless the tensors show what the configuration says of a size."""
        said = self.sizes.get(key, found)
        if said != found:
            raise ReleasedError(f"{self.said_by} says {key} {said}, the tensors say {found}")


def state(arch: Mapping[str, Any], said_by: str, system: System) -> Stated:
    """Read a mapping `arch`. ReleasedError, naming the key, for what is not to be represented."""

    def refuse(reason: str) -> ReleasedError:
        return ReleasedError(f"{said_by}: {reason}")

    known = {*_NAMES, *FIXED, *_SIZES, *_READ, *_TRAINING}
    strange = sorted(str(key) for key in arch.keys() - known)
    if strange:
        raise refuse(
            f"arch has {some(strange)}, of which it is not known what it changes; take it out of a "
            "copy of the file if the model computes the same without it"
        )
    name = str(arch.get("name", system))
    module = name.split("@")[0].split(".")[-1]
    if module not in _SYSTEMS:
        raise refuse(f"names {name}, a model that is none of HRM's, TRM's and EqR's")
    if _SYSTEMS[module] != system:
        raise refuse(f"names {name}: give --model {_SYSTEMS[module]}, not {system}")
    positions = arch.get("pos_encodings", "rope") or "none"
    if positions not in ("rope", "learned", "none"):
        raise refuse(f"pos_encodings {positions} is not supported, only rope, learned and none")
    for key, value in FIXED.items():
        said = arch.get(key, value)
        if said != value and not (key == "rope_theta" and positions != "rope"):
            raise refuse(f"{key} {said} is not supported, only {value}")
    for key in ("expansion", "halt_max_steps"):
        if key in arch:
            _number(arch, key, said_by)
    told = {ours: arch[key] for key, ours in _NAMES.items() if key in arch}
    if "pos_encodings" in arch and positions != "learned":
        told["positions"] = positions
    if arch.get("lambda_") is not None:
        told["update_damping"] = round(1 - _number(arch, "lambda_", said_by), 12)
    if system == "eqr":
        told["initial"] = "random"
    if "puzzle_emb_ndim" in arch:
        told["puzzle_tokens"] = _puzzle_tokens(arch, said_by, system)
    try:
        settings = Unstated.model_validate(told)
    except ValidationError as error:
        ours = str(error.errors()[0]["loc"][0])
        key = {value: key for key, value in _NAMES.items()}.get(ours, ours)
        raise refuse(f"{key}: {error.errors()[0]['msg']} (got {told[ours]!r})") from error
    return Stated(
        said_by=said_by,
        settings=settings,
        learned=positions == "learned" if "pos_encodings" in arch else None,
        sizes={key: arch[key] for key in _SIZES if key in arch},
        fixed=tuple(key for key in FIXED if key in arch),
        segments=arch.get("halt_max_steps"),
    )


def _puzzle_tokens(arch: Mapping[str, Any], said_by: str, system: System) -> int | None:
    """Positions of the puzzle embedding; None where only the length is left to TRM's code."""
    channels = _number(arch, "puzzle_emb_ndim", said_by)
    if channels == 0:
        return 0
    width = _number(arch, "hidden_size", said_by)
    if channels > width:
        raise ReleasedError(
            f"{said_by}: puzzle_emb_ndim {channels} is more than hidden_size {width}: an embedding "
            "of several positions is not supported"
        )
    if arch.get("puzzle_emb_len"):
        return arch["puzzle_emb_len"]
    return None if system == "trm" and "puzzle_emb_len" not in arch else 1


def _number(arch: Mapping[str, Any], key: str, said_by: str) -> float:
    value = arch.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ReleasedError(f"{said_by}: {key} is {value!r}, expected a number")
    return value
