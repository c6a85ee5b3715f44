"""How eight published layers begin, and what branches that begin scaled change of it
(baselines/README.md, What do more layers bring?)."""

import pytest
import torch
import torch.nn.functional as F

from reasoning.nn.grid import GridShape
from reasoning.supervision import Depth
from scripts.models.presets import RunConfig, branch_scale, build_model, preset


def start(name: str, layers: int, scale: float) -> tuple[float, float]:
    """Of one segment (TRM's of one cycle) from fresh weights, seed 0, on 16 random 6x6 grids to be
    copied: the mean cosine of two cells of y, the norm of the gradient of the cells' loss."""
    recipe = preset(name).model_dump()
    recipe["model"] |= {"layers": layers, "branch_scale": scale}
    torch.manual_seed(0)
    model = build_model(RunConfig.model_validate(recipe), GridShape(36, 8))
    inputs = torch.randint(1, 8, (16, 36))
    given = model.initial_state(16)
    output = model.segment(given, inputs, torch.zeros(16, dtype=torch.int64), Depth(cycles=1))
    cells = F.normalize(output.state[0][:, model.embedding.config.puzzle_tokens :], dim=-1)
    F.cross_entropy(output.logits.flatten(0, 1), inputs.flatten()).backward()
    slopes = [p.grad for p in model.parameters() if p.grad is not None]
    return float((cells @ cells.mT).mean()), float(torch.nn.utils.get_total_norm(slopes))


def test_with_attention_all_cells_begin_alike_unless_branches_begin_small():
    assert start("trm-cpu", 8, 1.0)[0] > 0.99
    assert start("trm-cpu", 8, branch_scale(8))[0] < 0.95


@pytest.mark.parametrize("layers", [2, 8])
def test_with_a_token_mixer_the_gradient_explodes_unless_branches_begin_small(layers):
    published, scaled = (start("trm-mlp-cpu", layers, s)[1] for s in (1.0, branch_scale(layers)))
    assert scaled < 10
    assert (published > 50 * scaled) == (layers == 8)
