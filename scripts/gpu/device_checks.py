"""Whether a device computes what the CPU does: `python -m scripts.gpu.device_checks --json FILE`.

Errors are |a - b| / |b| over all numbers of a result, or over all gradients together.

* fp32 on the device against fp32 on the CPU: values and gradients of every model, to 1e-4.
* bf16 on the device against fp32 on the CPU: at most twice the error that bf16 makes on the CPU,
  the floor that this same run measures.
* The compiled net against the eager one, both on the device, to 1e-4.
* Every solver with every gradient of reasoning.fixed_point, in fp32 to 1e-4, in float64 to 1e-8.
* Attention, as the device chooses it and by every other path it has, against its definition in
  float64: to 1e-4 in fp32, in bf16 to twice the error of the CPU's bf16.

Solvers run to a fixed budget, so that rounding cannot change the number of evaluations. Every check
is written as it is made, the most certain first.
"""

import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.table import Table
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from reasoning.fixed_point import (
    Adjoint,
    Anderson,
    Neumann,
    OneStep,
    Phantom,
    Picard,
    Reversible,
    Unrolled,
    solve,
)
from reasoning.names import Device
from reasoning.nn.compilation import compile_nets
from reasoning.precision import autocast
from reasoning.supervision import Depth
from reasoning.training.distribution import choose_device
from reasoning.training.runs import environment, write_json
from scripts.models.grids import grid_shape
from scripts.models.lm_models import LANGUAGE_PRESETS, build_language_model
from scripts.models.lm_presets import language_preset
from scripts.models.presets import MODELS, build_model, preset
from scripts.terminal.console import Console
from scripts.terminal.guard import run_guarded
from scripts.timing.measures import asked, sudokus
from scripts.usage import parse

PUZZLE_PRESETS = tuple(f"{model}-mini" for model in MODELS)
PUBLISHED_PRESETS = ("attractor-7m", "trm-mlp-speed-7m")
LANGUAGE_MINI = tuple(name for name in LANGUAGE_PRESETS if name.endswith("-mini"))
COMPILED = ("attractor-mini", "trm-mlp-mini", "attractor-axial-mini", "attractor-mini (text)")
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


def difference(measured: Numbers, expected: Numbers) -> float:
    """|found - expected| / |expected| over all numbers, in float64 on the CPU."""
    a, b = (
        torch.cat([t.detach().cpu().double().flatten() for t in x]) for x in (measured, expected)
    )
    return float((a - b).norm() / b.norm())


def _puzzle_numbers(
    model: nn.Module, device: torch.device, precision: str, batch: int
) -> tuple[Numbers, Numbers]:
    """Values of one segment and the gradients of their fixed random combination.

    model: moved to the device, in training mode. precision: of autocast. batch: sudokus of 9x9.
    """
    puzzles = sudokus(9, batch)
    model = model.to(device).train()
    model.zero_grad()
    questions, ids = asked(puzzles, device)
    with autocast(device, precision):
        output = model.segment(model.initial_state(batch), questions, ids, Depth())
    values = [output.logits, output.q, *(part.float() for part in output.state)]
    return values, _gradients(model, values[:2])


def _language_numbers(
    model: nn.Module, device: torch.device, precision: str, batch: int
) -> tuple[Numbers, Numbers]:
    """Logits and the gradients of their fixed random combination.

    model: moved to the device, in evaluation mode. precision: of autocast. batch: documents of 32
    random tokens.
    """
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
    for name in LANGUAGE_MINI:
        model = _settled(language_preset(name).model)
        yield f"{name} (text)", lambda m=model: build_language_model(m, 257, 0), _language_numbers


def model_checks(device: torch.device, full: bool) -> Iterator[Check]:
    """Every model in fp32 and bf16 against the CPU."""
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


def compiled_checks(device: torch.device) -> Iterator[Check]:
    """The compiled net against the eager one, in fp32."""
    for name, build, numbers in _models(full=False):
        if name not in COMPILED:
            continue
        eager = numbers(build(), device, "fp32", 4)
        model = build()
        compile_nets(model.blocks() if hasattr(model, "blocks") else model.nets())
        fast = numbers(model, device, "fp32", 4)
        for i, what in enumerate(("values", "gradients")):
            yield Check(f"{name}: {what}, compiled", difference(fast[i], eager[i]), _FP32)


def attention_checks(device: torch.device) -> Iterator[Check]:
    """Attention with its gradients by every path that the device has, causal and not."""
    cpu = torch.device("cpu")
    for causal in (False, True):
        exact = _attention(cpu, torch.float64, causal, _by_definition)
        rough = _attention(cpu, torch.bfloat16, causal, scaled_dot_product_attention)
        floors = {torch.float32: _FP32, torch.bfloat16: _TIMES_FLOOR * difference(rough, exact)}
        for dtype, limit in floors.items():
            for path, attend in _paths(device, dtype, causal).items():
                measured = _attention(device, dtype, causal, attend)
                label = f"attention, {'causal, ' if causal else ''}{_short(dtype)}, {path}"
                yield Check(label, difference(measured, exact), limit)


def _paths(device: torch.device, dtype: torch.dtype, causal: bool) -> dict[str, Callable]:
    """Attention as the device chooses it, and by each backend that takes these shapes."""
    kernels: dict[str, Callable] = {"as chosen": scaled_dot_product_attention}
    for name, backend in SDPBackend.__members__.items():

        def attend(q, k, v, is_causal, backend=backend):
            """`scaled_dot_product_attention` of q, k and v (B, H, S, K), causal where is_causal;
            backend: that of this turn of the loop."""
            with sdpa_kernel(backend):
                return scaled_dot_product_attention(q, k, v, is_causal=is_causal)

        try:
            _attention(device, dtype, causal, attend)
        except RuntimeError:  # how torch says that a backend does not serve these tensors
            continue
        kernels[name.lower().replace("_", " ")] = attend
    return kernels


def _by_definition(q: Tensor, k: Tensor, v: Tensor, is_causal: bool) -> Tensor:
    """softmax(q k' / sqrt(d)) v; where is_causal, no query sees a later key."""
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    if is_causal:
        seen = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril()
        scores = scores.masked_fill(~seen, -math.inf)
    return scores.softmax(-1) @ v


def _attention(
    device: torch.device, dtype: torch.dtype, causal: bool, attend: Callable[..., Tensor]
) -> Numbers:
    """Value and gradients of attention over 128 tokens, 4 heads of 64, of fixed numbers in bf16.

    device, dtype: where and in what attend(q, k, v, is_causal=causal) computes.
    """
    draw = torch.Generator().manual_seed(0)
    qkv = torch.randn(3, 2, 4, 128, 64, generator=draw).bfloat16()
    q, k, v = (part.to(device, dtype).requires_grad_() for part in qkv)
    value = attend(q, k, v, is_causal=causal)
    weights = torch.randn(value.shape, generator=draw).to(value)
    (weights * value).sum().backward()
    return [value, q.grad, k.grad, v.grad]


def _short(dtype: torch.dtype) -> str:
    return {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float64: "fp64"}[dtype]


def gradient_checks(device: torch.device) -> Iterator[Check]:
    """Every solver with every gradient: parameters' gradients against the CPU's."""
    for dtype, limit, tolerance in ((torch.float32, _FP32, 1e-6), (torch.float64, _FP64, 1e-13)):
        budgets = {"tolerance": tolerance, "max_evaluations": 60}
        for solver in (Anderson(**budgets), Picard(**budgets, damping=0.9)):
            adjoint = Adjoint(type(solver)(**budgets))
            gradients = OneStep(), Neumann(3), Phantom(3, 0.5), Reversible(3), Unrolled()
            for gradient in (adjoint, *gradients):
                measured, expected = (
                    _implicit(solver, gradient, dtype, place)
                    for place in (device, torch.device("cpu"))
                )
                names = type(solver).__name__, type(gradient).__name__
                label = f"{' + '.join(names)}, {_short(dtype)}"
                yield Check(label, difference(measured, expected), limit)
    measured, expected = (_many(place) for place in (device, torch.device("cpu")))
    yield Check(f"Anderson, {_MANY:,} samples", difference(measured, expected), _FP32)


def _many(device: torch.device) -> Numbers:
    """A language model's tokens are that many samples: more than some batched kernels take."""
    draw = torch.Generator().manual_seed(0)
    b = torch.randn(_MANY, 4, generator=draw).to(device)
    solver = Anderson(tolerance=1e-6, max_evaluations=8, min_evaluations=8)
    return [solve(lambda z: 0.5 * torch.tanh(z + b), torch.zeros_like(b), solver, OneStep()).value]


def _implicit(solver: Any, gradient: Any, dtype: torch.dtype, device: torch.device) -> Numbers:
    """Value and gradients of a joint contraction: two states that feed one another.

    solver, gradient: the configs under test. dtype, device: in what and where it is solved.
    """
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


def groups(device: torch.device, toy: bool) -> dict[str, Iterator[Check]]:
    """All checks by group, the most certain first; a toy leaves out the published sizes and what
    is compiled."""
    by_name = {"gradients": gradient_checks(device), "attention": attention_checks(device)}
    by_name["models"] = model_checks(device, full=not toy)
    return by_name if toy else by_name | {"compiled": compiled_checks(device)}


def check(
    json: Path,
    device: Device = "auto",
    toy: bool = False,
    seconds: float | None = None,
) -> None:
    """Compare a device with the CPU; exit code 1 if anything differs by more than it may.

    Args:
        json: file for the errors, written after every check.
        device: which; auto: the best present.
        toy: without models of the published sizes and compiled nets.
        seconds: begin no check after so many; none: make them all.
    """
    chosen = choose_device(device)
    end = math.inf if seconds is None else time.monotonic() + seconds
    record = {"environment": environment(), "device": str(chosen), "complete": False}
    rows: list[dict[str, Any]] = []
    for group, checks in groups(chosen, toy).items():
        for row in rows_of(group, checks):
            rows.append(row)
            write_json(json, record | {"checks": rows})
            if time.monotonic() > end:
                break
        if time.monotonic() > end:
            break
    else:
        record["complete"] = True
    write_json(json, record | {"checks": rows})
    report(rows, f"{chosen} against the CPU")


def rows_of(group: str, checks: Iterator[Check]) -> Iterator[dict[str, Any]]:
    """A group's checks for a record, NaN as None, which JSON has. What raises ends its group as a
    check that failed, and the others go on."""
    try:
        for check in checks:
            error = check.error if math.isfinite(check.error) else None
            yield {"group": group} | asdict(check) | {"error": error, "passed": check.passed}
    except Exception as error:
        name = f"{group}: {described(error)}"
        yield {"group": group, "name": name, "error": None, "limit": 0.0, "passed": False}


def described(error: Exception) -> str:
    """An exception in a line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]


def report(rows: list[dict[str, Any]], title: str) -> None:
    """Print a table of checks; SystemExit(1) if one failed."""
    failed = sum(not row["passed"] for row in rows)
    table = Table(title=f"{title}: {len(rows)} checks, {failed} failed")
    for heading in ("", "error", "limit", ""):
        table.add_column(heading, justify="right" if heading else "left")
    for row in rows:
        error = "no number" if row["error"] is None else f"{row['error']:.1e}"
        verdict = "" if row["passed"] else "FAILED"
        table.add_row(row["name"], error, f"{row['limit']:.1e}", verdict)
    Console(width=100).print(table)
    if failed:
        raise SystemExit(1)


def main(words: Sequence[str]) -> int:
    parse(check, words, "python -m scripts.gpu.device_checks")()
    return 0


if __name__ == "__main__":
    sys.exit(run_guarded(main, sys.argv[1:]))
