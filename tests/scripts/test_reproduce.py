"""Table 2 end to end at toy size, and its published column against the paper."""

import json
from pathlib import Path

import pytest
import torch

from puzzles import sources
from puzzles.dataset import read_split, write_dataset
from reasoning.training.distribution import World
from scripts.cli import main
from scripts.models.labels import differences
from scripts.models.presets import preset, preset_names
from scripts.runs.recorded import load_config
from scripts.studies import plan, table2
from scripts.studies.ablations import ABLATIONS, configuration
from scripts.studies.result_records import make_record
from scripts.studies.table2 import SYSTEMS


def test_table2_runs_whole_resumes_and_shows_the_papers_numbers(tmp_path, capsys, monkeypatch):
    # A row for sudoku only, two sizes of one model. Every system's configuration is built below.
    rows = tuple(s for s in SYSTEMS if s.model in ("trm-mlp", "trm"))
    monkeypatch.setattr("scripts.studies.table2.SYSTEMS", rows)
    monkeypatch.setattr("scripts.studies.table2._LARGE_LAYERS", 3)  # eight take their time
    out = tmp_path / "table2"
    words = ["reproduce", "table2", "--scale", "mini", "--steps", "2", "--out", str(out)]
    assert main(words) == 0
    stamps = {p: p.stat().st_mtime_ns for p in out.rglob("manifest.json")}
    assert len(stamps) == 3 + 2  # TRM-mlp serves sudoku only
    assert main(words) == 0
    assert stamps == {p: p.stat().st_mtime_ns for p in out.rglob("manifest.json")}
    capsys.readouterr()
    found = json.loads((out / "table2.json").read_text())
    assert found["published"]["trm-7m"] == {"sudoku": 74.7, "maze": 85.3}
    assert found["ours"]["sudoku"]["trm-7m"]["metrics"]["exact"]["n"] == 1
    large = found["ours"]["sudoku"]["trm-27m"]["parameters"]
    small = found["ours"]["sudoku"]["trm-7m"]["parameters"]
    assert large > 2 * small
    rows = [line for line in (out / "table2.md").read_text().splitlines() if "| TRM | 7M" in line]
    assert len(rows) == 1
    assert "| 74.7 |" in rows[0]
    assert "| 85.3 |" in rows[0]
    assert (out / "maze" / "report.html").exists()

    recorded = make_record(out / "table2.json", command="loopbench reproduce table2")
    assert (recorded.study, recorded.scale) == ("reproduce table2", "mini")
    arm = recorded.arm("trm-7m", "maze")
    assert arm.published == {"exact": 0.853}
    assert arm.spread("exact").mean == found["ours"]["maze"]["trm-7m"]["metrics"]["exact"]["mean"]
    assert recorded.arm("trm-mlp-5m", "maze") is None

    assert main([*words, "--only", "trm-27m"]) == 0
    assert stamps == {p: p.stat().st_mtime_ns for p in out.rglob("manifest.json")}
    some = json.loads((out / "table2.json").read_text())["ours"]
    assert [list(groups) for groups in some.values()] == [["trm-27m"]] * 2
    assert "TRM-mlp" not in (out / "table2.md").read_text()


def test_full_scale_uses_the_published_sizes():
    names = [system.preset_name("full") for system in SYSTEMS]
    assert set(names) <= set(preset_names())
    assert SYSTEMS[-1].published == {"sudoku": 91.4, "maze": 93.1}
    assert names[0] == "transformer-27m"
    assert names[2] == "trm-7m"


def test_an_ablation_changes_one_thing_and_names_it(tmp_path, capsys):
    out = tmp_path / "gradients"
    words = ["reproduce", "gradients", "--scale", "mini", "--steps", "5", "--out", str(out)]
    assert main(words) == 0
    whole = (out / "comparison.json").read_text()
    assert main([*words, "--only", "one-step", "phantom K 3"]) == 0
    assert list(json.loads((out / "comparison.json").read_text())) == ["phantom K 3", "one-step"]
    assert main([*words, "--only", "one-stop"]) == 2
    assert "did you mean one-step?" in capsys.readouterr().err
    groups = json.loads(whole)
    names = ["phantom K 1", "phantom K 2", "phantom K 3"]
    assert list(groups) == [*names, "one-step", "neumann", "unrolled", "adjoint, clip 2"]
    # More phantom steps keep more for the backward pass; implicit gradients keep one application.
    kept = {name: group["training_bytes"]["mean"] for name, group in groups.items()}
    assert kept["phantom K 1"] < kept["phantom K 2"] < kept["phantom K 3"] < kept["unrolled"]
    assert kept["one-step"] < kept["phantom K 2"]
    capsys.readouterr()


@pytest.mark.parametrize("name", ABLATIONS)
def test_variants_of_an_ablation_are_different_configurations(name, tmp_path):
    configs = [configuration(v, "mini", tmp_path).model_dump() for v in ABLATIONS[name]]
    names = [config.pop("preset") for config in configs]
    assert len(set(names)) == len(names)
    assert all(a != b for i, a in enumerate(configs) for b in configs[:i])


def test_parts_of_a_recipe_train_without_the_solver_and_warm_up_for_a_tenth(tmp_path):
    parts = {
        v.name: configuration(v, "1m", tmp_path, {"steps": 330}, ("sudoku", 81))
        for v in ABLATIONS["parts"]
    }
    assert {config.optimizer.warmup for config in parts.values()} == {33}
    evaluations = {name: c.model.solver.max_evaluations for name, c in parts.items()}
    assert evaluations.pop("three evaluations before") == 3
    assert set(evaluations.values()) == {0}
    whole = preset("attractor-digits-1m", "sudoku", 81)
    first = parts.pop("as it is")
    assert (first.loss, first.supervision) == (whole.loss, whole.supervision)
    assert first.model.width == whole.model.width == 60
    # Each in what its name says, of the net, the loss, the optimiser or the supervision.
    told = {
        name: {line.split(" ")[0] for line in differences(config, first)} - {"preset"}
        for name, config in parts.items()
    }
    net = {"model.mixer", "model.fields", "model.width"}
    assert told["attention along units"] == {"model.mixer"}
    assert told["no digit fields, sums along units"] == {"model.fields", "model.width"}
    assert told["no digit fields, MLP over the cells"] == net
    assert told["no digit fields, attention"] == net | {"model.positions"}
    assert told["adamw 3e-3"] == {"optimizer.name", "optimizer.lr"}
    assert told["three evaluations before"] == {
        "model.solver.max_evaluations",
        "supervision.curriculum",
    }
    ends = [(s.until, s.segments) for s in parts["three evaluations before"].supervision.curriculum]
    assert ends == [(s.until, s.segments) for s in first.supervision.curriculum]
    assert all(len(fields) == 1 for name, fields in told.items() if name[:9] in _ALONE)


@pytest.mark.parametrize(
    ("name", "only", "word", "said"),
    [
        (
            "parts",
            "layers 1",
            "model.layers=4",
            "model.layers: the row layers 1 has its own",
        ),
        (
            "parts",
            "as it is",
            "optimizer.warmup=9",
            "the row as it is has its own, 6",
        ),
        ("layers", "trm 8 layers, deep recipe", "optimizer.lr=0.1", "has its own, 0.05"),
        ("parts", "as it is", "steps=9", "use --steps"),
    ],
)
def test_what_a_row_is_named_for_or_trained_by_is_not_set(name, only, word, said, tmp_path, capsys):
    words = ["reproduce", name, "--scale", "mini", "--only", only, "--out", str(tmp_path / "no")]
    assert main([*words, "--set", word]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_a_curriculum_that_is_set_need_not_name_every_field_of_its_stages(tmp_path):
    stages = [{"until": 0.5, "segments": 2}, {"until": 1.0, "segments": 4}]
    variant = next(v for v in ABLATIONS["controls"] if v.name == "trm")
    changes = {"supervision": {"curriculum": stages}}
    made = configuration(variant, "mini", tmp_path, changes).supervision.curriculum
    assert [(stage.until, stage.segments) for stage in made] == [(0.5, 2), (1.0, 4)]
    item = {"supervision": {"curriculum": {"0": {"segments": 2}}}}
    assert configuration(variant, "mini", tmp_path, item).supervision.curriculum[0].segments == 2


_ALONE = ("loss at t", "candidate", "label smo", "stablemax", "layers 1", "layers 4", "phantom K")
_ALONE += ("one state", "random st", "16 segmen")


def test_rows_of_parts_spend_the_first_ones_flops(tmp_path):
    """Each for the number of steps that does; of less than a log interval, within a step."""
    only = ["layers 1", "phantom K 8"]
    words = ["reproduce", "parts", "--scale", "mini", "--steps", "20", "--device", "cpu"]
    words += ["--out", str(tmp_path / "parts"), "--only", *only]
    assert main([*words, "--set", "model.multiple=16", "loss.halting=0.1"]) == 0
    groups = json.loads((tmp_path / "parts" / "comparison.json").read_text())
    assert list(groups) == only
    steps = [group["runs"][0]["steps"] for group in groups.values()]
    assert steps[0] > 20 > steps[1]
    spent = [group["training_flops"]["mean"] for group in groups.values()]
    assert spent[0] == pytest.approx(spent[1], rel=0.25)
    for group in groups.values():
        assert "cell_loss" in group["runs"][0]
        config, _ = load_config(Path(group["runs"][0]["run"]))
        assert (config.model.multiple, config.loss.halting) == (16, 0.1)  # of every row
    first = (tmp_path / "parts" / "comparison.md").read_text().splitlines()[0]
    assert first == "# Parts, scale mini, model.multiple=16, loss.halting=0.1"


def test_the_deep_recipe_warms_up_for_half_of_the_run_it_is_given(tmp_path):
    plain, deep = (
        configuration(v, "cpu", tmp_path, {"steps": 700})
        for v in ABLATIONS["layers-mlp"]
        if v.name.startswith("trm-mlp 8 layers")
    )
    assert (plain.steps, plain.model.layers) == (deep.steps, deep.model.layers) == (700, 8)
    assert deep.optimizer.warmup == 350
    assert deep.optimizer.lr == plain.optimizer.lr / 2
    assert (plain.model.branch_scale, deep.model.branch_scale) == (1.0, 0.25)


@pytest.mark.parametrize(("words", "said"), [([], "table2"), (["table9"], "did you mean table6?")])
def test_an_unknown_table_is_refused(words, said, capsys):
    assert main(["reproduce", *words]) == 2
    assert said in capsys.readouterr().err


def test_table2_shows_what_failed_or_learned_nothing_and_how_many_ran(monkeypatch):
    spread = {"mean": 0.0, "sd": 0.0, "n": 1}
    metrics = {"exact": spread, "valid": spread}
    group = {"runs": [{}] * 3, "failed": 2, "collapsed": 1, "parameters": 9}
    group |= {"metrics": metrics, "training_flops": None}
    lost = {"runs": [{}] * 2, "failed": 2}
    monkeypatch.setattr(table2, "SYSTEMS", SYSTEMS[-2:])
    small, large = (table2._slug(system) for system in SYSTEMS[-2:])
    found = {"sudoku": {small: group, large: lost}, "maze": {small: lost, large: lost}}
    first, second = table2._markdown(found, "mini").splitlines()[2:4]
    assert "| 3, 2 failed, 1 collapsed | 0.0 | 0.0 |" in first
    assert second.count("| 2, 2 failed | - |") == 2


@pytest.mark.parametrize("flag", ["--maze", "--sudoku"])
def test_table2_refuses_the_wrong_puzzles_before_it_trains(flag, sudokus, mazes, tmp_path, capsys):
    wrong = sudokus if flag == "--maze" else mazes
    out = tmp_path / "table2"
    words = ["reproduce", "table2", "--scale", "mini", "--steps", "2", flag, str(wrong)]
    assert main([*words, "--out", str(out)]) == 2
    assert str(wrong) in capsys.readouterr().err
    assert not list(out.rglob("config.json"))


def test_data_of_another_scale_is_not_taken(tmp_path, capsys):
    out = tmp_path / "out"
    words = ["reproduce", "controls", "--steps", "1", "--out", str(out)]
    write_dataset(out / "data", *sources.sudoku(4, train=64, test=32, seed=0))
    assert main([*words, "--scale", "cpu"]) == 2
    assert "holds other puzzles (size 4" in capsys.readouterr().err


def test_more_than_an_hour_is_told_and_begun_only_with_yes(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(table2, "SYSTEMS", SYSTEMS[2:3])
    out = tmp_path / "table2"
    words = ["reproduce", "table2", "--scale", "mini", "--out", str(out)]
    monkeypatch.setattr("scripts.studies.plan.step_seconds", lambda config, train, world: 3600.0)
    assert main([*words, "--steps", "3"]) == 2
    told = capsys.readouterr()
    assert "the first 1 alone take about 3.0 hours" in told.err
    assert "--yes" in told.err
    assert f"sudoku: {out}/data/sudoku, generated here" in told.out
    assert "2 runs, 6 steps on cpu" in told.out
    assert not list(out.rglob("config.json"))
    assert main([*words, "--steps", "3", "--yes"]) == 0
    assert len(list(out.rglob("config.json"))) == 2
    capsys.readouterr()
    assert main([*words, "--steps", "3"]) == 0, "finished runs take no time"
    assert "runs," not in capsys.readouterr().out


def test_a_measured_step_is_scaled_to_the_batch(sudokus, monkeypatch):
    train = read_split(sudokus, "train")
    config = preset("trm-mini")
    asked = []
    monkeypatch.setattr(plan.time, "perf_counter", iter([0.0, 1.0] * 2).__next__)
    monkeypatch.setattr(plan, "Trainer", lambda model, stream, *rest: _Counted(asked, stream))
    world = World(0, 1, torch.device("cpu"))
    assert plan.step_seconds(config, train, world) == 1.0
    monkeypatch.setattr(plan, "_MEASURED", 1.0)
    assert plan.step_seconds(config, train, world) == config.batch
    assert asked == [config.batch, config.batch, 1, 1]


class _Counted:
    """Stands for a trainer: notes the slots of every step."""

    def __init__(self, asked, stream):
        self.asked, self.batch = asked, stream.batch

    def advance(self):
        self.asked.append(self.batch)
        return {"loss": 0.0}
