"""Parameter counts of the published models, on the meta device; roles, costs and blocks."""

import math

import pytest
import torch
from pydantic import ValidationError

from reasoning.attractor_lm import AttractorLMConfig
from reasoning.nn.causal import GateConfig
from scripts.models.lm_models import LANGUAGE_PRESETS, build_language_model, language_model_config
from scripts.usage import UsageError

PUBLISHED = {
    "transformer-140m": 143_141_184,
    "transformer-370m": 385_903_104,
    "transformer-770m": 773_375_040,
    "transformer-1.3b": 1_333_868_544,
    "parcae-140m": 144_323_136,
    "parcae-370m": 388_003_328,
    "parcae-770m": 776_655_680,
    "attractor-60m": 60_305_280,
    "attractor-140m": 134_237_184,
    "attractor-370m": 376_226_560,
    "attractor-770m": 769_493_760,
}


def on_meta(name, vocabulary=32_768):
    with torch.device("meta"):
        return build_language_model(language_model_config(name), vocabulary, seed=0)


def count(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_counts(name):
    model = on_meta(name)
    assert count(model) == PUBLISHED[name] == model.cost().total


def test_parameter_matched_controls():
    """DEQ at 60M within 0.02 %; the plain Transformer lacks the head's gates alone."""
    for name in ("deq-60m", "deq-tied-60m"):
        assert abs(count(on_meta(name)) / PUBLISHED["attractor-60m"] - 1) < 2e-4
    for size, (_, head_layers) in {"60m": (7, 1), "140m": (7, 1), "770m": (35, 2)}.items():
        model = on_meta(f"transformer-plain-{size}")
        gates = 2 * head_layers * model.config.width
        assert count(model) == PUBLISHED[f"attractor-{size}"] - gates
    totals = {name: count(on_meta(name, 257)) for name in LANGUAGE_PRESETS if "mini" in name}
    assert {name: round(n / 1e3) for name, n in totals.items()} == {
        "attractor-mini": 821,
        "deq-mini": 854,
        "deq-tied-mini": 822,
        "parcae-mini": 920,
        "transformer-looped-mini": 820,
        "transformer-mini": 886,
        "transformer-plain-mini": 820,
    }


@pytest.mark.parametrize("name", LANGUAGE_PRESETS)
def test_roles_cover_every_parameter_and_costs_add_up(name):
    model = on_meta(name, 300)
    roles, cost = model.parameter_roles(), model.cost()
    parameters = dict(model.named_parameters())
    assert roles.keys() == parameters.keys()
    for key, role in roles.items():
        assert role.startswith("head_") == (name.startswith("attractor") and key[:5] == "head.")
        assert parameters[key].dim() == 2 or role.endswith("scalar")
        assert ("lookup_gate" in key) <= (role == "scalar")
        assert (role == "embedding") == (parameters[key].shape[0] == 300)
    embeddings = sum(parameters[k].numel() for k, r in roles.items() if r == "embedding")
    untied = name.startswith("deq") and "tied" not in name
    assert embeddings == cost.embedding * (1 + untied) + cost.lookups
    vectors = sum(p.numel() for p in parameters.values() if p.dim() == 1)
    assert cost.total == embeddings + cost.once + cost.core + vectors
    gated = name.startswith(("attractor", "deq"))
    scales = 4 if gated else 2  # norms and gates
    assert cost.core_scales == scales * cost.core_layers * cost.width
    layers = len(model.blocks())
    assert layers == cost.once_layers + cost.core_layers
    assert all(k.endswith(".weight") or p.dim() == 1 for k, p in parameters.items())


def test_weights_start_as_published():
    """Element deviation sqrt(2 / (5 d)); branches of the backbone end in zeros, the head's do not;
    gates start at 0.99 of a maximum they would otherwise saturate at."""
    model = build_language_model(language_model_config("attractor-mini"), 300, seed=3)
    s = (2 / (5 * 128)) ** 0.5
    for name, p in model.named_parameters():
        backbone_end = name.startswith("backbone") and ("output" in name or "down" in name)
        if p.dim() == 1:
            expected = torch.full_like(p, torch.logit(torch.tensor(0.99)) if "gate" in name else 1)
            torch.testing.assert_close(p, expected)
        elif backbone_end:
            assert not p.any()
        else:
            assert abs(float(p.detach().square().mean().sqrt()) / s - 1) < 0.02, name
    up = model.backbone[0].mlp.up.weight.double()
    torch.testing.assert_close(
        up.T @ up, 512 * s**2 * torch.eye(128, dtype=torch.float64), rtol=0, atol=1e-5
    )
    assert GateConfig(initial=0.73, maximum=0.9).raw == pytest.approx(math.log(73 / 17))


def test_models_are_a_function_of_their_seed():
    config = language_model_config("parcae-mini")
    before = torch.random.get_rng_state()
    a, b, c = (build_language_model(config, 99, seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert not torch.equal(a["embedding.weight"], c["embedding.weight"])


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"width": 100}, "divide width"),
        ({"gate": {"initial": 0.9, "maximum": 0.8}}, "exceeds"),
        ({"injection": "initial", "start": "zero"}, "without the text"),
        ({"layers": 3}, "layers"),
        ({"solver": {"tolerance": 0}}, "tolerance"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, name):
    with pytest.raises(ValidationError, match=name):
        AttractorLMConfig(**settings)


def test_unknown_names_are_refused():
    with pytest.raises(UsageError, match="attractor-140m"):
        language_model_config("attractor-141m")
