"""Predictions of a model on a whole set: eval mode, every row once, sharded over processes."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from reasoning.errors import InputError
from reasoning.precision import autocast
from reasoning.randomness import content_seeds
from reasoning.supervision import Depth, infer
from reasoning.training.distribution import World


@dataclass(frozen=True)
class Predictions:
    """What a model said of N puzzles after S segments.

    tokens: uint8 (S, N, C), the most likely token of each cell after each segment;
    net_calls: int64 (N,), all segments together;
    finite: bool (N,), whether every score of every segment is a number;
    diagnostics: name to fp32 (S, N), such as residuals and solver evaluations.
    """

    tokens: np.ndarray
    net_calls: np.ndarray
    finite: np.ndarray
    diagnostics: dict[str, np.ndarray]


def share_of(rows: int, world: World) -> np.ndarray:
    """This process's rows of all: strided, and equally many on every process, so that gathering
    lines up; where they do not divide, row 0 is repeated and `gather` cuts the repeats."""
    mine = np.arange(rows)[world.rank :: world.size]
    return np.concatenate((mine, np.zeros(-(-rows // world.size) - len(mine), dtype=mine.dtype)))


def gather(shares: dict[str, Tensor], rows: int, world: World) -> dict[str, np.ndarray]:
    """Every process's rows of `share_of`, put back in order, on every process."""
    share = -(-rows // world.size)
    # Gathered in rank order; strided sharding put row r + i * size at place r * share + i.
    order = np.arange(share * world.size).reshape(world.size, share).T.ravel()[:rows]
    return {name: world.gather_rows(value).cpu().numpy()[order] for name, value in shares.items()}


def predict(
    model: nn.Module,
    inputs: np.ndarray,
    puzzle_ids: np.ndarray,
    segments: int,
    batch: int,
    world: World,
    precision: str = "auto",
    depth: Depth | None = None,
) -> Predictions:
    """Run `segments` segments on every row of inputs uint8 (N, C); all processes get all rows.

    puzzle_ids: integers (N,); batch: rows in one call of the model; world: the processes, which
    share the rows, the model on `world.device`; precision: auto, bf16 or fp32; depth: overrides of
    the model's own, None: none.

    The model is put in eval mode for the call. Without halting: every puzzle gets every segment. A
    stochastic model draws from each puzzle's content, so no puzzle depends on its place.
    """
    if not len(inputs) or segments < 1 or batch < 1:
        raise InputError(
            f"inputs, segments and batch must be at least 1, got {len(inputs)}, {segments} and "
            f"{batch}"
        )
    rows = share_of(len(inputs), world)
    was_training = model.training
    model.eval()
    parts = []
    with autocast(world.device, precision):
        for first in range(0, len(rows), batch):
            chosen = rows[first : first + batch]
            tokens = torch.from_numpy(inputs[chosen]).to(world.device, torch.int64)
            ids = torch.from_numpy(puzzle_ids[chosen]).to(world.device, torch.int64)
            seeds = content_seeds(tokens, 0)
            parts.append(_run(model, tokens, ids, segments, depth or Depth(), seeds))
    model.train(was_training)
    names = parts[0].keys()
    joined = {name: torch.cat([part[name] for part in parts]) for name in names}
    whole = gather(joined, len(inputs), world)
    return Predictions(
        tokens=whole.pop("tokens").swapaxes(0, 1),
        net_calls=whole.pop("net_calls"),
        finite=whole.pop("finite"),
        diagnostics={name: value.T for name, value in whole.items()},
    )


def _run(
    model: nn.Module,
    inputs: Tensor,
    puzzle_ids: Tensor,
    segments: int,
    depth: Depth,
    seeds: Tensor,
) -> dict[str, Tensor]:
    """One batch: every value batch first, (B, S, ...)."""
    outputs = list(infer(model, inputs, puzzle_ids, segments, depth, seeds))
    result = {
        "tokens": torch.stack([o.logits.argmax(-1).to(torch.uint8) for o in outputs], dim=1),
        "net_calls": torch.stack([o.net_calls for o in outputs], dim=1).sum(1),
    }
    finite = [
        (o.logits.isfinite() | o.logits.isneginf()).flatten(1).all(1)  # -inf rules a token out
        for o in outputs
    ]
    result["finite"] = torch.stack(finite, dim=1).all(1)
    for name in outputs[0].diagnostics:
        result[name] = torch.stack([o.diagnostics[name].float() for o in outputs], dim=1)
    return result
