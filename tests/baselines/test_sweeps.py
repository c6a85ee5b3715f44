"""z solved in sweeps: calls and noise."""

import torch

from reasoning.attractor import Attractor, AttractorConfig
from reasoning.nn.grid import GridShape
from reasoning.supervision import Depth

SIZE = {"width": 16, "layers": 1, "heads": 2, "multiple": 8, "puzzle_tokens": 1}
INPUTS = torch.randint(1, 6, (3, 9), generator=torch.Generator().manual_seed(0))
IDS = torch.zeros(3, dtype=torch.int64)


def attractor(**changes):
    torch.manual_seed(0)
    return Attractor(AttractorConfig(**SIZE, inner_steps=2, **changes), GridShape(9, 6)).double()


def test_net_calls_of_sweeps_are_those_made_with_a_graph_and_without():
    solver = {"max_evaluations": 3, "tolerance": 1e-12}
    for kind in ("one-step", "phantom"):
        model = attractor(solve_for="z", sweeps=3, solver=solver, gradient={"kind": kind})
        made = []
        model.net.register_forward_hook(lambda *_, made=made: made.append(1))
        for graph in (True, False):
            made.clear()
            with torch.set_grad_enabled(graph):
                output = model.segment(model.initial_state(3), INPUTS, IDS, Depth())
            assert output.net_calls.tolist() == [len(made)] * 3


def test_every_update_of_a_sweep_has_noise_of_its_own(monkeypatch):
    """z's n updates hold theirs for all solves; each sweep's y is another draw."""
    model = attractor(solve_for="z", sweeps=3, update_noise=0.1, initial="random")
    draws, update = [], model.update
    monkeypatch.setattr(model, "update", lambda *given: draws.append(given[-1]) or update(*given))
    seeds = torch.arange(3)
    model.segment(model.initial_state(3, seeds), INPUTS, IDS, Depth(), seeds)
    assert sorted(set(draws)) == list(range(2 + 3))
