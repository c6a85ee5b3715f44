"""What `loopbench bench` measures of language models: tokens a second, and their FLOPs' rate."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch

from reasoning.pretraining.loop import Pretrainer
from reasoning.training.distribution import World
from reasoning.training.meter import Meter
from scripts.models.lm_models import build_language_model
from scripts.models.lm_presets import VOCABULARY, LanguageRunConfig, language_preset
from scripts.timing.clocks import Clock, Yardstick
from scripts.timing.measures import Record, peak_memory


class RandomTokens:
    """A token source without text: the speed of a step does not depend on what is written."""

    def __init__(self, rows: int, context: int, vocabulary: int):
        self._draw = np.random.default_rng(0)
        self._shape, self._vocabulary = (rows, context + 1), vocabulary

    def next(self) -> np.ndarray:
        return self._draw.integers(0, self._vocabulary, self._shape)

    def state(self) -> list[dict[str, Any]]:
        return []

    def restore(self, states: list[dict[str, Any]]) -> None:
        raise NotImplementedError("random tokens have no position to go on from")


def language_training(
    name: str,
    clock: Clock,
    yardstick: Yardstick,
    precisions: Iterable[str],
    modes: Iterable[str],
    rows: int | None = None,
) -> Iterator[Record]:
    """A record of a pretraining step for every precision and mode (eager, compiled).

    name: of a preset; clock: how long to measure, on which device; yardstick: matrix products that
    are timed beside; precisions: fp32, bf16; modes: of those named; rows: of a step; None: the
    preset's. Metered FLOPs are those of one micro-batch, as executed, times the micro-batches.
    """
    for precision in precisions:
        for mode in modes:
            config, trainer = pretrainer_of(name, clock.device, precision, mode, rows)
            with peak_memory(clock.device) as memory:
                timing, rates = yardstick.beside(clock, trainer.step, {precision})
            flops = _flops(trainer, trainer.model.vocabulary)
            yield {
                "preset": name,
                "precision": precision,
                "mode": mode,
                "tokens_per_step": config.tokens_per_step,
                "seconds_per_step": timing.median,
                "first_step_seconds": timing.first,
                "tokens_per_second": config.tokens_per_step / timing.median,
                "flops_per_step": flops,
                "matmul_flops_per_second": rates,
                "of_matmul_rate": flops / timing.median / rates[precision],
                **memory,
            }


def language_scaling(name: str, clock: Clock, contexts: Iterable[int]) -> Iterator[Record]:
    """A pretraining step on one row as its tokens grow: its seconds and its FLOPs."""
    for context in contexts:
        trainer = pretrainer_of(name, clock.device, "fp32", "eager", 1, context)[1]
        with peak_memory(clock.device) as memory:
            timing = clock.time(trainer.step)
        yield {
            "axis": "tokens",
            "value": context,
            "batch": 1,
            "seconds_per_step": timing.median,
            "flops_per_step": _flops(trainer, trainer.model.vocabulary),
            **memory,
        }


def pretrainer_of(
    name: str,
    device: torch.device,
    precision: str,
    mode: str,
    rows: int | None,
    context: int | None = None,
) -> tuple[LanguageRunConfig, Pretrainer]:
    """A preset's configuration as it is measured, and a trainer of fresh weights on random tokens.

    name, rows: as in `language_training`; device: where it trains; precision, mode: one of those
    there; context: tokens of a row; None: the preset's.
    """
    preset = language_preset(name)
    vocabulary = 257 if name.endswith("-mini") else VOCABULARY
    size = {} if rows is None else {"batch": rows, "lanes": 1, "micro_batch": None}
    changes = {"precision": precision, "compile": mode == "compiled", "jacobian_every": 0}
    settings = preset.model_dump() | changes | size
    if context is not None:
        longest = max(context, preset.model.context)
        settings |= {"context": context, "model": settings["model"] | {"context": longest}}
    config = LanguageRunConfig.model_validate(settings)
    model = build_language_model(config.model, vocabulary, config.seed).to(device)
    source = RandomTokens(config.batch, config.context, vocabulary)
    passes = config.model.published_passes(), config.model.gradient_passes()
    return config, Pretrainer(model, source, config, World(0, 1, device), *passes)


def _flops(trainer: Pretrainer, vocabulary: int) -> float:
    """FLOPs of a step's forward and backward passes, from one micro-batch of it."""
    config = trainer.config
    rows = config.micro_batch or config.batch
    whole, trainer.source = trainer.source, RandomTokens(rows, config.context, vocabulary)
    with Meter(config.compile) as step:
        trainer.step()
    with Meter() as update:  # Muon's matrix products, made once a step, are no use to the tokens
        trainer.optimizer.step(trainer.done, config.steps)
    trainer.source = whole
    return (step.flops - update.flops) * config.batch / rows
