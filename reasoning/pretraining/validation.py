"""Loss, perplexity and bits per byte on fixed rows, every row once, sharded over processes."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from reasoning.pretraining.config import ValidationConfig
from reasoning.pretraining.protocol import LanguageModel, SolveBudget
from reasoning.pretraining.telemetry import finite
from reasoning.training.distribution import World
from reasoning.training.evaluation import autocast


def validate(
    model: LanguageModel,
    rows: np.ndarray,
    token_bytes: np.ndarray,
    config: ValidationConfig,
    world: World,
    precision: str = "auto",
) -> list[dict[str, float | int | None]]:
    """One record per budget of rows int64 (N, S + 1); every process returns the same records.

    token_bytes (V,): raw bytes of each token. Bits per byte leave out tokens of no bytes (BOS),
    which the loss counts. The model is put in eval mode for the call.
    """
    was_training = model.training
    model.eval()
    sizes = torch.from_numpy(np.asarray(token_bytes, dtype=np.int64)).to(world.device)
    # Every process makes as many passes of as many rows, which sharded weights need: the rows that
    # fill up the last pass weigh nothing.
    share = -(-len(rows) // world.size)
    padded = np.concatenate((rows, np.repeat(rows[:1], share * world.size - len(rows), axis=0)))
    mine = torch.from_numpy(padded[world.rank :: world.size]).to(world.device)
    real = torch.arange(world.rank, len(padded), world.size, device=world.device) < len(rows)
    records = []
    for most in config.evaluations:
        budget = SolveBudget(most, config.tolerance)
        sums: dict[str, Tensor] = {}
        with autocast(world.device, precision), torch.no_grad():
            for first in range(0, share, config.batch):
                piece = slice(first, first + config.batch)
                for name, values in _measured(model, mine[piece], sizes, budget).items():
                    total = torch.where(real[piece, None], values, 0).sum()
                    sums[name] = sums.get(name, 0) + total
        totals = world.sum(torch.stack(list(sums.values()))).tolist()
        records.append({"max_evaluations": most} | _means(dict(zip(sums, totals, strict=True))))
    model.train(was_training)
    return records


def _measured(
    model: LanguageModel, rows: Tensor, sizes: Tensor, budget: SolveBudget
) -> dict[str, Tensor]:
    """Per-token numbers (B, S) whose sums make up a record."""
    labels = rows[:, 1:]
    output = model(rows[:, :-1], budget=budget)
    nll = F.cross_entropy(output.logits.transpose(1, 2), labels, reduction="none")
    size = sizes[labels]
    numbers = {
        "tokens": torch.ones_like(nll),
        "bytes": size.to(nll.dtype),
        "loss": nll,
        "text_loss": nll * (size > 0),
    }
    return numbers | {name: value.to(nll.dtype) for name, value in output.diagnostics.items()}


def _means(sums: dict[str, float]) -> dict[str, float | int | None]:
    tokens, size = int(sums.pop("tokens")), sums.pop("bytes")
    bits = sums.pop("text_loss") / math.log(2)
    means = {name: finite(total / tokens) for name, total in sums.items()}
    loss = means["loss"]
    perplexity = None if loss is None else finite(math.exp(min(loss, 700.0)))
    per_byte = finite(bits / size) if size else None
    return {"tokens": tokens, "perplexity": perplexity, "bits_per_byte": per_byte} | means
