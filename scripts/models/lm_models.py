"""Language models by name `<model>-<size>`, and how one is built.

Models: attractor; transformer (with value embeddings, the paper's); transformer-plain (without: the
Attractor's own stack, every block applied once); transformer-looped (that stack applied twice);
parcae; deq (output matrix of its own); deq-tied.

Sizes: 140m, 370m, 770m and 1.3b are the paper's, matched in parameters at a vocabulary of 32,768.
At 60m, the ablations' size (60,305,280 for the Attractor), deq-tied solves for the same eight
blocks (60,314,240) and deq, whose output matrix is a third of it, for four with MLPs of 3.6 widths
(60,304,000). mini is for minutes on a CPU: every model has the same four blocks of width 128, so
totals differ by tables and output matrices alone: at 257 tokens 821 k for attractor,
transformer-plain, transformer-looped and deq-tied, 854 k for deq, 887 k for transformer and 920 k
for parcae.
"""

from typing import TYPE_CHECKING, Any

from baselines.configs import DEQConfig, GPTConfig, ParcaeConfig
from reasoning.attractor_lm_config import AttractorLMConfig
from reasoning.language_config import GateConfig, LanguageConfig, LanguageFacts
from reasoning.solver_config import GradientConfig, SolverConfig
from scripts.models.registry import LANGUAGE_MODELS, no_preset
from scripts.usage import UsageError, unknown_name

if TYPE_CHECKING:  # torch is imported where a model is built: a command's words are read without it
    from torch import nn

SIZES = ("mini", "60m", "140m", "370m", "770m", "1.3b")
_CHECKPOINTED = ("770m",)  # of those whose loop keeps most
_SMALL = {"width": 128, "head_width": 64, "context": 256}


def _solve(
    maximum: int, minimum: int, tolerance: float, initial: float, most: float, mixing: float = 1.0
) -> dict[str, Any]:
    """Solver and gates: tables 7 and 8 of the paper.

    maximum, minimum, tolerance, mixing: of the solver. initial, most: of the gate, at the start
    and at most.
    """
    return {
        "solver": SolverConfig(
            tolerance=tolerance, max_evaluations=maximum, min_evaluations=minimum, mixing=mixing
        ),
        "gate": GateConfig(initial=initial, maximum=most),
    }


_SOLVES = {
    "mini": _solve(32, 4, 1e-3, 0.75, 0.75),
    "60m": _solve(64, 6, 3e-4, 0.75, 0.75),
    "140m": _solve(64, 6, 3e-4, 0.75, 0.75),
    "370m": _solve(64, 8, 2e-4, 0.75, 1.0),
    "770m": _solve(32, 6, 1.5e-4, 0.73, 0.9, mixing=0.96)
    | {
        "gradient": GradientConfig(
            kind="adjoint",
            tolerance=1.5e-4,
            max_evaluations=32,
            min_evaluations=6,
            mixing=0.96,
            clip=2.0,
        )
    },
}
# Width, backbone and head layers of the Attractor; the plain Transformer has both as one stack.
_ATTRACTORS = {
    "mini": (_SMALL, 3, 1),
    "60m": ({"width": 640}, 7, 1),
    "140m": ({"width": 1024}, 7, 1),
    "370m": ({"width": 1280}, 15, 2),
    "770m": ({"width": 1280}, 35, 2),
}
_TRANSFORMERS = {
    "mini": (_SMALL, 4),
    "140m": ({"width": 768}, 6),
    "370m": ({"width": 1024}, 12),
    "770m": ({"width": 1280}, 18),
    "1.3b": ({"width": 1536}, 24),
}
_PARCAES = {
    "mini": (_SMALL, (1, 2, 1)),
    "140m": ({"width": 768}, (2, 2, 2)),
    "370m": ({"width": 1024}, (4, 4, 4)),
    "770m": ({"width": 1280}, (6, 6, 6)),
}


def _configs() -> dict[str, LanguageConfig]:
    configs: dict[str, LanguageConfig] = {}
    for size, (sizes, backbone, head) in _ATTRACTORS.items():
        configs[f"attractor-{size}"] = AttractorLMConfig(
            **sizes,
            backbone_layers=backbone,
            head_layers=head,
            checkpoint=size in _CHECKPOINTED,
            **_SOLVES[size],
        )
        for name, loops in (("plain", 1), ("looped", 2)):
            configs[f"transformer-{name}-{size}"] = GPTConfig(
                **sizes, layers=backbone + head, loops=loops, value_embeddings=False
            )
    for size, (sizes, layers) in _TRANSFORMERS.items():
        configs[f"transformer-{size}"] = GPTConfig(**sizes, layers=layers)
    for size, (sizes, (prelude, core, coda)) in _PARCAES.items():
        configs[f"parcae-{size}"] = ParcaeConfig(
            **sizes,
            prelude_layers=prelude,
            core_layers=core,
            coda_layers=coda,
            checkpoint=size in _CHECKPOINTED,
        )
    for size, sizes, layers in (("mini", _SMALL, 4), ("60m", {"width": 640}, 8)):
        configs[f"deq-tied-{size}"] = DEQConfig(**sizes, layers=layers, tied=True, **_SOLVES[size])
    configs["deq-mini"] = DEQConfig(**_SMALL, layers=4, **_SOLVES["mini"])
    configs["deq-60m"] = DEQConfig(width=640, expansion=3.6, layers=4, **_SOLVES["60m"])
    return dict(sorted(configs.items()))


LANGUAGE_PRESETS = _configs()


def language_model_config(name: str) -> LanguageFacts:
    """The configuration of a name, of an installed package's model or an import path at a size too.
    UsageError listing the names for an unknown one."""
    if name in LANGUAGE_PRESETS:
        return LANGUAGE_PRESETS[name]
    model, size = model_and_size(name)
    if size in SIZES and (":" in model or model in LANGUAGE_MODELS.installed()):
        config = LANGUAGE_MODELS.config_class(model)
        return LANGUAGE_MODELS.settings_at(model, config.at_size(size))
    if ":" in name:
        raise UsageError(f"{name}: {unknown_name('size', size, SIZES)}")
    raise no_preset(name, "language", LANGUAGE_PRESETS)


def model_and_size(name: str) -> tuple[str, str]:
    """A name taken apart; an import path may leave its size out, which is then `mini`."""
    model, _, size = name.rpartition("-")
    return (name, "mini") if ":" in name and ":" not in model else (model, size)


def build_language_model(config: LanguageFacts, vocabulary: int, seed: int) -> "nn.Module":
    """The model of a configuration, its weights drawn from `seed` on the CPU."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LANGUAGE_MODELS.build(config.kind, config, vocabulary)
