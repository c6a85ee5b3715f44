"""A language model from outside this repository: the one of baselines/README.md, as it stands
there."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch

from reasoning.training.runs import read_jsonl
from scripts.cli import main
from scripts.models.lm_models import build_language_model
from scripts.models.lm_presets import language_preset
from scripts.runs.lm_session import load_language_config

PAGE = (Path(__file__).parents[2] / "baselines" / "README.md").read_text()
SECTION = PAGE.split("## A language model of your own\n")[1].split("\n## ")[0]


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", SECTION, flags=re.DOTALL)
    return found


@pytest.fixture(scope="module")
def place(working_folder):
    """The working folder, with grulm.py and a text in it."""
    (working_folder / "grulm.py").write_text(block("python"))
    words = np.random.default_rng(0).choice(["one", "two", "three", "four"], 6000)
    (working_folder / "text.txt").write_text(" ".join(words))
    return working_folder


def test_the_pages_commands_run_as_they_stand_but_smaller(place, capsys):
    for line in block("sh").strip().splitlines():
        words = shlex.split(line)[1:]
        if words[0] == "pretrain":
            words += ["--steps", "30", "--device", "cpu", "--validation.rows", "4"]
        if words[0] == "reproduce":
            words += ["--steps", "4", "--seeds", "1", "--rows", "4", "--device", "cpu", "--set"]
            words += ["context=32", "batch=4", "lanes=1", "validation.rows=4", "log_every=1"]
            words += ["checkpoint_every=2", "jacobian_every=0"]
        assert main(words) == 0, line
    assert load_language_config(Path("text-run"))[0].model.kind == "grulm:GRULM"
    logged = read_jsonl(Path("text-run/metrics.jsonl"))
    losses = [record["loss"] for record in logged if record["split"] == "train"]
    assert losses[-1] < losses[0] - 0.5


def test_it_is_a_row_of_a_table(place, capsys):
    """Of that which the page's last command made."""
    rows = {row["name"]: row for row in json.loads(Path("lm/table1.json").read_text())["rows"]}
    assert len(rows) == 2
    assert rows["grulm:GRULM"]["ours"]["perplexity"]["mean"] < 257
    config, _ = load_language_config(Path("lm/runs/grulm-GRULM-mini-seed0"))
    assert config.model.kind == "grulm:GRULM"
    words = ["reproduce", "table1", "--text", "text.txt", "--out", "lm"]
    for also, told in (("grulm:GRV", "has no GRV"), ("transformer-plain", "is a row already")):
        assert main([*words, "--also", also]) == 2
        assert told in capsys.readouterr().err
    assert main(["reproduce", "fig6", "--also", "grulm:GRULM", "--out", "lm"]) == 2
    assert "fig6 has none" in capsys.readouterr().err


def test_its_counts_are_those_of_its_weights(place):
    model = build_language_model(language_preset("grulm:GRULM-mini").model, 257, seed=0)
    cost = model.cost()
    assert cost.once == sum(p.numel() for n, p in model.named_parameters() if "weight_" in n)
    assert cost.total == sum(p.numel() for p in model.parameters())
    tokens = torch.arange(12).view(2, 6)
    cache = model.new_cache()
    parts = [model(part, cache=cache).logits for part in tokens.split(2, dim=1)]
    torch.testing.assert_close(torch.cat(parts, 1), model(tokens).logits)


def test_a_model_of_a_short_context_has_a_preset(place):
    source = block("python").replace("context: int = 128", "context: int = 32")
    (place / "short.py").write_text(source)
    assert language_preset("short:GRULM-mini").context == 32
    assert language_preset("grulm:GRULM-mini").context == 128
    published = language_preset("short:GRULM-140m")
    assert published.context == 32
    assert published.tokens_per_step == language_preset("transformer-140m").tokens_per_step


def test_what_sees_the_future_is_refused_before_its_folder_is_made(place, capsys):
    (place / "both.py").write_text(
        "from grulm import GRULM, LMOutput\n\n"
        "class Both(GRULM):\n"
        "    def forward(self, tokens, *rest, **more):\n"
        "        there = super().forward(tokens).logits\n"
        "        return LMOutput(there + super().forward(tokens.flip(1)).logits.flip(1))\n\n"
        "class Misspelt(GRULM):\n"
        "    def parameter_roles(self):\n"
        "        return super().parameter_roles() | {'head.weight': 'Embedding'}\n\n"
        "class Strange(GRULM):\n"
        "    def parameter_roles(self):\n"
        "        return super().parameter_roles() | {'tail.weight': 'scalar'}\n\n"
        "class Long(GRULM):\n"
        "    def parameter_roles(self):\n"
        "        return super().parameter_roles() | {'gru.bias_ih_l0': 'matrix'}\n"
    )
    for name, part in {
        "Both": "both:Both: its logits change with another token that comes later",
        "Misspelt": "parameter head.weight: 'Embedding' is no role; there are matrix,",
        "Strange": "parameter_roles: tail.weight is no parameter of the model",
        "Long": "parameter gru.bias_ih_l0: a matrix, for Muon, has two dimensions",
    }.items():
        words = ["pretrain", "--preset", f"both:{name}-mini", "--corpus", "corpus", "--out", "no"]
        assert main([*words, "--device", "cpu"]) == 2
        said = capsys.readouterr().err
        assert part in said
        assert said.count("\n") == 1
    assert not Path("no").exists()
