"""A pretraining run read back: its configuration, tokenizer and latest weights."""

from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import ValidationError

from reasoning.pretraining.checkpoints import load_language_weights
from reasoning.pretraining.protocol import LanguageModel
from reasoning.pretraining.tokenizer import Tokenizer, load_tokenizer
from reasoning.training.distribution import World
from reasoning.training.runs import RunError, read_config
from scripts.models.lm_models import build_language_model
from scripts.models.lm_presets import LanguageRunConfig
from scripts.terminal.folders import expect
from scripts.usage import describe


@dataclass(frozen=True)
class LanguageRun:
    """A run's latest weights at their step, in eval mode, and what is needed to use them."""

    folder: Path
    model: LanguageModel
    tokenizer: Tokenizer
    config: LanguageRunConfig
    step: int
    corpus: str
    """identity of the one it was trained on."""


def load_language_config(run: Path) -> tuple[LanguageRunConfig, dict[str, str]]:
    """A run's configuration, and the hashes of its tokenizer and corpus. RunError if damaged."""
    expect(run, "language run")
    record = read_config(run)
    try:
        config = LanguageRunConfig.model_validate(record["config"])
        return config, {key: record[key] for key in ("tokenizer", "corpus")}
    except ValidationError as error:
        raise RunError(f"{run}/config.json: {describe(error)}") from error
    except (KeyError, TypeError) as error:
        raise RunError(f"{run}/config.json: is not a pretraining run ({error})") from error


def run_tokenizer(run: Path, identity: str) -> Tokenizer:
    """The tokenizer kept in a run. RunError if it is not the one the run was trained with."""
    tokenizer = load_tokenizer(run)
    if tokenizer.identity != identity:
        raise RunError(
            f"{run}/tokenizer.json: is not the tokenizer that the run was trained with; "
            "put that one back"
        )
    return tokenizer


def open_language_run(run: Path, device: torch.device | str) -> LanguageRun:
    """Load a run's latest weights onto a device, on this process alone.

    RunError or CheckpointError for a folder that is no run, has no checkpoint or is damaged.
    """
    config, record = load_language_config(run)
    tokenizer = run_tokenizer(run, record["tokenizer"])
    model = build_language_model(config.model, tokenizer.vocabulary, config.seed)
    step = load_language_weights(run, model, World(0, 1, torch.device("cpu")))
    return LanguageRun(run, model.to(device).eval(), tokenizer, config, step, record["corpus"])
