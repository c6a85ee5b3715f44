"""jax optimistix as a process of its own, which is asked for solves line by line.

    python -m scripts.timing.peer_jax PEERS

A line of standard input is a question, a line of standard output its answer. Nothing of torch is
imported here, and jax is found in the folder PEERS. The maps are those of `peer_maps`, written for
any module of arrays with numpy's names.
"""

import json
import sys
from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np

Arrays = dict[str, Any]
State = tuple[Any, ...]


class Question(TypedDict):
    """Solve a problem; the answer holds the evaluations of each sample, none where a gradient is
    asked for; or why it `failed`.

    problem: a file (.npz): x, the start w0, w1, ..., the map's `kind` and what it captures;
    step: the new's share of a step; tolerance: of the root mean square step; most: evaluations;
    adjoint: tolerance of the backward solve, for the gradient of sum(w v), v = directions(w);
        None: no gradient;
    out: file for what was found, w0, w1, ..., or the gradients by name; None: none.
    """

    problem: str
    step: float
    tolerance: float
    most: int
    adjoint: float | None
    out: str | None


def rms_norm(x: Any, xp: Any, axis: int = -1) -> Any:
    return x / xp.sqrt((x * x).mean(axis, keepdims=True) + 1e-5)


def swiglu(x: Any, up: Any, down: Any, xp: Any) -> Any:
    """Of rows x (..., D), with up (2 I, D), the gate's weights before the value's, and down (D, I);
    xp: the module of arrays."""
    gate, value = xp.split(x @ up.T, 2, axis=-1)
    return (gate / (1 + xp.exp(-gate)) * value) @ down.T


def net(h: Any, given: Arrays, xp: Any) -> Any:
    """A stack of post-norm blocks that mix tokens by a SwiGLU, without the batch axis: (L, D)."""
    axis = 0 if given["token_norm"] else -1
    for i in range(int(given["layers"])):
        mix = swiglu(h.T, given[f"mix_up{i}"], given[f"mix_down{i}"], xp).T
        h = rms_norm(h + mix, xp, axis)
        h = rms_norm(h + swiglu(h, given[f"up{i}"], given[f"down{i}"], xp), xp)
    return h


def cycle(w: State, x: Any, given: Arrays, xp: Any) -> State:
    """The Attractor's map: w = (y, z) and x, the embedded puzzle, each (L, D); given: the net's
    weights and settings, `steps` of z among them; xp: the module of arrays."""
    y, z = w
    for _ in range(int(given["steps"])):
        z = net(z + y + x, given, xp)
    return net(y + z, given, xp), z


def linear(w: State, x: Any, given: Arrays, xp: Any) -> State:
    """w A + x, of w = (w0,) and x, each (..., D); given: A (D, D) as `weight`; xp: not needed here,
    the maps are called alike."""
    return (w[0] @ given["weight"] + x,)


MAPS = {"linear": linear, "cycle": cycle}
SETTINGS = ("kind", "layers", "steps", "token_norm")


class Problem:
    """A problem's arrays, and the solver compiled for every question once."""

    def __init__(self, path: str):
        with np.load(path) as file:
            loaded = {name: file[name] for name in file.files}
        self.settings = {name: loaded.pop(name).item() for name in SETTINGS if name in loaded}
        self.x = loaded.pop("x")
        names = sorted(name for name in loaded if name[0] == "w" and name[1:].isdigit())
        self.start = tuple(loaded.pop(name) for name in names)
        self.weights = loaded
        self.compiled: dict[str, Any] = {}

    def answer(self, asked: Question) -> dict[str, Any]:
        import jax

        key = json.dumps({**asked, "out": None})
        if key not in self.compiled:
            self.compiled[key] = self.compile(asked)
        with jax.enable_x64(self.x.dtype == np.float64):  # else a solve in fp32 mixes with float64
            result = jax.block_until_ready(self.compiled[key](self.weights, self.x))
        if asked["adjoint"] is None:
            value, evaluations = result
            kept = {f"w{i}": part for i, part in enumerate(value)}
        else:
            kept, evaluations = {**result[0], "x": result[1]}, []
        if asked["out"] is not None:
            np.savez(asked["out"], **{name: np.asarray(part) for name, part in kept.items()})
        return {"evaluations": np.asarray(evaluations).tolist()}

    def compile(self, asked: Question) -> Any:
        """(weights, x) to (solution, evaluations), or to the gradients by both."""
        import jax
        import jax.numpy as jnp
        import lineax
        import optimistix

        f, start = MAPS[self.settings["kind"]], self.start
        solver = optimistix.FixedPointIteration(
            rtol=0.0, atol=asked["tolerance"], norm=optimistix.rms_norm, damp=1 - asked["step"]
        )
        # By norms, as everywhere else: by entries, fp32 cannot reach 1e-6 of one that is near 0.
        inverse = lineax.GMRES(
            rtol=0.0,
            atol=asked["adjoint"] or 1.0,
            norm=optimistix.rms_norm,
            restart=asked["most"],
            stagnation_iters=asked["most"],
        )

        def solve(weights: Arrays, x: Any, start: State) -> tuple[State, Any]:
            solution = optimistix.fixed_point(
                lambda w, given: f(w, given[0], {**self.settings, **given[1]}, jnp),
                solver,
                start,
                args=(x, weights),
                max_steps=asked["most"],
                adjoint=optimistix.ImplicitAdjoint(linear_solver=inverse),
                throw=False,
            )
            return solution.value, solution.stats["num_steps"]

        def solved(weights: Arrays, x: Any) -> tuple[State, Any]:
            return jax.vmap(solve, (None, 0, 0))(weights, x, start)

        def loss(weights: Arrays, x: Any) -> Any:
            solution, _ = solved(weights, x)
            return sum(
                (part * v).sum() for part, v in zip(solution, directions(solution), strict=True)
            )

        return jax.jit(solved if asked["adjoint"] is None else jax.grad(loss, (0, 1)))


def directions(state: Sequence[Any]) -> list[np.ndarray]:
    """Random arrays of the state's shapes, the same in every process; fp32 numbers."""
    draw = np.random.default_rng(0)
    return [draw.standard_normal(tuple(part.shape), dtype=np.float32) for part in state]


def main() -> None:
    sys.path.append(sys.argv[1])
    problems: dict[str, Problem] = {}
    for line in sys.stdin:
        asked: Question = json.loads(line)
        path = asked["problem"]
        if path not in problems:
            problems[path] = Problem(path)
        try:
            answer = problems[path].answer(asked)
        except RuntimeError as error:  # of jax, for a solve that does not succeed, in many lines
            lines = [text for text in str(error).splitlines() if "Error: " in text]
            answer = {"failed": (lines or [str(error)])[-1].split("Error: ", 1)[-1]}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
