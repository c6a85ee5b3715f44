"""What a pretraining run is made of, apart from the model: tokens, optimiser, schedule, checks."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from reasoning.errors import InputError
from reasoning.frozen import Frozen
from reasoning.names import LARGEST_SEED, Activations, Device
from reasoning.pretraining.passes import NO_CORE, Passes
from reasoning.training.config import Decay


class MuonAdamWConfig(Frozen):
    """Muon on the backbone's matrices, AdamW on the rest; see optimizer.py for the formulas."""

    lr: float = Field(8e-3, gt=0, description="AdamW's peak learning rate, per step")
    betas: tuple[Decay, Decay] = Field((0.8, 0.95), description="AdamW: decay of the two moments")
    eps: float = Field(1e-10, gt=0, description="AdamW: added to the root of the second moment")
    head_lr_scale: float = Field(1.0, gt=0, description="factor on lr for an attractor head")
    head_weight_decay: float = Field(
        0.1, ge=0, description="decoupled decay of an attractor head's matrices"
    )
    muon_lr: float = Field(8e-3, gt=0, description="Muon's peak learning rate, per step")
    momentum: float = Field(0.95, ge=0, lt=1, description="Muon: momentum after its ramp")
    momentum_start: float = Field(0.85, ge=0, lt=1, description="Muon: momentum at the first step")
    momentum_ramp: int = Field(300, ge=0, description="Muon: steps from momentum_start to momentum")
    second_moment: float = Field(
        0.95, ge=0, lt=1, description="Muon: decay of the second moment of each row or column"
    )
    muon_weight_decay: float = Field(
        0.2, ge=0, description="Muon: cautious decay at the first step, falling linearly to 0"
    )
    cooldown: float = Field(
        0.5, ge=0, le=1, description="last part of the steps, in which the rates fall to 0"
    )
    clip: float | None = Field(1.0, gt=0, description="largest gradient norm; none: no clipping")


class TermsConfig(Frozen):
    """Weights of what is added to the cross entropy, of models that solve for a fixed point."""

    internalisation: float = Field(
        0.0,
        ge=0,
        description="weight of |c - y*|^2 / |y*|^2 a token, c the proposal and y* the solution, "
        "held constant: pulls the proposal to the solution",
    )
    jacobian: float = Field(
        0.0,
        ge=0,
        description="weight of |J|^2 / d, the squared Frobenius norm of the map's Jacobian at the "
        "solution by the state's size (Bai et al. 2021): pushes the map to contract",
    )

    def weights(self) -> dict[str, float]:
        """Those above 0, by name."""
        return {name: weight for name, weight in self.model_dump().items() if weight}

    def passes(self) -> Passes:
        """Core passes of a training step for the terms, which the published rule does not know:
        |J|^2 takes a pass and a product with J^T, which is half a backward one, and backward passes
        through both."""
        return Passes(2, 2) if self.jacobian else NO_CORE


class ValidationConfig(Frozen):
    """Loss, perplexity and bits per byte on fixed held-out rows during training."""

    every: int = Field(500, gt=0, description="steps between validations; the last step has one")
    rows: int = Field(64, gt=0, description="held-out rows of context + 1 tokens")
    batch_tokens: int = Field(16_384, gt=0, description="tokens per forward pass of one process")
    evaluations: tuple[Annotated[int, Field(ge=0)] | None, ...] = Field(
        (None,),
        min_length=1,
        description="T, most evaluations of the map per token, one measurement each; "
        "none: the model's own; 0: the proposal read out unrefined",
    )
    tolerance: float | None = Field(
        None, gt=0, description="residual at which a token stops; none: the model's own"
    )


class PretrainingConfig(Frozen):
    """One pretraining run. A step is `batch` rows of `context` tokens, over all processes."""

    steps: int = Field(gt=0, description="optimiser steps")
    seed: int = Field(
        0,
        ge=0,
        le=LARGEST_SEED,
        description="seed of initial weights and random starts and depths",
    )
    context: int = Field(2048, gt=0, description="tokens of a row")
    batch: int = Field(256, gt=0, description="rows of a step, over all processes")
    lanes: int = Field(
        8, gt=0, description="readers of the corpus; divides batch, a multiple of the processes"
    )
    micro_batch: int | None = Field(
        None, gt=0, description="rows per forward pass of one process; none: all at once"
    )
    device: Device = Field("auto", description="auto: best present")
    precision: Activations = Field(
        "auto", description="activations; auto: bf16 on cuda, fp32 elsewhere"
    )
    parallel: Literal["replicated", "sharded"] = Field(
        "replicated",
        description="several processes: weights and optimiser whole on each, or sharded (FSDP2)",
    )
    compile: bool = Field(False, description="compile the model's blocks with torch.compile")
    log_every: int = Field(10, gt=0, description="steps per line of training metrics")
    checkpoint_every: int = Field(1000, gt=0, description="steps between checkpoints")
    jacobian_every: int = Field(
        0,
        ge=0,
        description="steps between estimates of the map's |J|, the last step has one; 0: never",
    )
    max_skipped: int = Field(
        5, gt=0, description="updates in a row skipped as not finite before the run stops"
    )
    peak_tflops: float | None = Field(
        None, gt=0, description="device's peak in TFLOP/s, for MFU; none: from a table, if known"
    )
    optimizer: MuonAdamWConfig = Field(default_factory=MuonAdamWConfig, description="optimiser")
    loss: TermsConfig = Field(
        default_factory=TermsConfig, description="what is added to the cross entropy"
    )
    validation: ValidationConfig = Field(
        default_factory=ValidationConfig, description="held-out measurements"
    )

    @property
    def tokens_per_step(self) -> int:
        return self.batch * self.context

    @model_validator(mode="after")
    def _batch_divides(self):
        if self.micro_batch is not None and self.micro_batch > self.batch:
            raise InputError(f"micro_batch {self.micro_batch} is larger than batch {self.batch}")
        if self.batch % self.lanes:
            raise InputError(f"lanes {self.lanes} does not divide batch {self.batch}")
        return self

    @model_validator(mode="after")
    def _jacobian_needs_whole_weights(self):
        for name, asked in (
            ("jacobian_every", self.jacobian_every),
            ("loss.jacobian", self.loss.jacobian),
        ):
            if asked and self.parallel == "sharded":
                raise InputError(f"{name} needs parallel replicated: |J| probes a whole model")
        return self

    @model_validator(mode="after")
    def _lines_hold_what_they_should(self):
        # A checkpoint between two lines would lose the metrics gathered since the first.
        for name in ("checkpoint_every", "jacobian_every"):
            if getattr(self, name) % self.log_every:
                raise InputError(
                    f"{name} {getattr(self, name)} must be a multiple of log_every "
                    f"{self.log_every}: change either"
                )
        return self
