"""What `loopbench bench --parts peers` measures: fixed-point solvers of others beside ours.

The same maps, starts, tolerances and budget for all: torchdeq in this process, jax optimistix in
one of its own, all timed by turns. Whether a sample is within the tolerance is not taken from its
solver's word: the residual of what it returns is computed anew, in float64.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from reasoning.fixed_point import Adjoint, Anderson, OneStep, Picard, solve
from scripts.timing.clocks import Clock, Timing, Work
from scripts.timing.measures import Record
from scripts.timing.peer_folder import Peers
from scripts.timing.peer_jax import directions
from scripts.timing.peer_maps import Found, Map, Problem, Tensors, linear, problems, sizes
from scripts.timing.peer_process import Ended, Failed, Jax, started

OURS = "ours:"
BUDGET = 64  # most evaluations of the map, and of products with J^T
TOLERANCES = (1e-3, 1e-5)
ADJOINT = 1e-6  # tolerance of the backward solves: torchdeq's default
# A residual is measured in fp32 by its solver, and here in float64 of the state it returned.
_ROUNDING = 1.05
_ALONE = 2  # samples that are solved again without their batch-mates
_GRADIENTS = 2  # samples of which gradients are taken, at most
_FEWEST, _MOST = 64, 256  # steps of the gradient that others are compared with
_FIRM = 1e-6  # most that it may change by half as many steps


class Solver(Protocol):
    """A solver that is compared, on any problem and to any tolerance."""

    def solve(self, problem: Problem, tolerance: float) -> Found: ...

    def run(self, problem: Problem, tolerance: float) -> None:
        """A solve whose result is not asked for."""
        ...

    def gradient(self, problem: Problem, tolerance: float) -> Tensor:
        """Of sum(w v), v = directions(w), by x and by what the map captures, joined (N,)."""
        ...


class _Counted:
    """A problem's map, which counts what it is given."""

    def __init__(self, problem: Problem):
        self.problem, self.calls, self.rows = problem, 0, 0

    def of(self, rows: Tensor | slice) -> Map:
        f = self.problem.of(rows)

        def counted(w: Tensors) -> Tensors:
            self.calls += 1
            self.rows += len(w[0])
            return f(w)

        return counted

    def outcome(self, value: Tensors) -> Found:
        return Found(value, self.calls, self.rows)


class _Here:
    """A solver of this process."""

    def run(self, problem: Problem, tolerance: float) -> None:
        self.solve(problem, tolerance)


@dataclass(frozen=True)
class Ours(_Here):
    """Ours as the Attractor calls it: samples at rest leave the batch."""

    kind: type[Anderson | Picard]

    def solver(self, problem: Problem, tolerance: float) -> Anderson | Picard:
        step = "mixing" if self.kind is Anderson else "damping"
        return self.kind(tolerance, BUDGET, **{step: problem.step})

    def solve(self, problem: Problem, tolerance: float) -> Found:
        counted, solver = _Counted(problem), self.solver(problem, tolerance)
        with torch.no_grad():
            solution = solve(counted.of(slice(None)), problem.start, solver, OneStep(), counted.of)
        return counted.outcome(solution.value)

    def gradient(self, problem: Problem, tolerance: float) -> Tensor:
        solver, adjoint = self.solver(problem, tolerance), Adjoint(self.solver(problem, ADJOINT))

        def value(problem: Problem) -> Tensors:
            return solve(problem.of(slice(None)), problem.start, solver, adjoint, problem.of).value

        return _gradient(problem, value)


@dataclass(frozen=True)
class Torchdeq(_Here):
    """One of torchdeq's, by its public entry; backward solves have no damping there."""

    name: str

    def deq(self, tolerance: float) -> nn.Module:
        from torchdeq import get_deq

        return get_deq(
            f_solver=self.name,
            f_max_iter=BUDGET,
            f_tol=tolerance,
            f_stop_mode="rel",
            ift=True,
            b_solver=self.name,
            b_max_iter=BUDGET,
            b_tol=ADJOINT,
            b_stop_mode="rel",
        )

    def value(self, deq: nn.Module, f: Map, problem: Problem) -> Tensors:
        step = {} if self.name == "broyden" else {"tau": problem.step}
        values, _ = deq(lambda *w: f(w), problem.start, solver_kwargs=step)
        return tuple(values[-1])

    def solve(self, problem: Problem, tolerance: float) -> Found:
        counted = _Counted(problem)
        with torch.no_grad():
            value = self.value(self.deq(tolerance).eval(), counted.of(slice(None)), problem)
        return counted.outcome(value)

    def gradient(self, problem: Problem, tolerance: float) -> Tensor:
        def value(problem: Problem) -> Tensors:
            return self.value(self.deq(tolerance).train(), problem.of(slice(None)), problem)

        return _gradient(problem, value)


def _gradient(problem: Problem, value: Callable[[Problem], Tensors]) -> Tensor:
    """See Solver.gradient, of a solution `value` of the problem with a graph."""
    x = problem.x.detach().clone().requires_grad_()
    w = value(replace(problem, x=x))
    loss = sum(
        (part * torch.from_numpy(v).to(part)).sum()
        for part, v in zip(w, directions(w), strict=True)
    )
    parts = torch.autograd.grad(loss, [x, *problem.module.captured()])
    return torch.cat([part.flatten() for part in parts])


def firm(problem: Problem) -> tuple[Problem, Tensor] | None:
    """A few samples of the problem and their gradient in float64: backpropagation through steps
    from the fixed point, so many that half as many give the same. None without such samples."""
    wide = problem.rows(slice(_GRADIENTS)).double()
    solver = Anderson(1e-12, 8 * BUDGET, mixing=problem.step)
    with torch.no_grad():
        solution = solve(wide.of(slice(None)), wide.start, solver, OneStep(), wide.of)
    rows, kept = solution.converged.nonzero().squeeze(1), []
    steps, fewer = _FEWEST, None
    while len(rows) and steps <= _MOST:
        by_x = _unrolled(wide, solution.value, rows, steps, by_x_alone=True)
        if fewer is not None:
            same = (by_x - fewer).norm(dim=1) < _FIRM * by_x.norm(dim=1)
            kept, rows, by_x = [*kept, *rows[same]], rows[~same], by_x[~same]
        steps, fewer = 2 * steps, by_x
    if not kept:
        return None
    chosen = torch.stack(kept).sort().values
    return problem.rows(chosen), _unrolled(wide, solution.value, chosen, steps // 2)


def _unrolled(
    problem: Problem, solution: Tensors, rows: Tensor, steps: int, by_x_alone: bool = False
) -> Tensor:
    """The gradient of these rows of a problem, through steps from its solution that keep their
    states alone; by_x_alone: (A, ...), of x; else of all parameters, flat."""
    start = tuple(part[rows] for part in solution)

    def value(problem: Problem) -> Tensors:
        f, w = problem.of(slice(None)), start
        for _ in range(steps):
            image = checkpoint(f, w, use_reentrant=False)
            w = tuple(torch.lerp(a, b, problem.step) for a, b in zip(w, image, strict=True))
        return w

    chosen = problem.rows(rows)
    gradient = _gradient(chosen, value)
    return gradient[: chosen.x.numel()].view(len(rows), -1) if by_x_alone else gradient


def _apart(gradient: Tensor, reference: Tensor) -> float:
    """Relative distance."""
    return float((gradient.double() - reference).norm() / reference.norm())


def coupling(solver: Solver, problem: Problem, tolerance: float) -> float:
    """The largest relative change of a sample's solution, in float64, when it is solved without
    its batch-mates."""
    wide = problem.double()
    together = solver.solve(wide, tolerance).value
    worst = 0.0
    for i in range(min(_ALONE, len(wide.x))):
        row = slice(i, i + 1)
        alone = solver.solve(wide.rows(row), tolerance).value
        change = tuple(a - b[row] for a, b in zip(alone, together, strict=True))
        worst = max(worst, float(sizes(change) / sizes(alone)))
    return worst


def solvers(jax: Jax | None) -> dict[str, Solver]:
    """All that are compared, by name."""
    by_name: dict[str, Solver] = {
        f"{OURS} Anderson": Ours(Anderson),
        f"{OURS} Picard": Ours(Picard),
    }
    for name in ("anderson", "broyden", "fixed_point_iter"):
        by_name[f"torchdeq {name}"] = Torchdeq(name)
    if jax is not None:
        by_name["optimistix fixed point"] = jax
    return by_name


def compare(packages: Peers, clock: Clock, batch: int) -> Iterator[Record]:
    """A record for every map, tolerance and solver; see compare_on."""
    with ExitStack() as stack:
        jax = None if "optimistix" in packages.missing else _optimistix(packages, stack)
        for problem in problems(batch, clock.device):
            rivals = solvers(jax if problem.arrays() is not None else None)
            yield from compare_on(problem, rivals, clock)


def _optimistix(packages: Peers, stack: ExitStack) -> Jax | None:
    """Its process; None, noted among the missing, if it cannot solve a small problem."""
    jax = stack.enter_context(started(packages.folder, BUDGET, ADJOINT))
    try:
        jax.solve(linear(1, torch.device("cpu")), TOLERANCES[0])
    except (Ended, Failed) as error:
        packages.missing["optimistix"] = f"it does not work here ({error})"
        warnings.warn(f"peers: without optimistix: {error}", stacklevel=2)
        return None
    return jax


def compare_on(problem: Problem, rivals: Mapping[str, Solver], clock: Clock) -> Iterator[Record]:
    """A record for every tolerance and solver.

    reached: share of samples within the tolerance; evaluations: samples given to the map, in
    batches. Where a sample is within the tolerance, also seconds of a solve; times_ours, these over
    the least of ours that reached as many, or None; batch_change (`coupling`); and where the
    fixed points have a firm gradient, gradient_seconds of a solve with its gradient and
    gradient_error, relative, both of `gradients` samples.
    """
    reference = firm(problem)
    for tolerance in TOLERANCES:
        records = {name: _solved(problem, rival, tolerance) for name, rival in rivals.items()}
        at = {name: rivals[name] for name, record in records.items() if record["reached"]}
        runs = {n: partial(rival.run, problem, tolerance) for n, rival in at.items()}
        for name, timing in _timed(clock, runs).items():
            records[name] |= {"seconds": timing.median, "rounds": timing.rounds}
            records[name]["batch_change"] = coupling(at[name], problem, tolerance)
        if reference is not None:
            few, true = reference
            runs = {n: partial(rival.gradient, few, tolerance) for n, rival in at.items()}
            for name, run in list(runs.items()):
                try:
                    error = {"gradients": len(few.x), "gradient_error": _apart(run(), true)}
                except Failed as failure:
                    error = {"gradient_failed": str(failure)}
                    del runs[name]
                records[name] |= error
            for name, timing in _timed(clock, runs).items():
                records[name]["gradient_seconds"] = timing.median
        for name, record in records.items():
            if "seconds" in record:
                record["times_ours"] = _times_ours(record, records)
            yield {"map": problem.name, "solver": name, "tolerance": tolerance} | record


def _solved(problem: Problem, solver: Solver, tolerance: float) -> Record:
    answer = solver.solve(problem, tolerance)
    residuals = problem.residuals(answer.value)
    batch = len(problem.x)
    return {
        "batch": batch,
        "reached": float((residuals <= _ROUNDING * tolerance).double().mean()),
        "largest_residual": float(residuals.max()),
        "evaluations": answer.rows / batch,
        "calls": answer.calls,
    }


def _timed(clock: Clock, runs: Mapping[str, Work]) -> dict[str, Timing]:
    return clock.compare(runs) if runs else {}


def _times_ours(record: Record, records: Mapping[str, Record]) -> float | None:
    mine = [
        other["seconds"]
        for name, other in records.items()
        if name.startswith(OURS) and other["reached"] >= record["reached"] > 0
    ]
    return record["seconds"] / min(mine) if mine else None
