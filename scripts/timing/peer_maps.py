"""Maps that fixed-point solvers are compared on: a linear one, and the Attractor's."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from reasoning.attractor import Attractor
from reasoning.training.distribution import World
from scripts.models.grids import grid_shape
from scripts.models.presets import build_model, preset
from scripts.runs.pretrained import load_pretrained
from scripts.timing.measures import asked, sudokus

Tensors = tuple[Tensor, ...]
Map = Callable[[Tensors], Tensors]
Arrays = dict[str, np.ndarray]


class Linear(nn.Module):
    """w -> w A + x, with A symmetric, its eigenvalues spread evenly over [-radius, radius]."""

    def __init__(self, radius: float, width: int):
        super().__init__()
        draw = torch.Generator().manual_seed(0)
        basis = torch.linalg.qr(torch.randn(width, width, generator=draw, dtype=torch.float64))[0]
        values = torch.linspace(-radius, radius, width, dtype=torch.float64)
        self.weight = nn.Parameter((basis @ values.diag() @ basis.T).float())

    def forward(self, w: Tensors, x: Tensor) -> Tensors:
        return (w[0] @ self.weight + x,)

    def captured(self) -> list[nn.Parameter]:
        return [self.weight]

    def arrays(self) -> Arrays:
        """What `peer_jax.linear` captures."""
        return {"kind": np.array("linear"), "weight": self.weight.detach().cpu().numpy()}


class Cycle(nn.Module):
    """The Attractor's map, of embedded puzzles x."""

    def __init__(self, model: Attractor):
        super().__init__()
        self.model = model

    def forward(self, w: Tensors, x: Tensor) -> Tensors:
        return self.model.cycle(w, x, self.model.config.inner_steps, None, 0)

    def captured(self) -> list[nn.Parameter]:
        return list(self.model.net.parameters())

    def arrays(self) -> Arrays | None:
        """What `peer_jax.cycle` captures; None for a net that is not written there."""
        config = self.model.config
        written = {"mixer": "mlp", "norm": "post", "normalise_product": False, "states": 2}
        if any(getattr(config, name) != value for name, value in written.items()):
            return None
        arrays = {
            "kind": np.array("cycle"),
            "layers": np.array(config.layers),
            "steps": np.array(config.inner_steps),
            "token_norm": np.array(config.mixer_norm == "tokens"),
        }
        for i, block in enumerate(self.model.net.layers):
            for name, part in (("mix_", block.mlp_t), ("", block.mlp)):
                arrays[f"{name}up{i}"] = part.gate_up_proj.weight.detach().cpu().numpy()
                arrays[f"{name}down{i}"] = part.down_proj.weight.detach().cpu().numpy()
        return arrays


@dataclass(frozen=True)
class Problem:
    """w = module(w, x), sample by sample, from a start.

    step: the new's share of a step of the map's own solver, for all that can be damped.
    """

    name: str
    module: Linear | Cycle
    x: Tensor
    start: Tensors
    step: float

    def of(self, rows: Tensor | slice) -> Map:
        """The map of these samples."""
        x = self.x[rows]
        return lambda w: self.module(w, x)

    def rows(self, rows: Tensor | slice) -> "Problem":
        return replace(self, x=self.x[rows], start=tuple(part[rows] for part in self.start))

    def double(self) -> "Problem":
        module = copy.deepcopy(self.module).double()
        start = tuple(part.double() for part in self.start)
        return replace(self, module=module, x=self.x.double(), start=start)

    def residuals(self, w: Tensors) -> Tensor:
        """(B,) |f(w) - w| / |w|, in float64."""
        wide = tuple(part.double() for part in w)
        with torch.no_grad():
            image = self.double().of(slice(None))(wide)
        return sizes(tuple(a - b for a, b in zip(image, wide, strict=True))) / sizes(wide)

    def arrays(self) -> Arrays | None:
        """All of it for another process; None if the map is not written there."""
        arrays = self.module.arrays()
        if arrays is None:
            return None
        start = {f"w{i}": part.detach().cpu().numpy() for i, part in enumerate(self.start)}
        return arrays | start | {"x": self.x.cpu().numpy()}


@dataclass(frozen=True)
class Found:
    """What a solver returned. calls: of the map; rows: samples in all calls together."""

    value: Tensors
    calls: int
    rows: int


def sizes(w: Tensors) -> Tensor:
    """(B,) norms."""
    return torch.cat([part.flatten(1) for part in w], 1).norm(dim=1)


def linear(batch: int, device: torch.device, radius: float = 0.9) -> Problem:
    """Solutions have entries of deviation 1."""
    tokens, width = 36, 64
    draw = torch.Generator().manual_seed(1)
    solution = torch.randn(batch, tokens, width, generator=draw).to(device)
    module = Linear(radius, width).to(device)
    with torch.no_grad():
        x = solution - solution @ module.weight
    return Problem(f"linear, radius {radius}", module, x, (torch.zeros_like(x),), 1.0)


def attractor(name: str, model: Attractor, size: int, batch: int, device: torch.device) -> Problem:
    """The map of a model at synthetic puzzles, from its initial state.

    name: what the problem is called, the norm and the mixer after it; size: of the sudokus; batch:
    how many, the samples; device: where model and samples go.
    """
    puzzles = sudokus(size, batch)
    model = model.to(device).eval()
    questions, ids = asked(puzzles, device)
    with torch.no_grad():
        x = model.embedding(questions, ids)
        start = tuple(part.contiguous() for part in model.initial_state(batch))
    config = model.config
    name = f"{name}, {config.norm}-norm {config.mixer}"
    return Problem(name, Cycle(model), x, start, config.solver.mixing)


def problems(batch: int, device: torch.device) -> Iterator[Problem]:
    """The linear map; the weights that ship for 6x6 and 9x9, and nets before their training."""
    yield linear(batch, device)
    for size in (6, 9):
        run = load_pretrained("sudoku", size, World(0, 1, device))
        yield attractor(f"{size}x{size} trained", run.model, size, batch, device)
        torch.manual_seed(0)
        config = run.config if size == 6 else preset("attractor-cpu")
        model = build_model(config, grid_shape(sudokus(size, 1)))
        yield attractor(f"{size}x{size} untrained", model, size, batch, device)
