"""Settings of a net of blocks over a grid, and of a model around one (`reasoning.nn`)."""

from typing import Any, Literal

from pydantic import Field, model_validator

from reasoning.errors import InputError
from reasoning.model_config import SMALL_SCALES, ModelConfig

# Widths and layers of each scale; SwiGLU widths round to 32 where 256 would swamp a small net.
_SIZES: dict[str, dict[str, Any]] = {
    "mini": {"width": 32, "layers": 1, "heads": 2, "multiple": 32, "puzzle_tokens": 1},
    "cpu": {"width": 64, "layers": 2, "heads": 4, "multiple": 32, "puzzle_tokens": 1},
    "1m": {"width": 96, "layers": 2, "heads": 6, "multiple": 32, "puzzle_tokens": 1},
    "7m": {"width": 512, "layers": 2},
    "27m": {"width": 512, "layers": 8},
}


class NetConfig(ModelConfig):
    """Sizes of one stack of blocks with its embeddings and heads."""

    width: int = Field(512, gt=0, description="state width D, in channels")
    layers: int = Field(2, gt=0, description="blocks in the net")
    heads: int = Field(8, gt=0, description="attention heads")
    expansion: float = Field(4.0, gt=0, description="SwiGLU expansion; inner width is 2/3 of it")
    multiple: int = Field(
        256, gt=0, description="SwiGLU inner widths round up to this many channels"
    )
    normalise_product: bool = Field(
        False, description="SwiGLU as sigmoid(g) N(g v), N the norm, in place of silu(g) v"
    )
    mixer: Literal["attention", "mlp", "axial", "sums", "relations", "local"] = Field(
        "attention",
        description="how cells mix: full attention, an MLP over the cells, attention along the "
        "puzzle's units (axial), sums over those units, full attention with a learned bias for "
        "each relation of two cells, or a 3 x 3 convolution (local)",
    )
    mixer_norm: Literal["channels", "tokens"] = Field(
        "channels",
        description="axis of the norm after the mlp mixer, if post; TRM's released code: tokens",
    )
    branch_scale: float = Field(
        1.0,
        gt=0,
        description="factor on the initial weights that end a block's branches; 1: as published, "
        "1 / sqrt(2 layers): deep nets begin as trainable as shallow ones",
    )
    fields: Literal["none", "digits"] = Field(
        "none",
        description="digits: a state for each cell and digit, which share all weights, so that "
        "exchanging digits exchanges answers (DEC)",
    )
    positions: Literal["rope", "learned", "none"] = Field(
        "rope", description="position encoding; rope is of attention, other mixers do without"
    )
    puzzle_tokens: int = Field(16, ge=0, description="positions that hold the puzzle embedding")
    norm: Literal["post", "pre"] = Field(
        "post", description="norm after each branch (published), or before it and after the stack"
    )
    halting_from: Literal["first", "mean"] = Field(
        "first", description="the halting score reads position 0 (published), or the mean of all"
    )

    @classmethod
    def at_scale(cls, scale: str, puzzle: str) -> dict[str, Any]:
        """Its sizes; small nets learn their positions."""
        sizes = super().at_scale(scale, puzzle) | _SIZES[scale]
        return sizes | ({"positions": "learned"} if scale in SMALL_SCALES else {})

    def symmetric(self) -> bool:
        """With a field for each symbol, and cells that know one another by their units alone."""
        by_units = self.mixer in ("axial", "sums", "relations") and self.positions == "none"
        return self.fields == "digits" and by_units

    @model_validator(mode="after")
    def _grid_mixers_see_cells_alone(self):
        if self.mixer in ("axial", "sums", "relations", "local") and self.puzzle_tokens:
            raise InputError(f"mixer {self.mixer} mixes cells alone: set puzzle_tokens to 0")
        return self

    @model_validator(mode="after")
    def _fields_share_everything(self):
        if self.fields == "digits":
            if self.puzzle_tokens or self.positions == "learned" or self.mixer == "mlp":
                raise InputError(
                    "fields digits share their cells' mixing: set puzzle_tokens to 0, positions to "
                    "none or rope, and mixer to another than mlp"
                )
            if self.halting_from != "mean":
                raise InputError("fields digits have no first position: set halting_from to mean")
        return self

    @model_validator(mode="after")
    def _heads_divide_width(self):
        if self.width % (2 * self.heads):
            raise InputError(f"width {self.width} must be an even multiple of heads {self.heads}")
        return self


class ReasonerConfig(NetConfig):
    """A net with the (y, z) state of deep supervision."""

    initial: Literal["learned", "fixed", "random"] = Field(
        "fixed",
        description="initial (y, z): trained (the Attractor paper), constant (TRM's code), or "
        "drawn anew for every puzzle, position and channel (EqR)",
    )
    update_damping: float = Field(
        0.0, ge=0, lt=1, description="share of the old state every net call keeps (EqR: 0.05)"
    )
    update_noise: float = Field(
        0.0, ge=0, description="deviation of the noise every net call adds (EqR: 0.01)"
    )

    def draws(self) -> bool:
        return self.initial == "random" or self.update_noise > 0


class LoopConfig(ReasonerConfig):
    """A reasoner whose cycle may carry one state or two."""

    states: Literal[1, 2] = Field(
        2, description="2: (y, z), z <- net(z, y + x), y <- net(y, z); 1: y alone, y <- net(y, x)"
    )
