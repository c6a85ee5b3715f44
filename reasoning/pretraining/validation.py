"""Held-out scores during training: one record for every solve budget asked for."""

from dataclasses import asdict
from typing import Any

import numpy as np

from reasoning.errors import InputError
from reasoning.pretraining.config import ValidationConfig
from reasoning.pretraining.evaluation.likelihood import Scorer
from reasoning.pretraining.evaluation.perplexity import evaluate_rows
from reasoning.pretraining.packing import HeldOutRows
from reasoning.pretraining.protocol import LanguageModel, SolveBudget
from reasoning.records import finite
from reasoning.training.distribution import World


def validate(
    model: LanguageModel,
    rows: HeldOutRows,
    token_bytes: np.ndarray,
    config: ValidationConfig,
    world: World,
    precision: str = "auto",
) -> list[dict[str, Any]]:
    """`evaluate_rows` of N rows under each budget, flat, the same on every process.

    model: put in eval mode for its passes; token_bytes: int (V,), as there; config: the budgets,
    and tokens of a pass; world: the processes, which share the rows; precision: auto, bf16 or fp32.

    ValueError if the processes do not divide N: then all make the same number of passes, which
    sharded weights need.
    """
    if len(rows) % world.size:
        raise InputError(
            f"{len(rows)} validation rows do not divide over {world.size} processes: "
            "set --validation.rows to a multiple"
        )
    records = []
    for most in config.evaluations:
        budget = SolveBudget(most, config.tolerance)
        scorer = Scorer(model, world, budget, precision, config.batch_tokens)
        scores = asdict(evaluate_rows(scorer, rows.tokens, token_bytes, rows.documents))
        numbers = scores.pop("diagnostics") | scores
        numbers = {n: v if v is None else finite(float(v)) for n, v in numbers.items()}
        counts = {name: int(scores[name]) for name in ("rows", "documents", "tokens", "bytes")}
        records.append({"max_evaluations": most} | numbers | counts)
    return records
