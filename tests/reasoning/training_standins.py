"""A tiny model and data for it; the run that tests train them in."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from baselines.trm import TRM, TRMConfig
from reasoning.nn.grid import GridShape
from reasoning.supervision import SupervisionConfig
from reasoning.training.config import EMAConfig, OptimizerConfig, TrainingConfig
from reasoning.training.distribution import World
from reasoning.training.loop import Trainer
from reasoning.training.runs import create_run

ALONE = World(0, 1, torch.device("cpu"))
SIZE = {"width": 16, "layers": 1, "heads": 2, "multiple": 32, "puzzle_tokens": 1}


PUZZLES = 5


class Source:
    """Random tokens; the label of a cell is its successor. A puzzle's id is its first cell."""

    def __init__(self, batch: int):
        self.batch = batch

    def batch_at(self, step):
        inputs = np.random.default_rng(step).integers(1, 5, (self.batch, 4)).astype(np.uint8)
        return inputs, inputs % 4 + 1, inputs[:, 0].astype(np.int32)


def config(**changes) -> TrainingConfig:
    base = {
        "steps": 12,
        "batch": 8,
        "log_every": 2,
        "checkpoint_every": 4,
        "evaluate_every": 6,
        "supervision": SupervisionConfig(segments=3, exploration=0.5),
        "optimizer": OptimizerConfig(lr=1e-2, weight_decay=0.1, warmup=2, clip=1.0),
        "ema": EMAConfig(decay=0.9),
    }
    return TrainingConfig(**base | changes)


def trainer(folder=None, world=ALONE, kind=TRM, settings=None, **changes) -> Trainer:
    torch.manual_seed(0)
    model = kind((settings or TRMConfig)(**SIZE, inner_steps=1), GridShape(4, 5, PUZZLES))
    chosen = config(**changes)
    return Trainer(model, Source(chosen.batch), chosen, world, folder)


def run_in(folder: Path, **changes) -> Trainer:
    create_run(folder, {})
    made = trainer(folder, **changes)
    made.train()
    return made


def assert_same_weights(a: nn.Module, b: nn.Module, **tolerance):
    for (name, p), q in zip(a.named_parameters(), b.parameters(), strict=True):
        torch.testing.assert_close(p, q, msg=name, **tolerance)
