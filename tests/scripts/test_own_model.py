"""A model from outside this repository: the one of baselines/README.md, as it stands there."""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import torch

from reasoning.model_config import ModelConfig
from reasoning.nn.grid import GridShape
from reasoning.nn.reasoner import embedding_count
from reasoning.supervision import Depth
from reasoning.training.config import OptimizerConfig
from reasoning.training.loop import Trainer
from reasoning.training.optimizers import Optimizers
from scripts.cli import main
from scripts.models.grids import puzzle_structure
from scripts.models.presets import RunConfig, build_model, named_preset, preset, preset_names
from scripts.models.registry import PUZZLE_MODELS
from scripts.runs.recorded import load_config
from scripts.studies.ablations import ABLATIONS
from scripts.usage import UsageError

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "baselines" / "README.md").read_text()
SECTION = PAGE.split("## A model of your own\n")[1].split("\n## ")[0]
TINY = ["--steps", "10", "--device", "cpu"]


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", SECTION, flags=re.DOTALL)
    return found


@pytest.fixture(scope="module")
def place(working_folder):
    """The working folder, with mine.py in it."""
    (working_folder / "mine.py").write_text(block("python"))
    return working_folder


@pytest.fixture(scope="module")
def run(place, sudokus) -> Path:
    words = ["train", "--preset", "mine:GRU-mini", "--data", str(sudokus), "--out", "short"]
    assert main([*words, *TINY, "--log-every", "5", "--checkpoint-every", "5"]) == 0
    return place / "short"


def refused(capsys, words, *parts):
    assert main(list(map(str, words))) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    for part in parts:
        assert part in said


def test_the_example_is_short():
    lines = [line for line in block("python").splitlines() if line.strip()]
    assert len(lines) <= 35


def test_the_pages_commands_run_as_they_stand_but_smaller(place, sudokus, capsys):
    commands = block("sh").splitlines()
    asked = {line.split()[1] for line in commands}
    assert asked == {"data", "compare", "train", "evaluate", "reproduce"}
    for line in commands:
        words = shlex.split(line.replace("-cpu", "-mini"))[1:]
        if words[0] == "data":
            words = [w if w != "6" else "4" for w in words]
            words = [{"1000": "48", "500": "20"}.get(w, w) for w in words]
        if words[0] in ("compare", "train", "reproduce"):
            words += TINY
        if words[0] == "reproduce":
            words += ["--scale", "mini"]
        assert main(words) == 0, (words, capsys.readouterr().err)
    compared = json.loads((place / "table" / "comparison.json").read_text())
    assert list(compared) == ["trm-mini", "mine:GRU-mini"]
    gru = compared["mine:GRU-mini"]
    assert gru["runs"][0]["steps"] == 10
    # A puzzle takes 16 segments of 8 steps each; the table counts no more and no fewer.
    assert gru["net_calls_per_puzzle"]["mean"] == 128
    controls = json.loads((place / "controls" / "comparison.json").read_text())
    assert [*controls] == [*(v.name for v in ABLATIONS["controls"]), "mine:GRU-mini"]
    assert load_config(place / "run")[0].model.width == 32


def test_a_run_says_its_model_and_is_found_again(run, sudokus):
    record = json.loads((run / "config.json").read_text())["config"]
    assert record["preset"] == "mine:GRU-mini"
    assert record["model"] == {"width": 64, "steps": 8, "kind": "mine:GRU"}
    config = load_config(run)[0]
    assert config == RunConfig.model_validate(record)
    assert RunConfig.model_validate_json(config.model_dump_json()) == config


def test_it_is_resumed_to_the_same_bytes(run, sudokus, place, dies_at):
    words = ["train", "--preset", "mine:GRU-mini", "--data", str(sudokus), "--out", "killed"]
    with dies_at(Trainer, 7):
        main([*words, *TINY, "--log-every", "5", "--checkpoint-every", "5"])
    assert main(["train", "--resume", "killed"]) == 0
    assert (place / "killed" / "metrics.jsonl").read_bytes() == (run / "metrics.jsonl").read_bytes()


def test_it_solves_and_is_packaged(run, sudokus, capsys):
    assert main(["solve", str(run), "1...............".replace("1...", "12..")]) in (0, 1)
    assert "128 net calls" in capsys.readouterr().out
    assert main(["package", str(run), "--data", str(sudokus), "--out", "weights"]) == 0
    card = json.loads(Path("weights/sudoku-4.json").read_text())
    assert card["config"]["model"]["kind"] == "mine:GRU"
    exported = ["export", run, "--to", "torch"]
    refused(capsys, exported, "GRU cannot be exported", "derive it from reasoning.Reasoner")


def test_the_console_script_and_processes_find_it_in_the_working_folder(place, sudokus):
    """Beside folders that are named as ours are, whose modules cannot be loaded."""
    for name in ("scripts", "puzzles", "baselines", "reasoning"):
        (place / name).mkdir()
        for module in ("__init__", "cli", "dataset", "trm", "supervision"):
            (place / name / f"{module}.py").write_text("raise RuntimeError('not ours')\n")
    try:
        script = shutil.which("loopbench", path=Path(sys.executable).parent)
        words = [script, "train", "--preset", "mine:GRU-mini", "--data", str(sudokus)]
        clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        processes = [
            subprocess.Popen(
                [*words, "--out", "two", *TINY],
                cwd=place,
                env=clean | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            )
            for rank in range(2)
        ]
        try:
            assert [process.wait(timeout=300) for process in processes] == [0, 0]
        finally:
            for process in processes:
                process.kill()
        record = json.loads((place / "two" / "config.json").read_text())
        assert record["processes"] == 2
        assert record["config"]["model"]["kind"] == "mine:GRU"
    finally:
        for name in ("scripts", "puzzles", "baselines", "reasoning"):
            shutil.rmtree(place / name)


def test_what_is_embedded_and_what_muon_takes_is_not_told_by_a_parameters_name(place):
    (place / "named.py").write_text(
        "from mine import GRU as Plain\n\n"
        "class GRU(Plain):\n    def nets(self):\n        return [self.mix, self.cell]\n"
    )
    model = build_model(preset("named:GRU-mini"), GridShape(16, 6))
    assert embedding_count(model) == 6 * 64  # its `tokens`
    optimizers = Optimizers(model, OptimizerConfig(name="muon"))
    muon, adamw = (
        {id(p) for group in optimizer.param_groups for p in group["params"]}
        for optimizer in optimizers._all
    )
    names = {id(p): name for name, p in model.named_parameters()}
    assert {names[p] for p in muon} == {"mix.weight", "cell.weight_ih", "cell.weight_hh"}
    assert muon | adamw == names.keys()


def test_what_is_no_model_is_refused_in_one_line(place, sudokus, capsys):
    train = ["train", "--data", sudokus, "--out", "no", "--preset"]
    (place / "broken.py").write_text("import torch\n\n1 / 0\n")
    (place / "poor.py").write_text(
        "from torch import nn\n\nclass Bare(nn.Module): pass\n\n"
        "class Unset(nn.Module):\n    initial_state = segment = decode = lambda self: 0\n"
    )
    refused(capsys, [*train, "absent.part:Model-cpu"], "no module absent", "PYTHONPATH")
    refused(capsys, [*train, "mine:GRV-cpu"], "did you mean GRU?")
    refused(capsys, [*train, "lab.mine.GRU-cpu"], "a colon before its class: lab.mine:GRU-cpu")
    refused(capsys, [*train, "broken:Model-cpu"], "ZeroDivisionError", "broken.py:3")
    refused(capsys, [*train, "poor:Bare-cpu"], "no initial_state and no segment and no decode")
    refused(capsys, [*train, "poor:Unset-cpu"], "pydantic class `Config`")
    refused(capsys, [*train, "mine:torch-cpu"], "no torch.nn.Module")
    refused(capsys, [*train, "mine:GRU-huge"], "no scale is called 'huge'")
    refused(capsys, [*train, "a b:GRU-cpu"], "package.module:Name")
    refused(capsys, [*train, "mine:GRU-mini", "--model.breadth", "3"], "--model.breadth")
    refused(capsys, [*train, "mine:GRU-mini", "--compile"], "nets()", "without --compile")
    asked = [*train, "mine:GRU-mini", "--optimizer.name", "muon"]
    refused(capsys, asked, "nets()", "another --optimizer.name")
    refused(capsys, [*train, "scripts.ours:Model-cpu"], "scripts is loopbench's own")
    table = ["reproduce", "controls", "--scale", "mini", "--out", "no", "--also"]
    refused(capsys, [*table, "mine:GRU-cpu"], "another scale than the table's, mini")
    refused(capsys, [*table, "mind"], "mind")
    refused(capsys, [*table, "trm"], "--also: trm-mini is the row trm already")
    assert not Path("no").exists()


def test_it_is_rehearsed_before_its_folder_is_made(place, sudokus, capsys):
    (place / "slips.py").write_text(
        "from mine import GRU\n\n"
        "class Turned(GRU):\n"
        "    def decode(self, y):\n"
        "        return super().decode(y)[0].mT, super().decode(y)[1]\n\n"
        "class Alone(GRU):\n"
        "    def __init__(self, config):\n"
        "        super().__init__(config, None)\n\n"
        "class Bare(GRU):\n"
        "    class Config(GRU.Config):\n"
        "        depth: int\n\n"
        "class Spare(GRU):\n"
        "    def __init__(self, config, shape):\n"
        "        super().__init__(config, shape)\n"
        "        self.spare = self.answer.__class__(2, 2)\n\n"
        "class Summed(GRU):\n"
        "    def segment(self, *args):\n"
        "        out = super().segment(*args)\n"
        "        return type(out)(*(out.state, out.logits, out.q, out.net_calls),\n"
        "                         own_loss=self.start.square().sum())\n"
    )
    train = ["train", "--data", str(sudokus), "--out", "no", *TINY, "--preset"]
    refused(capsys, [*train, "slips:Turned-mini"], "slips:Turned: segment's logits (B, C, V) has")
    refused(capsys, [*train, "slips:Summed-mini"], "segment's own_loss (B,) has shape ()")
    refused(capsys, [*train, "slips:Alone-mini"], "slips:Alone: __init__(config, ...) fails (Type")
    refused(capsys, [*train, "slips:Bare-mini"], "slips:Bare: its Config", "depth: Field required")
    assert not Path("no").exists()
    compare = ["compare", "--data", sudokus, "--seeds", "1", "--out", "mixed", "--device", "cpu"]
    compare += ["--presets", "trm-mini,slips:Turned-mini"]
    for budget in (["--steps", "2"], ["--budget", "flops"]):
        refused(capsys, [*compare, *budget], "slips:Turned: segment's logits (B, C, V) has")
    assert not Path("mixed").exists()  # nor is TRM trained, or measured, first
    assert main([*train, "slips:Spare-mini"]) == 0
    said = capsys.readouterr().err
    assert "warning: no gradient reaches spare.weight, spare.bias\n" in said
    record = json.loads(Path("no/config.json").read_text())
    assert record["without_gradient"] == ["spare.weight", "spare.bias"]


def test_it_may_have_a_loss_of_its_own(place, sudokus):
    (place / "pondering.py").write_text(
        "from dataclasses import replace\n\n"
        "from mine import GRU\n\n"
        "class Pondering(GRU):\n"
        "    def segment(self, *args):\n"
        "        out = super().segment(*args)\n"
        "        cost = self.start.square().mean().expand(len(out.logits))\n"
        "        return replace(out, own_loss=0.25 * cost)\n"
    )
    words = ["train", "--data", str(sudokus), *TINY, "--steps", "3", "--log-every", "1"]
    for name in ("mine:GRU", "pondering:Pondering"):
        assert main([*words, "--preset", f"{name}-mini", "--out", name[:4]]) == 0
    first, *_ = trained = _logged("pond")
    assert all(line["own_loss"] > 0 for line in trained)
    sums = [ln["cell_loss"] + 0.5 * ln["halting_loss"] + ln["own_loss"] for ln in trained]
    assert [line["loss"] for line in trained] == pytest.approx(sums, rel=1e-5)
    plain = _logged("mine")
    assert "own_loss" not in plain[0]
    assert first["cell_loss"] == plain[0]["cell_loss"]
    assert first["grad_norm"] != plain[0]["grad_norm"], "it has a gradient"


def _logged(run: str) -> list[dict]:
    lines = map(json.loads, Path(run, "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if line["split"] == "train"]


def test_a_table_may_be_of_ones_own_model_alone(place, sudokus):
    words = ["reproduce", "controls", "--scale", "mini", "--out", "alone", "--data", str(sudokus)]
    words += ["--also", "mine:GRU", "--only", "mine:GRU", "--seeds", "1", "--yes"]
    assert main([*words, "--steps", "2", "--device", "cpu"]) == 0
    (made,) = [
        path.name for path in Path("alone").iterdir() if path.is_dir() and "GRU" in path.name
    ]
    assert load_config(Path("alone", made))[0].model.kind == "mine:GRU"


def test_a_run_whose_model_is_gone_says_what_is_missing(run, tmp_path, sudokus, capsys):
    lost = shutil.copytree(run, tmp_path / "lost")
    path = lost / "config.json"
    path.write_text(path.read_text().replace("mine:GRU", "gone.away:GRU"))
    refused(capsys, ["evaluate", lost, "--data", sudokus], "config.json", "no module gone")
    path.write_text(path.read_text().replace("gone.away:GRU", "trm2"))
    refused(capsys, ["evaluate", lost, "--data", sudokus], "config.json", "did you mean trm?")


def test_a_path_alone_stands_for_the_scale_of_the_quickstart(place):
    assert named_preset("mine:GRU")[:2] == ("mine:GRU", "cpu")
    assert preset("mine:GRU") == preset("mine:GRU-cpu")
    assert preset("mine:GRU-cpu").steps == preset("trm-cpu").steps


def test_a_path_to_one_of_ours_is_the_model_itself():
    ours, path = preset("trm-mini"), preset("baselines.trm:TRM-mini")
    assert path.model.kind == "baselines.trm:TRM"
    assert path.model_dump(exclude={"model": {"kind"}, "preset": True}) == ours.model_dump(
        exclude={"model": {"kind"}, "preset": True}
    )


def test_a_config_may_answer_for_its_model(place):
    """A scale's sizes and recipe, what a segment takes: by its own class, with no name known."""
    (place / "sized.py").write_text(
        "from mine import GRU as Plain\n"
        "from reasoning.model_config import ModelConfig\n\n"
        "class GRU(Plain):\n"
        "    class Config(ModelConfig):\n"
        "        width: int = 64\n"
        "        steps: int = 8\n\n"
        "        @classmethod\n"
        "        def at_scale(cls, scale, puzzle):\n"
        "            return {'width': 16 if scale == 'mini' else 128}\n\n"
        "        def recipe(self, scale):\n"
        "            return {'optimizer': {'lr': 0.5}, 'supervision': {'segments': 2}}\n\n"
        "        def most_net_calls(self):\n"
        "            return self.steps\n"
    )
    small, large = preset("sized:GRU-mini"), preset("sized:GRU-7m")
    assert (small.model.width, large.model.width) == (16, 128)
    assert (small.optimizer.lr, small.supervision.segments) == (0.5, 2)
    assert small.optimizer.clip == preset("trm-mini").optimizer.clip
    assert small.model.most_net_calls() == 8
    with pytest.raises(UsageError, match="no puzzle model"):
        PUZZLE_MODELS.config_class("unheard-of")


def test_installed_packages_are_listed_apart(place, monkeypatch, capsys, sudokus):
    package = place / "gru-1.0.dist-info"
    package.mkdir(exist_ok=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: gru-package\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text(
        "[loopbench.models]\ngru = mine:GRU\nbad = absent:Model\ntrm = mine:GRU\n"
    )
    monkeypatch.syspath_prepend(str(place))
    found = {p.name for p in metadata.entry_points(group=PUZZLE_MODELS.group)}
    assert found == {"gru", "bad", "trm"}
    assert (
        PUZZLE_MODELS.config_class("trm") is PUZZLE_MODELS.model_class("trm").Config
    )  # loopbench's own name
    assert main(["presets", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    rows = {row["preset"]: row for row in listed if "package" in row}
    assert not rows.keys() & set(preset_names())
    row = rows["gru-mini"]
    assert (row["package"], row["model"]) == ("gru-package", "mine:GRU")
    width, cells, vocabulary = 64, 81, 11
    numbers = vocabulary * width + cells * width + cells * (cells + 1)  # tokens, start, mix
    numbers += 3 * width * (3 * width + 2) + (width + 1) * (vocabulary + 2)  # cell, heads
    assert row["parameters"]["sudoku_9x9"] == numbers
    assert row["net_calls_per_segment"]["sudoku_9x9"] is None
    assert "no module absent" in rows["bad-cpu"]["error"]
    assert main(["presets"]) == 0
    shown = capsys.readouterr().out
    assert "presets of installed packages" in shown
    assert "bad-cpu: gru-package, cannot be loaded" in shown
    words = ["train", "--preset", "gru-mini", "--data", str(sudokus), "--out", "installed", *TINY]
    assert main(words) == 0
    assert load_config(Path("installed"))[0].model.kind == "gru"


def test_every_name_of_the_registry_is_the_kind_of_its_settings():
    for name in PUZZLE_MODELS.shipped:
        config = PUZZLE_MODELS.config_class(name)
        assert config().kind == name
        assert issubclass(config, ModelConfig)


OLD = {
    "attractor": {"width": 32, "layers": 1, "heads": 2, "solver": {"max_evaluations": 4}},
    "trm": {"width": 32, "layers": 1, "heads": 2, "cycles": 2},
    "hrm": {"width": 32, "layers": 1, "heads": 2},
    "transformer": {"width": 32, "layers": 1, "heads": 2},
    "two-step": {"width": 32, "layers": 1, "heads": 2},
    "attractor-reset": {"width": 32, "layers": 1, "heads": 2},
}


@pytest.mark.parametrize("kind", OLD)
def test_configurations_written_before_there_was_a_registry_open(kind, tmp_path):
    written = {"preset": f"{kind}-mini", "steps": 4, "model": {"kind": kind, **OLD[kind]}}
    grid = {"kind": "sudoku", "size": 4, "cells": 16, "vocabulary": 6, "puzzles": 1}
    (tmp_path / "config.json").write_text(json.dumps({"config": written, "grid": grid}))
    config, _ = load_config(tmp_path)
    assert type(config.model) is PUZZLE_MODELS.config_class(kind)
    for name, value in OLD[kind].items():
        found = config.model.model_dump()[name]
        assert {k: found[k] for k in value} == value if isinstance(value, dict) else found == value


def test_net_calls_that_a_config_claims_are_those_a_segment_makes():
    """At full depth, for every preset: a solver that cannot converge makes them all."""
    shape = GridShape(16, 6, 1, *puzzle_structure("sudoku", 4))
    inputs, ids = torch.randint(1, 6, (2, 16)), torch.zeros(2, dtype=torch.int64)
    for name in (n for n in preset_names() if n.endswith("-mini")):
        config = preset(name, "sudoku", 16).model
        if config.solver_settings() is not None:
            endless = config.solver_settings().model_copy(
                update={"tolerance": 1e-30, "min_evaluations": 3}
            )
            config = config.model_copy(update={"solver": endless})
        model = PUZZLE_MODELS.model_class(config.kind)(config, shape)
        with torch.no_grad():
            output = model.segment(model.initial_state(2), inputs, ids, Depth())
        assert output.net_calls.tolist() == [config.most_net_calls()] * 2, name
        again = model.segment(output.state, inputs, ids, Depth())
        assert torch.equal(again.logits, output.logits) != config.reads_carry(), name


LANGUAGE = '''
import torch
from pydantic import BaseModel
from torch import nn

from reasoning.pretraining.protocol import Cost, LMOutput, SolveBudget


class Cache:
    total, length = 0.0, 0


class Mean(nn.Module):
    """Every token is told by the mean of those up to it."""

    class Config(BaseModel):
        width: int = 32
        context: int = 256

    def __init__(self, config, vocabulary):
        super().__init__()
        self.config, self.vocabulary, self.context = config, vocabulary, config.context
        self.embedding = nn.Embedding(vocabulary, config.width)
        self.out = nn.Linear(config.width, vocabulary, bias=False)

    def forward(self, tokens, budget=SolveBudget(), seeds=None, cache=None):
        summed, length = self.embedding(tokens).cumsum(1), tokens.shape[1]
        counts = torch.arange(1, length + 1, device=tokens.device)
        if cache is not None:
            summed, counts = summed + cache.total, counts + cache.length
            cache.total, cache.length = summed[:, -1:], cache.length + length
        return LMOutput(self.out(summed / counts[:, None]).float())

    def new_cache(self, kind="trajectory"):
        return Cache()

    def parameter_roles(self):
        return {"embedding.weight": "embedding", "out.weight": "matrix"}

    def cost(self):
        table = self.embedding.weight.numel()
        return Cost(2 * table, table, 0, 0, 0, 0, 0, self.config.width)

    def blocks(self):
        return []

    def repeated_blocks(self):
        return []
'''


def test_a_language_model_of_ones_own_is_pretrained_evaluated_and_generates(place, capsys):
    (place / "text.txt").write_text("the cat sat on the mat and the dog sat on the log\n" * 200)
    (place / "held.txt").write_text("a dog and a cat sat on a log\n" * 50)
    (place / "tongue.py").write_text(LANGUAGE)
    words = ["corpus", "build", "text.txt", "--validation", "held.txt", "--tokenizer", "bytes"]
    assert main([*words, "--out", "corpus"]) == 0
    few = ["--steps", "4", "--log-every", "2", "--context", "32", "--batch", "4", "--lanes", "2"]
    few += ["--validation.rows", "4", "--checkpoint-every", "2", "--validation.every", "2"]
    few += ["--device", "cpu"]
    words = [
        "pretrain",
        "--preset",
        "tongue:Mean-mini",
        "--corpus",
        "corpus",
        "--model.width",
        "16",
    ]
    assert main([*words, "--out", "lm", *few]) == 0
    record = json.loads(Path("lm/config.json").read_text())["config"]
    assert record["model"] == {"width": 16, "context": 256, "kind": "tongue:Mean"}
    assert record["preset"] == "tongue:Mean-mini"
    assert main(["pretrain", "--resume", "lm", "--steps", "6"]) == 0
    assert main(["evaluate-lm", "lm", "--corpus", "corpus"]) == 0
    assert main(["generate", "lm", "--prompt", "the cat", "--tokens", "3"]) == 0
    capsys.readouterr()
    (place / "dumb.py").write_text(LANGUAGE.replace("context: int = 256", "longest: int = 256"))
    refused(capsys, [*words[:2], "dumb:Mean-mini", *words[3:]], "no field context")
    refused(capsys, [*words[:2], "mine:GRU-mini", *words[3:]], "no language model", "no new_cache")
    refused(capsys, [*words[:2], "tongue:Mean-huge", *words[3:]], "no size is called 'huge'")
    refused(
        capsys,
        ["train", "--preset", "tongue:Mean-mini", "--data", "x", "--out", "no"],
        "x: no such folder",
    )
