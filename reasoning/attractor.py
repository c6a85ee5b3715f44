"""The Attractor model for puzzles (Solve the Loop, section 4.2).

The state w = (y, z) holds an answer and a latent. With x the embedded puzzle, the map is

    F(w):  z' = net(z, y + x), n times;  y' = net(y, z').

One segment solves w = F(w) jointly, starting from the previous segment's w, and takes K damped
phantom steps w <- (1 - l) w + l F(w) from the detached solution, which carry the gradient
(Geng et al. 2022). The solution is the image of the solver's best iterate, so that a segment moves
on where a small budget finds no better iterate than its start. Cost of a segment: (solver
evaluations + K) (n + 1) calls of the net, against T (n + 1) in TRM.

`solve_for: z` is the variant of the code released with the paper, done right: y is held fixed, z is
solved for, then y <- net(y, z), and this sweep is repeated; the last sweep carries the gradient.

Choices where the paper is silent: n, K, l and the solver's budget are settings. The value is the
same with and without gradients: phantom steps are taken in evaluation too. The initial (y, z) are
learned, as the paper says, but an implicit or phantom gradient is zero with respect to the
solver's start, so they move only with `gradient.kind: unrolled`, or, of z solved in one sweep, the
y that its map reads. Update noise is drawn once a
segment and held for the whole solve: a map that changed between evaluations would have no fixed
point.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from reasoning.attractor_config import AttractorConfig
from reasoning.errors import InputError
from reasoning.fixed_point import Anderson, Picard, Solution, jacobian_energy, solve
from reasoning.fixed_point.solution import per_sample
from reasoning.nn.compilation import is_compiled
from reasoning.nn.reasoner import Reasoner
from reasoning.randomness import fold, normal
from reasoning.supervision import Depth, SegmentOutput, State

Solver = Anderson | Picard
Seeds = Tensor | None
UpdateOf = Callable[[Tensor | slice], Callable]  # of the samples at these places in the batch


class Attractor(Reasoner):
    Config = AttractorConfig
    config: AttractorConfig

    def segment(
        self,
        state: State,
        inputs: Tensor,
        puzzle_ids: Tensor,
        depth: Depth,
        seeds: Tensor | None = None,
    ) -> SegmentOutput:
        """One segment. Diagnostics (B,): evaluations (of all sweeps), converged, and relative
        residuals at the solver's best iterate (of the last sweep): residual (joint), residual_y,
        residual_z (those solved for)."""
        steps = self.config.inner_steps if depth.inner_steps is None else depth.inner_steps
        x = self.embedding(inputs, puzzle_ids)
        joint = self.config.solve_for == "joint"
        run = self._solve_joint if joint else self._solve_z
        solver = self.config.solver.build(depth.evaluations, final_step=True)
        state, solution, calls, earlier = run(state, x, steps, solver, seeds)
        parts = [f"residual_{name}" for name in (self.names if joint else ("z",))]
        diagnostics = {
            "evaluations": solution.evaluations,
            "converged": solution.converged,
            "residual": solution.residual,
        } | dict(zip(parts, solution.part_residuals.unbind(1), strict=True))
        output = self.read(state, calls, diagnostics, earlier)
        if not joint or not torch.is_grad_enabled():  # what is kept without a graph keeps no x
            return output

        def jacobian(drawn: Tensor) -> Tensor:
            ends = output.state
            probe = tuple(normal(fold(drawn, i), w.shape[1:]) for i, w in enumerate(ends))
            return jacobian_energy(lambda w: self.cycle(w, x, steps, seeds, 0), ends, probe)

        return replace(output, jacobian=jacobian)

    def map_at(
        self, inputs: Tensor, puzzle_ids: Tensor, seeds: Tensor | None = None
    ) -> Callable[[State], State]:
        """F of these puzzles (B, cells), w to F(w), whose fixed point their segments seek.

        InputError where z alone is solved for: then no map of the whole state is.
        """
        if not self.config.has_map():
            raise InputError("solve_for z: no fixed point of the whole state is sought")
        x = self.embedding(inputs, puzzle_ids)
        return lambda w: self.cycle(w, x, self.config.inner_steps, seeds, 0)

    def _solve_joint(self, state: State, x: Tensor, steps: int, solver: Solver, seeds: Seeds):
        answers: list[Tensor] = []
        solving = True  # the backward pass may ask the map again, and is not listened to

        def update_of(rows: Tensor | slice) -> Callable[[State], State]:
            injection, drawn = x[rows], _rows(seeds, rows)

            def update(w: State) -> State:
                w = self.cycle(w, injection, steps, drawn, 0)
                if solving and torch.is_grad_enabled():
                    answers.append(w[0])
                return w

            return update

        solution = self._solved(update_of, state, solver)
        solving = False
        extra = self.config.gradient.evaluations(torch.is_grad_enabled())
        calls = (solution.evaluations + extra) * (steps + 1)
        earlier = answers[:-1]
        if self.config.gradient.build().through_solver:
            earlier = _besides(solution.value[0], answers)
        return solution.value, solution, calls, tuple(earlier)

    def _solve_z(self, state: State, x: Tensor, steps: int, solver: Solver, seeds: Seeds):
        y, z = state
        calls = evaluations = torch.zeros(x.shape[0], dtype=torch.int64, device=x.device)
        graph = torch.is_grad_enabled()
        solution: Solution
        for sweep in range(self.config.sweeps):
            attached = graph and sweep == self.config.sweeps - 1
            with torch.set_grad_enabled(attached):
                solution = self._solved(self._z_update_of(y + x, steps, seeds), z, solver)
                z = solution.value
                y = self.update(self.net, y, z, seeds, steps + sweep)
            extra = self.config.gradient.evaluations(attached)
            calls = calls + (solution.evaluations + extra) * steps + 1
            evaluations = evaluations + solution.evaluations
        return (y, z), replace(solution, evaluations=evaluations), calls, ()

    def _z_update_of(self, injection: Tensor, steps: int, seeds: Seeds) -> UpdateOf:
        def update_of(rows: Tensor | slice) -> Callable[[Tensor], Tensor]:
            given, drawn = injection[rows], _rows(seeds, rows)

            def update(z: Tensor) -> Tensor:
                for i in range(steps):
                    z = self.update(self.net, z, given, drawn, i)
                return z

            return update

        return update_of

    def _solved(self, update_of: UpdateOf, start: State | Tensor, solver: Solver) -> Solution:
        """The fixed point of the update, evaluated for the samples still active alone; a compiled
        net gets all of them each time, for every other number would be compiled anew."""
        restrict = None if is_compiled(self.net) else update_of
        gradient = self.config.gradient.build()
        return solve(update_of(slice(None)), start, solver, gradient, restrict)


def _besides(returned: Tensor, answers: Sequence[Tensor]) -> list[Tensor]:
    """The answers (B, ...) but for the one that each sample returned, which need not be its last:
    that one takes its place."""
    return [
        torch.where(per_sample((answer == returned).flatten(1).all(1), answer), answers[-1], answer)
        for answer in answers[:-1]
    ]


def _rows(seeds: Seeds, rows: Tensor | slice) -> Seeds:
    return None if seeds is None else seeds[rows]
