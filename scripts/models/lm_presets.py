"""Recipes of the language presets `<model>-<size>`; the models themselves are in lm_models.

Sizes 140m to 1.3b train as published (batch 256 x 2048 tokens, tokens in proportion to size; the
1.3b Transformer's rates are 770m's, and its tokens the released configuration's 1.04e11, where the
paper has twice 770m's, 1.23e11); 60m is the ablations' 1e9 tokens; mini takes minutes on one CPU
core. Otherwise than published: every model is compiled, 770m and 1.3b are sharded, and the seed is
0, not 42; the clip of the adjoint bounds a sequence's.
"""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from reasoning.language_config import LanguageFacts
from reasoning.pretraining.config import MuonAdamWConfig, PretrainingConfig, ValidationConfig
from scripts.models.lm_models import (
    LANGUAGE_PRESETS,
    build_language_model,
    language_model_config,
    model_and_size,
)
from scripts.models.registry import LANGUAGE_MODELS
from scripts.models.variants import merged
from scripts.usage import UsageError

VOCABULARY = 32_768  # what published parameter counts are of


class LanguageRunConfig(PretrainingConfig):
    """A pretraining run: a language model and how it is trained."""

    preset: str = Field(description="the preset this configuration started from")
    corpus: str = Field("", description="corpus folder, made by loopbench corpus build")
    model: Annotated[SerializeAsAny[LanguageFacts], BeforeValidator(LANGUAGE_MODELS.by_kind)] = (
        Field(description="the model")
    )

    @model_validator(mode="after")
    def _rows_fit_the_model(self):
        if self.context > self.model.context:
            raise UsageError(
                f"context {self.context} is longer than model.context {self.model.context}: give a "
                "shorter --context, or a longer --model.context"
            )
        return self

    @model_validator(mode="after")
    def _a_map_to_probe(self):
        if self.jacobian_every and not self.model.has_map():
            raise UsageError(
                "jacobian_every estimates |J| of a map, which this model does not have: set it to 0"
            )
        return self

    @model_validator(mode="after")
    def _terms_of_the_model(self):
        if self.loss.weights() and not self.model.has_map():
            raise UsageError("loss: this model has no map, and so neither |J| nor a solution")
        if self.loss.internalisation and not self.model.proposes():
            raise UsageError("loss.internalisation: this model has no proposal; set it to 0")
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """By its fields: pickle does not find the class of settings that `Registry` derives."""
        return type(self).model_validate, (self.model_dump(mode="json"),)


_TOKENS, _CONTEXT = 524_288, 2048  # of a step; a model of a shorter context takes more rows

# Steps; AdamW's and Muon's rates; the attractor head's share of AdamW's rate.
_SCHEDULES = {
    "60m": (1_907, 8e-3, 8e-3, 0.5),
    "140m": (21_362, 8e-3, 8e-3, 0.5),
    "370m": (56_457, 8e-3, 8e-3, 0.4),
    "770m": (117_492, 6e-3, 8e-3, 0.4),
    "1.3b": (198_364, 6e-3, 8e-3, 0.4),
}


def _published(size: str, config: LanguageFacts) -> dict[str, Any]:
    steps, lr, muon_lr, head = _SCHEDULES[size]
    large = size in ("770m", "1.3b")
    context, micro_batch = min(_CONTEXT, config.context), 8 if large else 32
    return {
        "steps": steps,
        "context": context,
        "batch": max(1, _TOKENS // (context * micro_batch)) * micro_batch,
        "micro_batch": micro_batch,
        "compile": True,
        "parallel": "sharded" if large else "replicated",
        "jacobian_every": 1000 if config.has_map() and not large else 0,
        "optimizer": MuonAdamWConfig(lr=lr, muon_lr=muon_lr, head_lr_scale=head),
        "validation": ValidationConfig(every=1000, rows=256, evaluations=_budgets(config)),
    }


def _mini(config: LanguageFacts) -> dict[str, Any]:
    return {
        "steps": 400,
        "context": min(128, config.context),
        "batch": 16,
        "lanes": 4,
        "checkpoint_every": 100,
        "jacobian_every": 100 if config.has_map() else 0,
        # The 140M recipe's.
        "optimizer": MuonAdamWConfig(lr=8e-3, muon_lr=8e-3, head_lr_scale=0.5),
        "validation": ValidationConfig(every=100, rows=64, evaluations=_budgets(config)),
    }


def _budgets(config: LanguageFacts) -> tuple[int | None, ...]:
    """The model's own budget, and of one that has a proposal that unrefined too."""
    return (None, 0) if config.proposes() else (None,)


def language_preset(name: str) -> LanguageRunConfig:
    """A preset's configuration. UsageError, with the names, if unknown."""
    model = language_model_config(name)
    family, size = model_and_size(name)
    recipe = _mini(model) if size == "mini" else _published(size, model)
    values = LanguageRunConfig(preset=f"{family}-{size}", model=model, **recipe).model_dump()
    return LanguageRunConfig.model_validate(merged(values, model.recipe(size)))


def describe_language_preset(name: str) -> dict[str, Any]:
    """A preset's size, cost and recipe; parameters at a vocabulary of 32,768."""
    import torch

    from reasoning.nn.reasoner import parameter_count

    config = language_preset(name)
    with torch.device("meta"):
        model = build_language_model(config.model, VOCABULARY, config.seed)
    cost = model.cost()
    tokens = config.steps * config.tokens_per_step
    rates = f"AdamW {config.optimizer.lr:g}, Muon {config.optimizer.muon_lr:g}"
    return {
        "preset": name,
        "task": "language",
        "parameters": parameter_count(model),
        "matmul_parameters": cost.once + cost.core,
        "width": cost.width,
        "layers": len(model.blocks()),
        "core_layers": cost.core_layers,
        "tokens": tokens,
        "recipe": f"{rates}, {config.steps:,} steps of {config.tokens_per_step:,} tokens",
    }


def describe_language_presets() -> list[dict[str, Any]]:
    """Every preset, as `loopbench presets` lists them."""
    return [describe_language_preset(name) for name in LANGUAGE_PRESETS]
