"""What a training run is made of, apart from the model: budget, optimiser, schedule, averages."""

import re
from typing import Annotated, Literal, TypeVar

from pydantic import Field, model_validator

from reasoning.errors import InputError
from reasoning.frozen import Frozen
from reasoning.loss_config import LossConfig
from reasoning.names import LARGEST_SEED, Activations, Device
from reasoning.supervision_config import SupervisionConfig

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}
Decay = Annotated[float, Field(ge=0, lt=1)]  # of a moving average


class OptimizerConfig(Frozen):
    """Optimiser, learning-rate schedule and clipping."""

    name: Literal["adam-atan2", "adam-atan2-pytorch", "adamw", "muon"] = Field(
        "adam-atan2",
        description="adam-atan2: the update HRM and TRM were trained with; adam-atan2-pytorch: the "
        "update of that package, another in the first tens of steps; muon: Muon on the net's "
        "matrices, AdamW on the rest",
    )
    lr: float = Field(1e-4, gt=0, description="learning rate, per step")
    betas: tuple[Decay, Decay] = Field((0.9, 0.95), description="decay of the two moments")
    weight_decay: float = Field(1.0, ge=0, description="decoupled decay, times the learning rate")
    muon_lr: float = Field(0.02, gt=0, description="learning rate of Muon's matrices")
    muon_weight_decay: float = Field(0.0, ge=0, description="decoupled decay of Muon's matrices")
    embedding_lr: float = Field(1e-4, gt=0, description="sign-SGD rate of the puzzle embedding")
    embedding_weight_decay: float = Field(1.0, ge=0, description="its decoupled decay")
    warmup: int = Field(
        2000,
        ge=0,
        description="steps of linear warm-up from 0; a deadline (--for) or a budget of FLOPs or "
        "time that shortens the run shortens it as much, --steps does not",
    )
    schedule: Literal["constant", "cosine"] = Field("constant", description="after the warm-up")
    final: float = Field(0.0, ge=0, le=1, description="cosine: last rate as a fraction of the peak")
    clip: float | None = Field(None, gt=0, description="largest gradient norm; none: no clipping")


class EMAConfig(Frozen):
    """Exponential moving average of the parameters, which evaluation uses."""

    decay: float = Field(0.999, ge=0, lt=1, description="weight of the old average, per step")
    warmup: bool = Field(False, description="use min(decay, (1 + step) / (10 + step))")
    start: int = Field(0, ge=0, description="steps before averaging; until then it is the weights")


class TrainingConfig(Frozen):
    """One training run. A step is one segment of every slot of the global batch."""

    steps: int = Field(gt=0, description="optimiser steps")
    seed: int = Field(
        0, ge=0, le=LARGEST_SEED, description="seed of initial weights, data order and exploration"
    )
    batch: int = Field(768, gt=0, description="slots of the global batch, over all processes")
    micro_batch: int | None = Field(
        None, gt=0, description="slots per forward pass of one process; none: all at once"
    )
    device: Device = Field("auto", description="auto: best present")
    precision: Activations = Field(
        "auto", description="activations; auto: bf16 on cuda, fp32 elsewhere"
    )
    compile: bool = Field(False, description="compile the net with torch.compile")
    augment: bool = Field(True, description="a fresh random symmetry for every puzzle drawn")
    hints: int = Field(
        0, ge=0, description="cells of its answer that a puzzle drawn is given, from 0 to so many"
    )
    log_every: int = Field(10, gt=0, description="steps per line of training metrics")
    evaluate_every: int = Field(1000, gt=0, description="steps between held-out evaluations")
    evaluate_puzzles: int = Field(
        512, ge=0, description="held-out puzzles of those evaluations; 0: every one"
    )
    checkpoint_every: int = Field(1000, gt=0, description="steps between checkpoints")
    loss: LossConfig = Field(default_factory=LossConfig, description="losses")
    supervision: SupervisionConfig = Field(
        default_factory=SupervisionConfig, description="segments, halting, curriculum"
    )
    optimizer: OptimizerConfig = Field(default_factory=OptimizerConfig, description="optimiser")
    ema: EMAConfig = Field(default_factory=EMAConfig, description="averaged weights")

    @model_validator(mode="after")
    def _micro_batch_fits(self):
        if self.micro_batch is not None and self.micro_batch > self.batch:
            raise InputError(f"micro_batch {self.micro_batch} is larger than batch {self.batch}")
        return self

    @model_validator(mode="after")
    def _checkpoints_and_evaluations_fall_on_log_lines(self):
        # A checkpoint between two lines would lose the metrics gathered since the first.
        if self.checkpoint_every % self.log_every:
            raise InputError(
                f"checkpoint_every {self.checkpoint_every} must be a multiple of "
                f"log_every {self.log_every}: change either"
            )
        # An evaluation between two lines would be timed with steps, and have no place on a curve.
        if self.evaluate_every % self.log_every:
            raise InputError(
                f"evaluate_every {self.evaluate_every} must be a multiple of "
                f"log_every {self.log_every}: change either"
            )
        return self


Config = TypeVar("Config", bound=TrainingConfig)


def replanned(config: Config, steps: int) -> Config:
    """The configuration with so many steps: averaging starts at the same part of the run, and a
    warm-up takes no larger part than it did."""
    scale = steps / config.steps
    values = config.model_dump()
    values["steps"] = steps
    values["ema"]["start"] = round(config.ema.start * scale)
    values["optimizer"]["warmup"] = round(config.optimizer.warmup * min(1.0, scale))
    return type(config).model_validate(values)


def seconds_of(text: str) -> float:
    """Seconds of a length of time such as 2h, 1h30m, 8.5m or 420s. ValueError for anything else."""
    parts = re.findall(r"(\d+(?:\.\d+)?)([hms])", text)
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != text or not seconds:
        raise InputError(f"no length of time is written {text!r}; write 2h, 1h30m, 8.5m or 420s")
    return seconds
