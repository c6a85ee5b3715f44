"""Which of several candidate answers to give: by residual, halting, score, vote, or by the rules.

A candidate is one start of one image of a puzzle. Every rule sees what K candidates said up to a
segment and picks a (candidate, segment) for each puzzle; where several are as good, the one of the
smallest residual, and of those the first. The residual is averaged over the last `WINDOW` segments,
as EqR does: one small step may be a pause, a row of them is rest.

    single      the first candidate: the model's own start, the question as it is
    residual    the smallest residual
    halt-first  the first answer whose halting score was positive; without one, as residual
    restart     candidates one after another, each until its halting score is positive and its
                answer that of the segment before: the first such answer; without one, as residual
    q           the largest halting score
    majority    the answer that most candidates give, compared as a whole
    verified    the first answer that keeps the rules and the givens; without one, as residual

`verified` looks at the puzzle's rules (never at the label), which the model was not given, so it
is no headline: it is always told apart. Shapes: N puzzles, K candidates, S segments, C cells.
"""

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Literal, get_args

import numpy as np

from puzzles.metrics import is_valid
from reasoning.search import standing_claims
from scripts.usage import UsageError

Rule = Literal["single", "residual", "halt-first", "restart", "q", "majority", "verified"]
RULES: tuple[Rule, ...] = get_args(Rule)
WINDOW = 4  # segments a residual is averaged over


def trailing_mean(values: np.ndarray, window: int = WINDOW) -> np.ndarray:
    """Means over the last `window` entries (fewer at the start) of (..., S), at every entry."""
    # Summed anew for each: a running sum could not forget the infinite residual of a failed solve.
    total, count = values.astype(np.float64), np.ones(values.shape[-1])
    for back in range(1, min(window, values.shape[-1])):
        total[..., back:] += values[..., :-back]
        count[back:] += 1
    return total / count


def keeps_rules(kind: str, inputs: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Whether answers (N, K, S, C) are valid for questions (N, C), bool (N, K, S).

    An answer that stands from one segment to the next is looked at once.
    """
    valid = np.empty(tokens.shape[:3], dtype=bool)
    for segment in range(tokens.shape[2]):
        here = tokens[:, :, segment]
        changed = np.ones(here.shape[:2], dtype=bool)
        if segment:
            changed = (here != tokens[:, :, segment - 1]).any(-1)
            valid[:, :, segment] = valid[:, :, segment - 1]
        if changed.any():
            puzzle = np.nonzero(changed)[0]
            valid[:, :, segment][changed] = is_valid(kind, inputs[puzzle], here[changed])
    return valid


@dataclass(frozen=True)
class Candidates:
    """What K candidates said of N puzzles after each of S segments.

    tokens uint8 (N, K, S, C); residual, the trailing mean, and halt (N, K, S); valid bool
    (N, K, S); net_calls and evaluations (N, K, S), what each segment cost.
    """

    tokens: np.ndarray
    residual: np.ndarray
    halt: np.ndarray
    valid: np.ndarray
    net_calls: np.ndarray
    evaluations: np.ndarray

    def first(self, candidates: int, segments: int) -> "Candidates":
        """The first candidates, up to a segment: views."""
        return replace(
            self, **{f.name: getattr(self, f.name)[:, :candidates, :segments] for f in fields(self)}
        )

    @cached_property
    def votes(self) -> np.ndarray:
        """(N, K): how many candidates give this candidate's answer after the last segment."""
        last = np.ascontiguousarray(self.tokens[:, :, -1])
        puzzle = np.arange(len(last), dtype=np.uint32)[:, None]
        named = np.broadcast_to(puzzle, last.shape[:2])[..., None].view(np.uint8)
        rows = np.concatenate((named, last), axis=2)
        whole = rows.view(f"V{rows.shape[2]}").ravel()
        _, group, count = np.unique(whole, return_inverse=True, return_counts=True)
        return count[group].reshape(last.shape[:2])


@dataclass(frozen=True)
class Choice:
    """The answer given to each puzzle: candidate (N,) after segment (N,), both from 0.

    in_turn: bool (N,): every earlier candidate was run to its end, no later one was run; else all
    were run side by side up to that segment.
    """

    candidate: np.ndarray
    segment: np.ndarray
    in_turn: np.ndarray | None = None

    def of(self, values: np.ndarray) -> np.ndarray:
        """The chosen entries (N, ...) of values (N, K, S, ...)."""
        return values[np.arange(len(values)), self.candidate, self.segment]

    def cost(self, counts: np.ndarray) -> np.ndarray:
        """What the candidates (N, K, S) took until one answered, (N,)."""
        together = np.take_along_axis(counts.sum(1).cumsum(1), self.segment[:, None], axis=1)[:, 0]
        if self.in_turn is None:
            return together
        earlier = np.arange(counts.shape[1]) < self.candidate[:, None]
        until_chosen = self.of(counts.cumsum(2))
        return np.where(self.in_turn, (counts.sum(2) * earlier).sum(1) + until_chosen, together)


def choose(rule: Rule, candidates: Candidates) -> Choice:
    """The answers a rule gives after the last segment. ValueError for an unknown rule."""
    count, width, segments = candidates.residual.shape
    last = np.full(count, segments - 1)
    residual = candidates.residual[:, :, -1]
    match rule:
        case "single":
            return Choice(np.zeros(count, dtype=np.int64), last)
        case "residual":
            return Choice(_least(residual, np.ones((count, width), dtype=bool)), last)
        case "q":
            halt = candidates.halt[:, :, -1]
            return Choice(_least(residual, halt == halt.max(1, keepdims=True)), last)
        case "majority":
            votes = candidates.votes
            return Choice(_least(residual, votes == votes.max(1, keepdims=True)), last)
        case "restart":
            claims = standing_claims(candidates.tokens, candidates.halt)
            in_turn = claims.any((1, 2))
            first = claims.any(2).argmax(1)
            segment = claims[np.arange(count), first].argmax(1)
            calmest = _least(residual, np.ones((count, width), dtype=bool))
            return Choice(
                np.where(in_turn, first, calmest), np.where(in_turn, segment, last), in_turn
            )
        case "halt-first":
            return _earliest(candidates, candidates.halt > 0)
        case "verified":
            return _earliest(candidates, candidates.valid)
    raise UsageError(f"no rule is called {rule!r}; there are {', '.join(RULES)}")


def _least(residual: np.ndarray, eligible: np.ndarray) -> np.ndarray:
    """(N,) the eligible candidate of the smallest residual, the first of equals."""
    return np.lexsort((residual, ~eligible))[:, 0]


def _earliest(candidates: Candidates, flags: np.ndarray) -> Choice:
    """The first flagged answer in time; where none is, the smallest residual at the end."""
    flagged = flags.any(1)  # (N, S)
    last = flags.shape[2] - 1
    segment = np.where(flagged.any(1), flagged.argmax(1), last)
    rows = np.arange(len(flags))
    # Indexing by (row, segment) around the candidate axis gives (N, K).
    eligible = flags[rows, :, segment] | ~flagged.any(1)[:, None]
    return Choice(_least(candidates.residual[rows, :, segment], eligible), segment)
