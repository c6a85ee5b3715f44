"""Small language models whose every branch matters: none of the weights that start at zero is."""

import pytest
import torch

from baselines.deq import DEQConfig
from baselines.gpt import GPTConfig
from baselines.parcae import ParcaeConfig
from reasoning.attractor_lm import AttractorLMConfig
from reasoning.solver_config import SolverConfig
from scripts.models.lm_models import build_language_model

VOCABULARY = 50
SIZE = {"width": 64, "head_width": 32, "context": 64}
SOLVER = SolverConfig(tolerance=3e-4, max_evaluations=12)
CONFIGS = {
    "attractor": (
        AttractorLMConfig,
        {"backbone_layers": 1, "head_layers": 2, "solver": SOLVER},
    ),
    "transformer": (GPTConfig, {"layers": 3}),
    "parcae": (ParcaeConfig, {"prelude_layers": 1, "core_layers": 2, "coda_layers": 1}),
    "deq": (DEQConfig, {"layers": 2, "solver": SOLVER}),
}


def make(kind, scale=2.0, **settings):
    """A model of that kind. `scale`, on the embeddings, sets how fast the solved maps contract:
    their blocks see directions alone, so a larger |c| makes J smaller."""
    config, sizes = CONFIGS[kind]
    model = build_language_model(config(**{**SIZE, **sizes, **settings}), VOCABULARY, seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not parameter.any():
                parameter.copy_(0.05 * torch.randn(parameter.shape, generator=generator))
            elif parameter.dim() == 1:
                parameter.mul_(1 + 0.1 * torch.randn(parameter.shape, generator=generator))
            if name == "embedding.weight":
                parameter.mul_(scale * (8 if kind == "deq" else 1))
    return model


@pytest.fixture(scope="session", name="make")
def _make():
    return make


@pytest.fixture(scope="session")
def tokens():
    """(3, 24) token ids."""
    return torch.randint(0, VOCABULARY, (3, 24), generator=torch.Generator().manual_seed(0))
