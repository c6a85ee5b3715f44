"""Log-likelihoods of chosen tokens of many sequences of unlike lengths.

1. Spans with equal inputs are run once: choices that differ in their last token alone share a row.
2. Rows go in order of length, longest first, in batches of so many tokens; they are padded on the
   right, which a causal model cannot see.
3. Only the logits that predict a chosen token are read, some at a time, so that a large vocabulary
   needs no second array of the logits' size.

Every process scores what it is given: whoever calls divides the work.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from reasoning.errors import InputError
from reasoning.names import BATCH_TOKENS
from reasoning.precision import autocast, wide
from reasoning.pretraining.protocol import LanguageModel, LMOutput, SolveBudget
from reasoning.training.distribution import World

_BATCH_LOGITS = 2**28  # most logits of one forward pass: 1 GiB in fp32
_READ_LOGITS = 2**24  # most logits read at a time: 64 MiB in fp32


class DivergedError(InputError):
    """A model whose answers are not finite numbers."""


@dataclass(frozen=True)
class Span:
    """A sequence int64 (L,), of which the tokens from `start` (1 or later) on are scored."""

    tokens: np.ndarray
    start: int

    @property
    def scored(self) -> int:
        return len(self.tokens) - self.start


@dataclass(frozen=True)
class SpanScores:
    """nll: float64 (N,), nats, summed over each span's scored tokens;
    greedy: bool (N,), whether each of them was the most likely token."""

    nll: np.ndarray
    greedy: np.ndarray


@dataclass(frozen=True)
class Scorer:
    """A model, how far it may iterate, and how much is run at once.

    Every process holds the whole model (its passes are not in step with the others').
    precision: 'auto' (bf16 autocast on cuda), 'bf16' or 'fp32'; batch_tokens: tokens of one
    forward pass, fewer where the logits would pass 1 GiB; context: the longest sequence that is
    asked of the model, None: the longest it takes (it may have been trained on shorter ones).
    """

    model: LanguageModel
    world: World
    budget: SolveBudget = field(default_factory=SolveBudget)
    precision: str = "auto"
    batch_tokens: int = BATCH_TOKENS
    context: int | None = None

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence."""
        return self.model.context if self.context is None else self.context

    @torch.no_grad()
    def forward(self, tokens: np.ndarray) -> LMOutput:
        """The model's answer to tokens int64 (B, S), without gradients."""
        was_training = self.model.training
        self.model.eval()
        with autocast(self.world.device, self.precision):
            output = self.model(torch.from_numpy(tokens).to(self.world.device), budget=self.budget)
        self.model.train(was_training)
        return output

    def rows_at_once(self, length: int) -> int:
        """How many rows of this length one forward pass takes; at least one."""
        most = min(self.batch_tokens, _BATCH_LOGITS // self.model.vocabulary)
        return max(1, most // length)

    def spans(self, spans: Sequence[Span]) -> SpanScores:
        """Score every span; each must fit the context."""
        inputs, members = _share_inputs(spans)
        nll, misses = np.zeros(len(spans)), np.zeros(len(spans))
        for batch in self._batches(inputs):
            output = self.forward(_pad([inputs[row] for row in batch]))
            asked = [(i, row) for row, place in enumerate(batch) for i in members[place]]
            owners = np.repeat([i for i, _ in asked], [spans[i].scored for i, _ in asked])
            rows = np.repeat([row for _, row in asked], [spans[i].scored for i, _ in asked])
            positions = np.concatenate(
                [np.arange(spans[i].start - 1, len(spans[i].tokens) - 1) for i, _ in asked]
            )
            targets = np.concatenate([spans[i].tokens[spans[i].start :] for i, _ in asked])
            each, greedy = token_scores(output.logits, rows, positions, targets)
            nll += np.bincount(owners, each, len(spans))
            misses += np.bincount(owners, ~greedy, len(spans))
        return SpanScores(nll, misses == 0)

    def _batches(self, inputs: list[np.ndarray]) -> Iterator[list[int]]:
        """Rows in batches of about equal length, longest first: what does not fit fails early."""
        order = sorted(range(len(inputs)), key=lambda row: -len(inputs[row]))
        first = 0
        while first < len(order):
            count = self.rows_at_once(len(inputs[order[first]]))
            yield order[first : first + count]
            first += count


def _share_inputs(spans: Sequence[Span]) -> tuple[list[np.ndarray], list[list[int]]]:
    """The distinct inputs (every token but the last), and the spans that read each."""
    places: dict[bytes, int] = {}
    inputs: list[np.ndarray] = []
    members: list[list[int]] = []
    for i, span in enumerate(spans):
        if not 1 <= span.start < len(span.tokens):
            raise InputError(f"span {i}: start {span.start} of {len(span.tokens)} scores no token")
        row = span.tokens[:-1].astype(np.int64)
        place = places.setdefault(row.tobytes(), len(inputs))
        if place == len(inputs):
            inputs.append(row)
            members.append([])
        members[place].append(i)
    return inputs, members


def _pad(rows: list[np.ndarray]) -> np.ndarray:
    """Rows as one array int64, padded on the right with token 0."""
    padded = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
    for place, row in zip(padded, rows, strict=True):
        place[: len(row)] = row
    return padded


def token_scores(
    logits: Tensor, rows: np.ndarray, positions: np.ndarray, targets: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """NLL in nats, float64 (K,), of K targets under logits (B, S, V) at (row, position), and
    whether each target is the most likely token, bool (K,). DivergedError if one is not finite.

    rows, positions, targets: int64 (K,), a position being the one before its target's.
    """
    places = [torch.from_numpy(each).to(logits.device) for each in (rows, positions, targets)]
    step = max(1, _READ_LOGITS // logits.shape[-1])
    nll, greedy = [], []
    for row, position, target in zip(*(place.split(step) for place in places), strict=True):
        chosen = wide(logits[row, position])
        nll.append(F.cross_entropy(chosen, target, reduction="none"))
        greedy.append(chosen.argmax(-1) == target)
    nats = torch.cat(nll).cpu().numpy().astype(np.float64)
    if not np.isfinite(nats).all():
        raise DivergedError(
            "the model gives a token a likelihood that is not finite: it has diverged"
        )
    return nats, torch.cat(greedy).cpu().numpy()


def sum_over_processes(world: World, values: np.ndarray) -> np.ndarray:
    """Every process's values added up: each fills in its own share and leaves the rest 0."""
    if world.size == 1:
        return values
    return world.sum(torch.from_numpy(values).to(world.device)).cpu().numpy()
