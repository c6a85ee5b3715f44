"""Test-time search: many starts per puzzle, each run deep, and what each said on the way.

A fixed-point or recursive model may be run longer than it was trained (depth: segments) and from
more than one initial state (breadth: starts). Start 0 is the model's own initial state; the others
are truncated normal of deviation 1, fresh per position and sample. Noise may be added to the
carried state between segments, beside what noise the model itself adds. Source: EqR (random initial
states, selection by residual); which start answers is for the caller to choose, from the numbers
returned here.

A start that has come to rest may leave the batch: its residual is at most `leave` and its answer is
the one of the segment before. What it last said stands for all later segments, which then cost
nothing, so the cost follows the difficulty of the puzzle. A model that halts may be taken at its
word: a start that claims an answer (halting score above 0, the answer that of the segment before)
leaves as well, and its puzzle is not started again. Starts are then run one after another, and what
the claim's start said stands for those that never ran. A claim may be early: it is the answer that
stood for a segment which is hardly ever wrong (RESULTS.md).

Every start's randomness follows from its puzzle's seed (`reasoning.randomness`), so an answer
depends on neither batch-mates nor processes; start 0 draws what `infer` would.

Shapes: N puzzles, B starts, S segments, C cells.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reasoning.errors import InputError
from reasoning.fixed_point.solution import row_sum
from reasoning.precision import wide
from reasoning.randomness import fold, normal, truncated_normal
from reasoning.search_config import SearchConfig
from reasoning.supervision import Depth, SegmentModel, SegmentOutput, State

# Uses of a puzzle's seed, apart from the segment numbers that `infer` folds in.
_START, _NOISE = 1 << 32, 2 << 32
REPORTED = "diagnostics."  # before the names of what the model itself reported, among others
# Zero for a start that has left; everything else it said stands.
_COUNTED = ("net_calls", REPORTED + "evaluations")


@dataclass(frozen=True)
class Trajectories:
    """What every start of N puzzles said after every segment.

    tokens: uint8 (N, B, S, C), the most likely token of each cell;
    halt: fp32 (N, B, S), the halting score: positive where the model would halt;
    residual: fp32 (N, B, S): the solver's relative residual, or, where a segment makes no solver
        evaluation, |y - y'| / |y| between the answer states after this segment and the one before;
    net_calls: int64 (N, B, S), calls in that segment; 0 once a start has left, or if it never ran;
    ran: bool (N, B), whether the start ran at all;
    diagnostics: name to fp32 (N, B, S), what the model reported;
    confidence: fp32 (N, B, S, C), where it was asked for.
    """

    tokens: np.ndarray
    halt: np.ndarray
    residual: np.ndarray
    net_calls: np.ndarray
    ran: np.ndarray
    diagnostics: dict[str, np.ndarray]
    confidence: np.ndarray | None = None

    @property
    def claimed(self) -> np.ndarray:
        """bool (N,): some start of the puzzle claimed an answer that stood."""
        return standing_claims(self.tokens, self.halt).any((1, 2))

    def mapped(self, change: Callable[[np.ndarray], np.ndarray]) -> "Trajectories":
        """Every array of them changed."""
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        reported = {name: change(values) for name, values in arrays.pop("diagnostics").items()}
        changed = {n: None if v is None else change(v) for n, v in arrays.items()}
        return Trajectories(**changed, diagnostics=reported)

    def of(self, puzzles: np.ndarray, count: int) -> "Trajectories":
        """These, of the places `puzzles` (N,), among `count` puzzles; the others' never ran."""

        def among(values: np.ndarray) -> np.ndarray:
            whole = np.zeros((count, *values.shape[1:]), values.dtype)
            whole[puzzles] = values
            return whole

        return self.mapped(among)

    def standing(self, starts: int) -> "Trajectories":
        """`starts` a puzzle; what its last one said stands, at no cost, for who never ran."""
        ran = np.zeros((len(self.ran), starts), bool)
        ran[:, : self.ran.shape[1]] = self.ran
        last = (ran * np.arange(starts)).max(1, keepdims=True)
        speaker = np.where(ran, np.arange(starts), last)
        whole = self.mapped(lambda values: values[np.arange(len(ran))[:, None], speaker])
        whole.net_calls[~ran] = 0
        for name, values in whole.diagnostics.items():
            if REPORTED + name in _COUNTED:
                values[~ran] = 0
        return replace(whole, ran=ran)


def standing_claims(tokens: np.ndarray, halt: np.ndarray) -> np.ndarray:
    """bool (..., S): the halting score (..., S) is positive and the answer, of tokens (..., S, C),
    that of the segment before; never after the first segment."""
    claims = halt > 0
    claims[..., 0] = False
    claims[..., 1:] &= (tokens[..., 1:, :] == tokens[..., :-1, :]).all(-1)
    return claims


def joined(parts: Sequence[Trajectories]) -> Trajectories:
    """The starts of several searches of the same puzzles, as those of one."""
    names = [item.name for item in fields(Trajectories) if item.name != "diagnostics"]
    arrays = {name: [getattr(part, name) for part in parts] for name in names}
    whole = {n: None if v[0] is None else np.concatenate(v, axis=1) for n, v in arrays.items()}
    reported = parts[0].diagnostics
    return Trajectories(
        **whole,
        diagnostics={
            name: np.concatenate([part.diagnostics[name] for part in parts], axis=1)
            for name in reported
        },
    )


@dataclass
class _Record:
    """What the starts of N puzzles said, B of each, filled in as they run.

    claimed: bool (N,), some start claimed an answer that stood.
    """

    puzzles: int
    starts: int
    said: dict[str, Tensor] = field(default_factory=dict)
    claimed: Tensor = field(init=False)
    ran: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.ran = torch.zeros(self.puzzles * self.starts, dtype=torch.bool)
        self.claimed = torch.zeros(self.puzzles, dtype=torch.bool)

    def take(self, places: Tensor, said: dict[str, Tensor]) -> None:
        """places: int64 (block,), puzzle * B + start."""
        places, said = places.cpu(), {name: values.cpu() for name, values in said.items()}
        for name, values in said.items():
            if name not in self.said:
                shape = (self.puzzles * self.starts, *values.shape[1:])
                self.said[name] = torch.zeros(shape, dtype=values.dtype)
            self.said[name][places] = values
        self.ran[places] = True
        claims = standing_claims(said["tokens"].numpy(), said["halt"].numpy()).any(1)
        self.claimed[places[torch.from_numpy(claims)] // self.starts] = True

    def trajectories(self) -> Trajectories:
        whole = {
            name: values.unflatten(0, (self.puzzles, self.starts)).numpy()
            for name, values in (self.said | {"ran": self.ran}).items()
        }
        diagnostics = take_reported(whole)
        return Trajectories(**whole, diagnostics=diagnostics)


def random_state(model: SegmentModel, seeds: Tensor) -> State:
    """Initial states (B, L, D), truncated normal of deviation 1, row b drawn from seeds[b]."""
    return tuple(
        truncated_normal(fold(seeds, part), tuple(like.shape[1:])).to(like.dtype)
        for part, like in enumerate(model.initial_state(len(seeds), seeds))
    )


@torch.no_grad()
def search(
    model: SegmentModel,
    inputs: Tensor,
    puzzle_ids: Tensor,
    seeds: Tensor,
    segments: int,
    config: SearchConfig,
    batch: int,
    depth: Depth | None = None,
    q_learning: bool = False,
    tell: Callable[[int, int], None] = lambda done, total: None,
    confidence: Callable[[Tensor], Tensor] | None = None,
) -> Trajectories:
    """Run every start of every puzzle, `batch` of them at a time.

    Args:
        model: in eval mode, on the device of the tensors.
        inputs, puzzle_ids: int64 (N, C) and (N,).
        seeds: int64 (N,), what each puzzle's starts and noise follow from.
        segments: S, for every start.
        config: starts, noise, leaving.
        batch: starts in one call of the model.
        depth: overrides of the model's depth.
        q_learning: the halting score is halt - continue (HRM), not halt.
        tell: called after every segment of a block of starts with the starts' segments done, and
            all of them.
        confidence: of logits (B, C, V), how far each cell's most likely token is believed
            (B, C), if that is to be kept as well.

    ValueError unless there are puzzles, and segments and batch are positive.
    """
    if not len(inputs) or segments < 1 or batch < 1:
        raise InputError(
            f"puzzles, segments and batch must be at least 1, got {len(inputs)}, {segments} and "
            f"{batch}"
        )
    starts = [seeds] + [fold(seeds, _START + start) for start in range(1, config.breadth)]
    drawn = torch.stack(starts, dim=1)  # (N, B)
    run = _Run(model, config, depth or Depth(), q_learning, confidence)
    total, record = drawn.numel() * segments, _Record(*drawn.shape)
    for block, before in _blocks(record, batch, config.until_claimed):
        block = block.to(drawn.device)
        puzzle, start = block // config.breadth, block % config.breadth
        seed = drawn.flatten()[block]
        state = _initial(model, seed, start == 0)

        def done(segments_done: int, before: int = before * segments) -> None:
            tell(before + segments_done, total)

        record.take(block, run(state, inputs[puzzle], puzzle_ids[puzzle], seed, segments, done))
    tell(total, total)
    found = record.trajectories()
    return found.standing(config.breadth) if config.until_claimed else found


def _blocks(record: _Record, batch: int, one_by_one: bool) -> Iterator[tuple[Tensor, int]]:
    """Places of starts to run together, at most `batch`, and how many places lie behind each block.

    A puzzle's starts follow one another; `one_by_one`, all puzzles' first starts come before any
    second one, and those of a puzzle claimed by then count as run.
    """
    every, before = torch.arange(record.puzzles * record.starts).view(-1, record.starts), 0
    for wave in every.split(1 if one_by_one else record.starts, dim=1):
        waiting = wave[~record.claimed].flatten()
        before += wave.numel() - len(waiting)
        for block in waiting.split(batch) if len(waiting) else ():
            yield block, before
            before += len(block)


def _initial(model: SegmentModel, seeds: Tensor, own: Tensor) -> State:
    """The model's own initial state where `own` (B,), a random one elsewhere."""
    drawn, given = random_state(model, seeds), model.initial_state(len(seeds), seeds)
    return tuple(
        torch.where(own.view(-1, *[1] * (a.dim() - 1)), a, b)
        for a, b in zip(given, drawn, strict=True)
    )


def take_reported(whole: dict[str, Any]) -> dict[str, Any]:
    """Take what the model itself reported out of a record, by its own names."""
    names = [name for name in whole if name.startswith(REPORTED)]
    return {name.removeprefix(REPORTED): whole.pop(name) for name in names}


@dataclass(frozen=True)
class _Run:
    """Blocks of starts through all segments."""

    model: SegmentModel
    config: SearchConfig
    depth: Depth
    q_learning: bool
    confidence: Callable[[Tensor], Tensor] | None

    def __call__(
        self,
        state: State,
        inputs: Tensor,
        puzzle_ids: Tensor,
        seeds: Tensor,
        segments: int,
        done: Callable[[int], None],
    ) -> dict[str, Tensor]:
        """Every quantity (block, S, ...); `done` is told how many of the block's segments are."""
        here = torch.arange(len(inputs), device=inputs.device)
        record: dict[str, Tensor] = {}
        for segment in range(segments):
            for name, values in record.items():  # what those who left said last stands
                values[:, segment] = 0 if name in _COUNTED else values[:, segment - 1]
            if not len(here):
                continue
            if segment:
                state = self._disturbed(state, fold(seeds[here], _NOISE + segment))
            fresh = fold(seeds[here], segment)
            output = self.model.segment(state, inputs[here], puzzle_ids[here], self.depth, fresh)
            said = self._said(output, state[0])
            if not record:
                record = {
                    name: value.new_zeros((len(inputs), segments, *value.shape[1:]))
                    for name, value in said.items()
                }
            for name, value in said.items():
                record[name][here, segment] = value
            state = output.state
            if segment and (self.config.leave is not None or self.config.until_claimed):
                stood = (said["tokens"] == record["tokens"][here, segment - 1]).all(1)
                stays = ~(stood & self._done(said))
                here, state = here[stays], tuple(part[stays] for part in state)
            done(len(inputs) * (segment + 1))
        done(len(inputs) * segments)
        return record

    def _done(self, said: dict[str, Tensor]) -> Tensor:
        """Who leaves if its answer stood, bool."""
        done = torch.zeros(len(said["halt"]), dtype=torch.bool, device=said["halt"].device)
        if self.config.leave is not None:
            done |= said["residual"] <= self.config.leave
        if self.config.until_claimed:
            done |= said["halt"] > 0
        return done

    def _disturbed(self, state: State, seeds: Tensor) -> State:
        if not self.config.noise:
            return state
        return tuple(
            (p + self.config.noise * normal(fold(seeds, i), tuple(p.shape[1:]))).to(p.dtype)
            for i, p in enumerate(state)
        )

    def _said(self, output: SegmentOutput, before: Tensor) -> dict[str, Tensor]:
        """The numbers of one segment that started with y `before`."""
        y = wide(output.state[0])
        gap, size = row_sum((y - wide(before)).square()), row_sum(y.square())
        residual = (gap.sqrt() / size.sqrt().clamp_min(1e-15)).float()
        solved = output.diagnostics.get("residual")
        if solved is not None:
            evaluations = output.diagnostics.get("evaluations", torch.ones_like(solved))
            residual = torch.where(evaluations > 0, solved.float(), residual)
        q = output.q
        believed = {} if self.confidence is None else {"confidence": self.confidence(output.logits)}
        return {
            "tokens": output.logits.argmax(-1).to(torch.uint8),
            "halt": (q[:, 0] - q[:, 1] if self.q_learning else q[:, 0]).float(),
            "residual": residual,
            "net_calls": output.net_calls,
            **believed,
        } | {REPORTED + name: value.float() for name, value in output.diagnostics.items()}
