"""A puzzle model as programs that need none of its code: one cycle, the heads, the whole solve.

    map     (inputs, puzzle_ids, y[, z]) -> (y[, z])            one cycle, what a segment repeats
    heads   (y) -> (logits, q)
    solve   (inputs, puzzle_ids, segments) -> (logits, q[, residual])    what `loopbench solve` runs

inputs (B, C) and puzzle_ids (B,) are int64, segments is one int64; y and z are (B, L, D), logits
(B, C, V), q (B, 2) = (halt, continue) and residual (B,) fp32. B may be any number. The segments of
a solve are a loop of the program; within one, a solver's evaluations are written out, and a puzzle
that has converged stays as it is. logits, q and residual are those after the last segment (zeros
where there is none).
"""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch._higher_order_ops.while_loop import while_loop

from reasoning.attractor import Attractor
from reasoning.nn.reasoner import Reasoner
from reasoning.supervision import Depth, State
from scripts.usage import UsageError

Decompositions = Mapping[torch._ops.OpOverload, Callable]
_TRACED = 3  # puzzles of the example a program is traced with: any number but 0 and 1


@dataclass(frozen=True)
class Program:
    """A traced program: the names of what it takes and returns, in order."""

    traced: torch.export.ExportedProgram
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class Cycle(nn.Module):
    """One cycle of z's updates and y's; of a model of one pass, that pass."""

    def __init__(self, model: Reasoner):
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor, puzzle_ids: Tensor, *state: Tensor) -> State:
        model = self.model
        if isinstance(model, Attractor):
            x = model.embedding(inputs, puzzle_ids)
            return model.cycle(state, x, model.config.inner_steps, None, 0)
        return model.segment(state, inputs, puzzle_ids, Depth(cycles=1)).state


class Heads(nn.Module):
    """`Reasoner.decode`."""

    def __init__(self, model: Reasoner):
        super().__init__()
        self.model = model

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        return self.model.decode(y)


class Segment(nn.Module):
    """One segment: the next state, logits, q and, where it solves, the residual."""

    def __init__(self, model: Reasoner):
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor, puzzle_ids: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        output = self.model.segment(state, inputs, puzzle_ids, Depth())
        read = output.logits, output.q, *_residual(output.diagnostics)
        # Copies: what a loop carries may not be what it was given.
        return tuple(part.clone() for part in (*output.state, *read))


class Solve(nn.Module):
    """Segments, one after another, from the initial state."""

    def __init__(self, model: Reasoner, segment: nn.Module, residual: bool):
        super().__init__()
        self.segment, self.shape, self.residual = segment, model.shape, residual
        self.count = len(model.names)
        for i, part in enumerate(model.initial_state(1)):
            self.register_buffer(f"initial_{i}", part.clone())

    def forward(self, inputs: Tensor, puzzle_ids: Tensor, segments: Tensor) -> tuple[Tensor, ...]:
        batch = inputs.shape[0]
        parts = [getattr(self, f"initial_{i}") for i in range(self.count)]
        state = [part.expand(batch, -1, -1).clone() for part in parts]
        logits = parts[0].new_zeros((batch, self.shape.cells, self.shape.vocabulary))
        read = [logits, logits.new_zeros((batch, 2))]
        if self.residual:
            read.append(logits.new_zeros((batch,)))

        def goes_on(done: Tensor, *carried: Tensor) -> Tensor:
            return done < segments

        def once(done: Tensor, *carried: Tensor) -> tuple[Tensor, ...]:
            return done + 1, *self.segment(inputs, puzzle_ids, *carried[: self.count])

        start = torch.zeros((), dtype=torch.int64), *state, *read
        return while_loop(goes_on, once, start)[1 + self.count :]


@contextmanager
def quietly() -> Iterator[None]:
    """Without what torch warns of on its own account: trees it built the old way, and packages
    that are absent and not needed."""
    registry = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = registry.level
    registry.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        registry.setLevel(level)


def _residual(diagnostics: dict[str, Tensor]) -> tuple[Tensor, ...]:
    return (diagnostics["residual"],) if "residual" in diagnostics else ()


@torch.no_grad()
def programs(model: nn.Module, decompositions: Decompositions | None = None) -> dict[str, Program]:
    """map, heads and solve of a model in eval mode on the CPU; the model is left as it was.

    decompositions: what to write operators as, beyond torch's own. UsageError for a model that
    draws random numbers, and for one that is no `Reasoner`.
    """
    if not isinstance(model, Reasoner):
        raise UsageError(
            f"{type(model).__name__} cannot be exported: its cycle and heads are not known apart; "
            "derive it from reasoning.Reasoner"
        )
    if model.config.draws():
        raise UsageError(
            "a model that draws random numbers (model.initial random, or model.update_noise above "
            "0) cannot be exported: its programs would have to draw the same ones"
        )
    with quietly():
        return _programs(model, decompositions or {})


def _programs(model: Reasoner, decompositions: Decompositions) -> dict[str, Program]:
    inputs = torch.ones((_TRACED, model.shape.cells), dtype=torch.int64)
    puzzle = inputs, torch.zeros(_TRACED, dtype=torch.int64)
    state = tuple(part.clone() for part in model.initial_state(_TRACED))
    names = ("inputs", "puzzle_ids")
    segment = _trace(Segment(model), (*puzzle, *state)).run_decompositions(decompositions)
    residual = len(segment.graph_signature.user_outputs) > len(state) + 2
    solve = Solve(model, segment.module(check_guards=False), residual)
    return {
        "map": Program(
            _trace(Cycle(model), (*puzzle, *state)),
            (*names, *model.names),
            tuple(f"next_{name}" for name in model.names),
        ),
        "heads": Program(_trace(Heads(model), state[:1]), ("y",), ("logits", "q")),
        "solve": Program(
            _trace(solve, (*puzzle, torch.tensor(2))),
            (*names, "segments"),
            ("logits", "q", *(("residual",) if residual else ())),
        ),
    }


def _trace(module: nn.Module, example: tuple[Tensor, ...]) -> torch.export.ExportedProgram:
    """Traced for any number of puzzles, the first axis of every argument that has one."""
    batch = torch.export.Dim("batch")
    axes = tuple({0: batch} if part.dim() else {} for part in example)
    # Where a module takes all of its state as *arguments, their axes are one tuple.
    named = 2 if isinstance(module, Cycle | Segment) else len(axes)
    shapes = (*axes[:named], axes[named:]) if named < len(axes) else axes
    return torch.export.export(module, example, dynamic_shapes=shapes)
