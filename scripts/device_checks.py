"""Whether a device computes what the CPU does: `python -m scripts.device_checks --json FILE`.

Errors are |a - b| / |b| over all numbers of a result, or over all gradients together.

* fp32 on the device against fp32 on the CPU: values and gradients of every model, to 1e-4.
* bf16 on the device against fp32 on the CPU: at most twice the error that bf16 makes on the CPU,
  the floor that this same run measures.
* The compiled net against the eager one, both on the device, to 1e-4.
* Every solver with every gradient of reasoning.fixed_point, in fp32 to 1e-4, in float64 to 1e-8.

Solvers run to a fixed budget, so that rounding cannot change the number of evaluations.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from reasoning.fixed_point import (
    Adjoint,
    Anderson,
    Neumann,
    OneStep,
    Phantom,
    Picard,
    Unrolled,
    solve,
)
from reasoning.nn.compilation import compile_nets
from reasoning.supervision import Depth
from reasoning.training.distribution import choose_device
from reasoning.training.evaluation import autocast
from reasoning.training.runs import environment, write_json
from scripts.cli import run_guarded
from scripts.lm_models import build_language_model
from scripts.lm_presets import language_preset
from scripts.measures import sudokus
from scripts.presets import build_model, preset
from scripts.session import grid_shape
from scripts.usage import parse

PUZZLE_PRESETS = ("attractor-mini", "trm-mini", "trm-mlp-mini", "hrm-mini", "attractor-speed-mini")
PUBLISHED_PRESETS = ("attractor-7m", "trm-mlp-speed-7m")
LANGUAGE_PRESETS = ("attractor-mini", "parcae-mini", "deq-mini")
_FP32, _FP64, _TIMES_FLOOR = 1e-4, 1e-8, 2.0
_CYCLES = 2
_MANY = 32 * 2048 + 1

Numbers = list[Tensor]


@dataclass(frozen=True)
class Check:
    """One comparison: its error and the most it may be."""

    name: str
    error: float
    limit: float

    @property
    def passed(self) -> bool:
        return self.error <= self.limit  # False for NaN


def difference(found: Numbers, expected: Numbers) -> float:
    """|found - expected| / |expected| over all numbers, in float64 on the CPU."""
    a, b = (torch.cat([t.detach().cpu().double().flatten() for t in x]) for x in (found, expected))
    return float((a - b).norm() / b.norm())


def _puzzle_numbers(
    model: nn.Module, device: torch.device, precision: str, batch: int
) -> tuple[Numbers, Numbers]:
    """Values of one segment and the gradients of their fixed random combination."""
    puzzles = sudokus(9, batch)
    model = model.to(device).train()
    model.zero_grad()
    questions = torch.from_numpy(puzzles.inputs).to(device, torch.int64)
    ids = torch.from_numpy(puzzles.puzzle_ids).to(device, torch.int64)
    with autocast(device, precision):
        output = model.segment(model.initial_state(batch), questions, ids, Depth())
    values = [output.logits, output.q, *(part.float() for part in output.state)]
    return values, _gradients(model, values[:2])


def _language_numbers(
    model: nn.Module, device: torch.device, precision: str, batch: int
) -> tuple[Numbers, Numbers]:
    """Logits and the gradients of their fixed random combination."""
    draw = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, model.vocabulary, (batch, 32), generator=draw)
    model = model.to(device).eval()
    model.zero_grad()
    with autocast(device, precision):
        logits = model(tokens.to(device)).logits
    return [logits], _gradients(model, [logits])


def _gradients(model: nn.Module, values: Numbers) -> Numbers:
    draw = torch.Generator().manual_seed(1)
    weights = [torch.randn(v.shape, generator=draw).to(v) for v in values]
    sum((w * v).mean() for w, v in zip(weights, values, strict=True)).backward()
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


def _settled(config: Any) -> Any:
    """A model's configuration with a solver of a fixed budget, where it has one, and two cycles at
    most: over the speed recipe's 60 calls, correct fp32 results come to differ by 1e-4."""
    if getattr(config, "cycles", 0) > _CYCLES:
        config = config.model_copy(update={"cycles": _CYCLES})
    if not hasattr(config, "solver"):
        return config
    fixed = {"tolerance": 1e-30, "max_evaluations": 3, "min_evaluations": 3}
    return config.model_copy(update={"solver": config.solver.model_copy(update=fixed)})


def _models(full: bool) -> Iterator[tuple[str, Callable[[], nn.Module], Callable]]:
    shape = grid_shape(sudokus(9, 1))
    for name in PUZZLE_PRESETS + (PUBLISHED_PRESETS if full else ()):
        config = preset(name)
        config = config.model_copy(update={"model": _settled(config.model)})
        yield name, lambda c=config: build_model(c, shape), _puzzle_numbers
    for name in LANGUAGE_PRESETS:
        model = _settled(language_preset(name).model)
        yield f"{name} (text)", lambda m=model: build_language_model(m, 257, 0), _language_numbers


def model_checks(device: torch.device, full: bool, compiled: bool) -> Iterator[Check]:
    """Every model in fp32 and bf16 against the CPU; compiled against eager."""
    cpu, batch = torch.device("cpu"), 4
    for name, build, numbers in _models(full):
        exact = numbers(build(), cpu, "fp32", batch)
        rough = numbers(build(), cpu, "bf16", batch)
        here = numbers(build(), device, "fp32", batch)
        half = numbers(build(), device, "bf16", batch)
        for i, what in enumerate(("values", "gradients")):
            yield Check(f"{name}: {what}, fp32", difference(here[i], exact[i]), _FP32)
            floor = difference(rough[i], exact[i])
            error = difference(half[i], exact[i])
            yield Check(f"{name}: {what}, bf16", error, _TIMES_FLOOR * floor)
        if compiled and name in ("attractor-mini", "trm-mlp-mini", "attractor-mini (text)"):
            model = build()
            compile_nets(model.blocks() if hasattr(model, "blocks") else model.nets())
            fast = numbers(model, device, "fp32", batch)
            for i, what in enumerate(("values", "gradients")):
                yield Check(f"{name}: {what}, compiled", difference(fast[i], here[i]), _FP32)


def gradient_checks(device: torch.device) -> Iterator[Check]:
    """Every solver with every gradient: parameters' gradients against the CPU's."""
    for dtype, limit, tolerance in ((torch.float32, _FP32, 1e-6), (torch.float64, _FP64, 1e-13)):
        budgets = {"tolerance": tolerance, "max_evaluations": 60}
        for solver in (Anderson(**budgets), Picard(**budgets, damping=0.9)):
            adjoint = Adjoint(type(solver)(**budgets))
            for gradient in (OneStep(), Neumann(3), adjoint, Phantom(3, 0.5), Unrolled()):
                found, expected = (
                    _implicit(solver, gradient, dtype, place)
                    for place in (device, torch.device("cpu"))
                )
                names = type(solver).__name__, type(gradient).__name__
                label = f"{' + '.join(names)}, {str(dtype).removeprefix('torch.')}"
                yield Check(label, difference(found, expected), limit)
    found, expected = (_many(place) for place in (device, torch.device("cpu")))
    yield Check(f"Anderson, {_MANY:,} samples", difference(found, expected), _FP32)


def _many(device: torch.device) -> Numbers:
    """A language model's tokens are that many samples: more than some batched kernels take."""
    draw = torch.Generator().manual_seed(0)
    b = torch.randn(_MANY, 4, generator=draw).to(device)
    solver = Anderson(tolerance=1e-6, max_evaluations=8, min_evaluations=8)
    return [solve(lambda z: 0.5 * torch.tanh(z + b), torch.zeros_like(b), solver, OneStep()).value]


def _implicit(solver: Any, gradient: Any, dtype: torch.dtype, device: torch.device) -> Numbers:
    """Value and gradients of a joint contraction: two states that feed one another."""
    draw = torch.Generator().manual_seed(0)
    a = 0.5 * torch.linalg.qr(torch.randn(2, 16, 16, generator=draw, dtype=torch.float64))[0]
    b, v = torch.randn(2, 4, 16, generator=draw, dtype=torch.float64)
    a, b = (t.to(device, dtype).requires_grad_() for t in (a, b))

    def f(w: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        y, z = w
        return torch.tanh(z @ a[0] + b), torch.tanh(y @ a[1] - b)

    start = (torch.zeros_like(b.detach()), torch.ones_like(b.detach()))
    y, z = solve(f, start, solver, gradient).value
    (v.to(y) * (y + z)).sum().backward()
    return [y, z, a.grad, b.grad]


def check(
    json: Path,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    full: bool = True,
    compiled: bool = True,
) -> None:
    """Compare a device with the CPU; exit code 1 if anything differs by more than it may.

    Args:
        json: file for the errors.
        device: which; auto: the best present.
        full: also models of the published sizes.
        compiled: also compiled nets.
    """
    chosen, console = choose_device(device), Console(width=100)
    checks = [*gradient_checks(chosen), *model_checks(chosen, full, compiled)]
    failed = [c for c in checks if not c.passed]
    record = [asdict(c) | {"passed": c.passed} for c in checks]
    for row in record:
        row["error"] = row["error"] if row["error"] == row["error"] else None  # NaN has no JSON
    write_json(json, {"environment": environment(), "device": str(chosen), "checks": record})
    table = Table(title=f"{chosen} against the CPU: {len(checks)} checks, {len(failed)} failed")
    for heading in ("", "error", "limit", ""):
        table.add_column(heading, justify="right" if heading else "left")
    for c in checks:
        table.add_row(c.name, f"{c.error:.1e}", f"{c.limit:.1e}", "" if c.passed else "FAILED")
    console.print(table)
    if failed:
        raise SystemExit(1)


def main(words: Sequence[str]) -> int:
    parse(check, words, "python -m scripts.device_checks")()
    return 0


if __name__ == "__main__":
    sys.exit(run_guarded(main, sys.argv[1:]))
