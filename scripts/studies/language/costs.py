"""Figures 4 and 5 of the paper: what training takes in FLOPs and in memory."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from reasoning.pretraining.flops import NO_CORE, matmul_rule, measured_passes, published_rule
from reasoning.pretraining.protocol import SolveBudget
from reasoning.training.checkpoints import list_checkpoints
from reasoning.training.runs import environment, write_json
from scripts.models.lm_models import build_language_model
from scripts.models.lm_presets import VOCABULARY, language_preset
from scripts.reports.numbers import grid
from scripts.reports.pictures import finish, new_figure
from scripts.runs.lm_session import load_language_config
from scripts.studies.language.comparison import Study, training_numbers
from scripts.studies.language.probes import step_cost
from scripts.studies.language.tables import FIGURE_5
from scripts.terminal.choices import LanguageScale

BYTES = 257  # vocabulary of the byte tokenizer, at mini

FIGURE_4 = {  # training EFLOP
    "140m": {"transformer": 9.2, "parcae": 15.2, "attractor": 11.3},
    "370m": {"transformer": 71.5, "parcae": 123.5, "attractor": 92.9},
    "770m": {"transformer": 305.2, "parcae": 545.8, "attractor": 377.4},
}
MODELS = ("transformer", "parcae", "attractor")
# Evaluations of an Attractor that nobody has measured: the 7 passes that the published rule
# charges, but for the one with the gradient, or as many as its solver takes at least.
ASSUMED = 6.0


def figure4(out: Path, scale: LanguageScale, runs: Sequence[Path]) -> str:
    """Training FLOPs by the published rule and by matmuls; writes fig4.png, .json, .md.

    runs: finished runs, of whose training the evaluations are taken; those in OUT/runs too.
    """
    measured = _measured_evaluations([*runs, *_finished(out / "runs")])
    sizes = [*FIGURE_4, *(["mini"] if scale == "mini" else [])]
    bars = [_bar(model, size, measured) for size in sizes for model in MODELS]
    ratios = {size: _ratios([bar for bar in bars if bar["size"] == size]) for size in sizes}
    out.mkdir(parents=True, exist_ok=True)
    record = {"bars": bars, "ratios": ratios, "environment": environment()}
    write_json(out / "fig4.json", record)
    text = _figure4_text(bars, ratios)
    (out / "fig4.md").write_text(text)
    _draw_figure4(bars, out / "fig4.png")
    return text


def _measured_evaluations(runs: Iterable[Path]) -> dict[str, list[float]]:
    """Mean evaluations over training of every run that makes any, by its label."""
    by_label: dict[str, list[float]] = {}
    for run in dict.fromkeys(path.resolve() for path in runs):
        label, numbers = load_language_config(run)[0].preset, training_numbers(run)
        if "evaluations_training" in numbers:
            by_label.setdefault(label, []).append(numbers["evaluations_training"])
    return by_label


def _finished(folder: Path) -> list[Path]:
    """Runs of a folder that were trained to their end."""
    begun = [path.parent for path in sorted(folder.glob("*-seed*/config.json"))]
    return [
        run
        for run in begun
        if (checkpoints := list_checkpoints(run))
        and checkpoints[-1].name == f"step-{load_language_config(run)[0].steps:08d}"
    ]


def _bar(model: str, size: str, measured: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    name = f"{model}-{size}"
    config = language_preset(name)
    with torch.device("meta"):
        built = build_language_model(config.model, BYTES if size == "mini" else VOCABULARY, 0)
    cost, tokens = built.cost(), config.steps * config.tokens_per_step
    evaluations = config.model.mean_evaluations()
    if config.model.gradient_passes() == NO_CORE:
        source = "every block once"
    elif name in measured:
        evaluations = float(np.mean(measured[name]))
        source = f"measured over the training of {len(measured[name])} run(s)"
    elif evaluations is not None:
        source = "mean of its random depth"
    else:
        evaluations = max(ASSUMED, config.model.least_evaluations())
        source = f"assumed T = {evaluations:g}"
    passes = measured_passes({"evaluations": evaluations}, config.model.gradient_passes())
    rule = published_rule(cost, config.context, config.model.published_passes())
    return {
        "model": model,
        "size": size,
        "tokens": tokens,
        "paper_exaflops": FIGURE_4.get(size, {}).get(model),
        "published_rule_exaflops": rule * tokens / 1e18,
        "matmul_exaflops": matmul_rule(cost, config.context, passes) * tokens / 1e18,
        "evaluations": evaluations,
        "evaluations_source": source,
    }


def _ratios(bars: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """The Attractor's FLOPs over the others', by each rule."""
    by_model = {bar["model"]: bar for bar in bars}
    return {
        rule: {
            other: by_model["attractor"][f"{rule}_exaflops"] / by_model[other][f"{rule}_exaflops"]
            for other in ("transformer", "parcae")
        }
        for rule in ("published_rule", "matmul")
    }


def _figure4_text(bars: Sequence[Mapping[str, Any]], ratios: Mapping[str, Any]) -> str:
    head = ["model", "paper, EFLOP", "published rule", "matmuls alone", "evaluations"]
    rows = []
    for bar in bars:
        paper = "-" if bar["paper_exaflops"] is None else f"{bar['paper_exaflops']:.1f}"
        totals = [f"{bar[f'{rule}_exaflops']:{_digits(bar)}}" for rule in _RULES]
        count = "" if bar["evaluations"] is None else f"{bar['evaluations']:.2f}, "
        cells = (f"{bar['model']}-{bar['size']}", paper, *totals, count + bar["evaluations_source"])
        rows.append(cells)
    lines = ["# Figure 4: training FLOPs", "", *grid(head, rows), ""]
    for size, each in ratios.items():
        shares = [
            f"{rule.replace('_', ' ')} {r['parcae']:.2f} of Parcae's, {r['transformer']:.2f} of "
            "the Transformer's"
            for rule, r in each.items()
        ]
        lines.append(f"* Attractor, {size}: {'; '.join(shares)}")
    lines += [
        "",
        "The published rule charges lookup tables as matmuls and fixed passes (Attractor 7 forward "
        "and 1 backward, Parcae 8 and 4). Matmuls alone: with the unembedding, without lookups, "
        "at the evaluations of the last column and the one pass that carries the gradient; of an "
        "adjoint solve (770m) the least products with J^T that its recipe allows.",
    ]
    return "\n".join(lines) + "\n"


_RULES = ("published_rule", "matmul")


def _digits(bar: Mapping[str, Any]) -> str:
    return ".2e" if bar["size"] == "mini" else ".1f"


def _draw_figure4(bars: Sequence[Mapping[str, Any]], path: Path) -> None:
    sizes = list(dict.fromkeys(bar["size"] for bar in bars))
    figure = new_figure(4 * len(sizes), 3.6)
    panels = figure.subplots(1, len(sizes))
    for axes, size in zip(panels, sizes, strict=True):
        shown = [bar for bar in bars if bar["size"] == size]
        unit, digits, name = (1e6, 2, "TFLOP") if size == "mini" else (1, 1, "EFLOP")
        places = np.arange(len(shown))
        for shift, rule, label in ((-0.2, _RULES[0], "published rule"), (0.2, _RULES[1], "matmul")):
            heights = [unit * bar[f"{rule}_exaflops"] for bar in shown]
            drawn = axes.bar(places + shift, heights, 0.38, label=label)
            axes.bar_label(drawn, [f"{h:.{digits}f}" for h in heights], fontsize=7)
        known = [(i, bar["paper_exaflops"]) for i, bar in enumerate(shown)]
        known = [(i, value) for i, value in known if value is not None]
        if known:
            axes.plot(*zip(*((i - 0.2, v) for i, v in known), strict=True), "k_", ms=22,
                      label="paper")  # fmt: skip
        names = [f"{bar['model']}\n{_passes(bar)}" for bar in shown]
        axes.set_xticks(places, names, fontsize=8)
        axes.set(title=size, ylabel=f"training {name}")
    panels[0].legend(frameon=False, fontsize=8)
    finish(panels, figure, path)


def _passes(bar: Mapping[str, Any]) -> str:
    if bar["evaluations"] is None:
        return ""
    return f"T = {bar['evaluations']:.1f}, {bar['evaluations_source'].split()[0]}"


# Figure 5


def figure5(study: Study, size: str, depths: Sequence[int]) -> str:
    """Memory of a training step against T; writes fig5.png and .json. No corpus is needed."""
    vocabulary, device = BYTES if size == "mini" else VOCABULARY, study.world.device
    series = {}
    for name, variant in FIGURE_5[size].items():
        config = study.configuration(variant, size)
        model = build_language_model(config.model, vocabulary, config.seed).to(device)
        shape = (config.micro_batch or config.batch, config.context)
        tokens = torch.randint(vocabulary, shape, generator=torch.Generator().manual_seed(0))
        kept = [
            step_cost(model, tokens.to(device), config.precision, SolveBudget(t)).size
            for t in depths
        ]
        slope = float(np.polyfit(depths, kept, 1)[0]) if len(depths) > 1 else None
        series[name] = {"bytes": kept, "bytes_per_iteration": slope}
    on_cuda = device.type == "cuda"
    measure = "peak allocated" if on_cuda else "kept for the backward pass, weights included"
    study.out.mkdir(parents=True, exist_ok=True)
    record = {
        "size": size,
        "vocabulary": vocabulary,
        "depths": list(depths),
        "measure": measure,
        "published": "Attractor nearly constant, Parcae growing with the number of loops",
        "series": series,
        "environment": environment(),
    }
    write_json(study.out / "fig5.json", record)
    figure = new_figure(6, 4)
    axes = figure.subplots()
    for name, each in series.items():
        axes.plot(depths, np.array(each["bytes"]) / 2**20, marker="o", ms=4, label=name)
    axes.set(xlabel="T, evaluations or loops", ylabel=f"MiB {measure}", ylim=(0, None))
    axes.set_title(f"one training step at {size}", fontsize=10)
    axes.legend(frameon=False, fontsize=8)
    finish((axes,), figure, study.out / "fig5.png")
    lines = [f"{size}: MiB {measure}, T = {', '.join(map(str, depths))}", ""]
    lines += [
        f"* {name}: {', '.join(f'{b / 2**20:.1f}' for b in each['bytes'])}"
        for name, each in series.items()
    ]
    return "\n".join(lines) + "\n"
