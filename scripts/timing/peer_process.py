"""The process of `peer_jax`, as a solver beside the others."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scripts.timing.peer_jax import SETTINGS, Question
from scripts.timing.peer_maps import Found, Problem

SAID = "said.txt"


class Ended(RuntimeError):
    """The process ended; the last that it said."""


class Failed(RuntimeError):
    """A question failed; why."""


@dataclass
class Jax:
    """optimistix' fixed-point iteration, a sample at a time under vmap, compiled; backward by its
    implicit adjoint with GMRES. What it is timed with is a question and an answer on a pipe."""

    process: subprocess.Popen
    folder: Path
    most: int
    adjoint: float
    files: dict[int, tuple[Problem, str]] = field(default_factory=dict)

    def solve(self, problem: Problem, tolerance: float) -> Found:
        out = self.folder / "found.npz"
        answer = self._ask(problem, tolerance, None, out)
        value = _read(out, [f"w{i}" for i in range(len(problem.start))])
        calls = max(answer["evaluations"])  # of the whole batch, until its last sample stops
        return Found(value, calls, calls * len(problem.x))

    def run(self, problem: Problem, tolerance: float) -> None:
        self._ask(problem, tolerance, None, None)

    def gradient(self, problem: Problem, tolerance: float) -> Tensor:
        out = self.folder / "found.npz"
        self._ask(problem, tolerance, self.adjoint, out)
        captured = [name for name in problem.module.arrays() if name not in SETTINGS]
        return torch.cat([part.flatten() for part in _read(out, ["x", *captured])])

    def _ask(
        self, problem: Problem, tolerance: float, adjoint: float | None, out: Path | None
    ) -> dict[str, Any]:
        asked: Question = {
            "problem": self._file(problem),
            "step": problem.step,
            "tolerance": tolerance,
            "most": self.most,
            "adjoint": adjoint,
            "out": None if out is None else str(out),
        }
        try:
            self.process.stdin.write(json.dumps(asked) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            lines = (self.folder / SAID).read_text().strip().splitlines() or ["it says nothing"]
            raise Ended(lines[-1])
        answer = json.loads(line)
        if "failed" in answer:
            raise Failed(answer["failed"])
        return answer

    def _file(self, problem: Problem) -> str:
        if id(problem) not in self.files:  # kept with the problem, so no other can have its id
            path = str(self.folder / f"{len(self.files)}.npz")
            np.savez(path, **problem.arrays())
            self.files[id(problem)] = problem, path
        return self.files[id(problem)][1]


@contextmanager
def started(peers: Path, most: int, adjoint: float) -> Iterator[Jax]:
    """The process, for as long as it is needed; most: evaluations; adjoint: tolerance of backward
    solves. Its files, and what it says on standard error, are temporary."""
    words = [sys.executable, "-m", "scripts.timing.peer_jax", str(peers)]
    options: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    flags = [os.environ.get("XLA_FLAGS", "")]
    if torch.get_num_threads() == 1:  # as many for all
        flags.append("--xla_cpu_multi_thread_eigen=false")
    options["env"] = os.environ | {"XLA_FLAGS": " ".join(flags).strip()}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="peers-")))
        log = stack.enter_context((folder / SAID).open("w"))
        process = stack.enter_context(subprocess.Popen(words, **options, stderr=log))
        yield Jax(process, folder, most, adjoint)


def _read(path: Path, names: Sequence[str]) -> tuple[Tensor, ...]:
    with np.load(path) as file:
        return tuple(torch.from_numpy(file[name]) for name in names)
