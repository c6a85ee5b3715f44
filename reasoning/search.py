"""Test-time search: many starts per puzzle, each run deep, and what each said on the way.

A fixed-point or recursive model may be run longer than it was trained (depth: segments) and from
more than one initial state (breadth: starts). Start 0 is the model's own initial state; the others
are truncated normal of deviation 1, fresh per position and sample. Noise may be added to the
carried state between segments, beside what noise the model itself adds. Source: EqR (random initial
states, selection by residual); which start answers is for the caller to choose, from the numbers
returned here.

A start that has come to rest may leave the batch: its residual is at most `leave` and its answer is
the one of the segment before. What it last said stands for all later segments, which then cost
nothing, so the cost follows the difficulty of the puzzle.

Every start's randomness follows from its puzzle's seed (`reasoning.randomness`), so an answer
depends on neither batch-mates nor processes; start 0 draws what `infer` would.

Shapes: N puzzles, B starts, S segments, C cells.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from reasoning.errors import InputError
from reasoning.fixed_point.solution import row_sum
from reasoning.frozen import Frozen
from reasoning.precision import wide
from reasoning.randomness import fold, normal, truncated_normal
from reasoning.supervision import Depth, SegmentModel, SegmentOutput, State

# Uses of a puzzle's seed, apart from the segment numbers that `infer` folds in.
_START, _NOISE = 1 << 32, 2 << 32
_REPORTED = "diagnostics."  # prefix of what the model itself reported
# Zero for a start that has left; everything else it said stands.
_COUNTED = ("net_calls", _REPORTED + "evaluations")


class SearchConfig(Frozen):
    """How widely and how noisily a puzzle is searched."""

    breadth: int = Field(1, gt=0, description="starts per puzzle; the first is the model's own")
    noise: float = Field(
        0.0,
        ge=0,
        description="deviation of the normal noise added to the state between segments",
    )
    leave: float | None = Field(
        None,
        gt=0,
        description="residual at which a start whose answer stands leaves the batch; none: never",
    )


@dataclass(frozen=True)
class Trajectories:
    """What every start of N puzzles said after every segment.

    tokens: uint8 (N, B, S, C), the most likely token of each cell;
    halt: fp32 (N, B, S), the halting score: positive where the model would halt;
    residual: fp32 (N, B, S): the solver's relative residual, or, where a segment makes no solver
        evaluation, |y - y'| / |y| between the answer states after this segment and the one before;
    net_calls: int64 (N, B, S), calls in that segment; 0 once a start has left;
    diagnostics: name to fp32 (N, B, S), what the model reported;
    confidence: fp32 (N, B, S, C), where it was asked for.
    """

    tokens: np.ndarray
    halt: np.ndarray
    residual: np.ndarray
    net_calls: np.ndarray
    diagnostics: dict[str, np.ndarray]
    confidence: np.ndarray | None = None


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

    ValueError unless segments and batch are positive.
    """
    if segments < 1 or batch < 1:
        raise InputError(f"segments and batch must be at least 1, got {segments} and {batch}")
    starts = [seeds] + [fold(seeds, _START + start) for start in range(1, config.breadth)]
    drawn = torch.stack(starts, dim=1).flatten()  # a puzzle's starts follow one another
    run = _Run(model, config, depth or Depth(), q_learning, confidence)
    blocks, total = [], len(drawn) * segments
    for block in torch.arange(len(drawn), device=drawn.device).split(batch):
        puzzle = block // config.breadth
        state = _initial(model, drawn[block], block % config.breadth == 0)
        before = int(block[0]) * segments

        def done(segment: int, before: int = before, rows: int = len(block)) -> None:
            tell(before + rows * segment, total)

        said = run(state, inputs[puzzle], puzzle_ids[puzzle], drawn[block], segments, done)
        blocks.append({name: value.cpu() for name, value in said.items()})
    found = {
        name: torch.cat([b[name] for b in blocks]).unflatten(0, (-1, config.breadth)).numpy()
        for name in blocks[0]
    }
    reported = [name for name in found if name.startswith(_REPORTED)]
    diagnostics = {name.removeprefix(_REPORTED): found.pop(name) for name in reported}
    return Trajectories(**found, diagnostics=diagnostics)


def _initial(model: SegmentModel, seeds: Tensor, own: Tensor) -> State:
    """The model's own initial state where `own` (B,), a random one elsewhere."""
    drawn, given = random_state(model, seeds), model.initial_state(len(seeds), seeds)
    return tuple(
        torch.where(own.view(-1, *[1] * (a.dim() - 1)), a, b)
        for a, b in zip(given, drawn, strict=True)
    )


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
        """Every quantity (block, S, ...)."""
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
            if self.config.leave is not None and segment:
                stood = (said["tokens"] == record["tokens"][here, segment - 1]).all(1)
                stays = ~(stood & (said["residual"] <= self.config.leave))
                here, state = here[stays], tuple(part[stays] for part in state)
            done(segment + 1)
        done(segments)
        return record

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
            residual = torch.where(output.diagnostics["evaluations"] > 0, solved.float(), residual)
        q = output.q
        believed = {} if self.confidence is None else {"confidence": self.confidence(output.logits)}
        return {
            "tokens": output.logits.argmax(-1).to(torch.uint8),
            "halt": (q[:, 0] - q[:, 1] if self.q_learning else q[:, 0]).float(),
            "residual": residual,
            "net_calls": output.net_calls,
            **believed,
        } | {_REPORTED + name: value.float() for name, value in output.diagnostics.items()}
