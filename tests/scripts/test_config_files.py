"""`--config FILE` and `presets NAME`: a configuration written, read back, changed, refused."""

import json

import pytest
import yaml

from scripts.cli import main
from scripts.models.lm_models import LANGUAGE_PRESETS
from scripts.models.lm_presets import language_preset
from scripts.models.presets import RunConfig, preset, preset_names
from scripts.runs import pretrain_words, train_words, training_words
from scripts.runs.recorded import load_config
from scripts.terminal.config_files import configured, read_config_file
from scripts.usage import UsageError


@pytest.mark.parametrize("task", ["sudoku", "language"])
def test_every_preset_is_printed_as_yaml_that_reads_back_the_same(task, tmp_path, capsys):
    names = preset_names() if task == "sudoku" else list(LANGUAGE_PRESETS)
    for name in names:
        assert main(["presets", name, "--task", task]) == 0
        (tmp_path / "c.yaml").write_text(capsys.readouterr().out)
        words = ["--config", str(tmp_path / "c.yaml"), "--out", "run"]
        if task == "sudoku":
            # Of no data folder, which would be read: the file's own settings alone.
            given = configured(
                tmp_path / "c.yaml",
                words,
                lambda name: preset("trm-mini"),
                RunConfig,
                training_words.OF_LANGUAGE,
            )
            assert given == preset(name)
        else:
            given = pretrain_words.read_words([*words, "--corpus", "c"]).config
            assert given.model_copy(update={"corpus": ""}) == language_preset(name)


def test_a_name_of_both_kinds_is_of_puzzles_unless_asked(capsys):
    assert "attractor-mini" in {*preset_names()} & {*LANGUAGE_PRESETS}
    assert main(["presets", "attractor-mini"]) == 0
    assert "supervision" in yaml.safe_load(capsys.readouterr().out)
    assert main(["presets", "deq-mini"]) == 0
    assert "lanes" in yaml.safe_load(capsys.readouterr().out)
    assert main(["presets", "atractor-cpu"]) == 2
    assert "did you mean attractor-cpu?" in capsys.readouterr().err


def test_a_file_changes_what_it_names_and_words_go_before_it(sudokus, tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("preset: attractor-mini\nsteps: 7\nmodel:\n  solver: {tolerance: 1e-2}\n")
    words = ["--config", str(file), "--data", str(sudokus), "--out", "run", "--seed", "5"]
    config = train_words.read_words([*words, "--steps", "8"]).config
    base = preset("attractor-mini", "sudoku", 16)
    assert (config.steps, config.seed, config.preset) == (8, 5, "attractor-mini")
    assert config.model.solver == base.model.solver.model_copy(update={"tolerance": 0.01})
    assert config.model.gradient == base.model.gradient
    assert train_words.read_words(words).config.steps == 7


def test_a_model_of_another_kind_is_taken_whole(sudokus, tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("preset: attractor-mini\nmodel: {kind: trm, width: 16, heads: 2, layers: 1}\n")
    words = ["--config", str(file), "--data", str(sudokus), "--out", "run"]
    model = train_words.read_words(words).config.model
    assert (model.kind, model.width, model.cycles) == ("trm", 16, 3)


def test_a_runs_own_config_trains_the_same_run_again(trained, tmp_path):
    run = tmp_path / "again"
    assert main(["train", "--config", str(trained / "config.json"), "--out", str(run)]) == 0
    assert load_config(run)[0] == load_config(trained)[0]
    names = ("metrics.jsonl",)
    assert [(run / n).read_bytes() for n in names] == [(trained / n).read_bytes() for n in names]


def test_a_runs_config_of_a_preset_that_is_gone_still_serves(trained, tmp_path):
    record = json.loads((trained / "config.json").read_text())
    record["config"]["preset"] = "older-name"
    (tmp_path / "config.json").write_text(json.dumps(record))
    words = ["--config", str(tmp_path / "config.json"), "--out", "run"]
    assert train_words.read_words(words).config.preset == "older-name"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("steps: 3", "names no preset; add `preset: NAME`"),
        (
            "preset: trm-mini\nmodel: {widht: 3}",
            "unknown key model.widht, did you mean model.width?",
        ),
        ("preset: trm-mini\nstep: 3", "unknown key step, did you mean steps?"),
        ("preset: trm-mini\nsteps: many", "steps: Input should be a valid integer"),
        ("preset: trm-mini\nmodel: {width: 3}", "must be an even multiple"),
        ("preset: trm-mimi", "no preset is called 'trm-mimi', did you mean trm-mini?"),
        ("- a\n- b", "holds no settings"),
        ("a: [", "while parsing"),
        ("a: [", "loopbench presets NAME"),
        ("preset: trm-mini\nsteps: 5\nsteps: 6", "steps stands twice in line 3"),
        ("preset: trm-mini\nmodel: {width: 3, width: 4}", "width stands twice"),
    ],
)
def test_what_a_file_has_wrong_is_told_in_one_line(text, told, tmp_path, capsys):
    (tmp_path / "c.yaml").write_text(text)
    words = ["train", "--config", str(tmp_path / "c.yaml"), "--out", str(tmp_path / "run")]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1
    assert "c.yaml" in said or "trm-mimi" in said
    assert not (tmp_path / "run").exists()


def test_a_merge_of_merges_is_no_key_twice_and_json_is_looked_at_too(tmp_path):
    merged = "a: &a {width: 1}\nb: &b\n  <<: *a\n  width: 2\nc:\n  <<: *b\n"
    (tmp_path / "c.yaml").write_text(merged)
    read = read_config_file(tmp_path / "c.yaml")
    assert read == {"a": {"width": 1}, "b": {"width": 2}, "c": {"width": 2}}
    (tmp_path / "c.json").write_text('{"config": {"steps": 5, "steps": 6}}')
    with pytest.raises(UsageError, match=r"c\.json: steps stands twice"):
        read_config_file(tmp_path / "c.json")


def test_pretraining_names_file_and_key_too(tmp_path, capsys):
    (tmp_path / "c.yaml").write_text("preset: attractor-mini\nmodel: {solver: {tolerence: 1}}\n")
    words = [
        "pretrain",
        "--config",
        str(tmp_path / "c.yaml"),
        "--corpus",
        str(tmp_path),
        "--out",
        "run",
    ]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert (
        "c.yaml: unknown key model.solver.tolerence, did you mean model.solver.tolerance?" in said
    )


def test_a_file_that_is_not_there_and_one_of_another_preset(tmp_path, capsys):
    assert main(["train", "--config", str(tmp_path / "no.yaml"), "--out", "run"]) == 2
    assert "no.yaml: cannot be read" in capsys.readouterr().err
    (tmp_path / "c.yaml").write_text("preset: trm-mini\n")
    words = ["train", "--config", str(tmp_path / "c.yaml"), "--preset", "hrm-mini", "--out", "run"]
    assert main(words) == 2
    assert "leave --preset out" in capsys.readouterr().err


_OF_PUZZLES = "c.yaml: describes a run on puzzles; `loopbench train --config` takes it"
_OF_TEXT = "c.yaml: describes a run on text; `loopbench pretrain --config` takes it"


@pytest.mark.parametrize(
    ("command", "text", "told"),
    [
        # The name is one of both sides' presets: only the settings tell.
        ("pretrain", "preset: attractor-mini\noptimizer: {name: muon}", _OF_PUZZLES),
        ("pretrain", "preset: attractor-mini\nsupervision: {segments: 4}\nsteps: 9", _OF_PUZZLES),
        (
            "pretrain",
            "preset: hrm-cpu\nsteps: 9",
            "hrm-cpu is a preset of puzzles; `loopbench train`",
        ),
        ("train", "preset: attractor-mini\nvalidation: {every: 4}", _OF_TEXT),
        ("train", "preset: attractor-mini\noptimizer: {cooldown: 0.1}", _OF_TEXT),
        (
            "train",
            "preset: deq-60m\nsteps: 9",
            "deq-60m is a preset of language; `loopbench pretrain`",
        ),
        # Of both sides, so of neither: the key that this command does not know is told.
        ("train", "preset: trm-mini\nlanes: 2\naugment: false", "c.yaml: unknown key lanes"),
    ],
)
def test_a_file_for_the_other_command_is_told_as_that(command, text, told, tmp_path, capsys):
    (tmp_path / "c.yaml").write_text(text)
    assert main([command, "--config", str(tmp_path / "c.yaml"), "--out", str(tmp_path / "r")]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(("preset_of", "command"), [("sudoku", "pretrain"), ("language", "train")])
def test_every_preset_of_the_other_side_is_told_as_that(preset_of, command, tmp_path, capsys):
    told = _OF_PUZZLES if preset_of == "sudoku" else _OF_TEXT
    for name in preset_names() if preset_of == "sudoku" else LANGUAGE_PRESETS:
        if not name.endswith("-mini"):
            continue
        assert main(["presets", name, "--task", preset_of]) == 0
        (tmp_path / "c.yaml").write_text(capsys.readouterr().out)
        assert main([command, "--config", str(tmp_path / "c.yaml"), "--out", "r"]) == 2
        assert told in capsys.readouterr().err


def test_a_puzzle_runs_own_config_is_told_to_pretraining(trained, capsys):
    assert main(["pretrain", "--config", str(trained / "config.json"), "--out", "r"]) == 2
    assert "describes a run on puzzles" in capsys.readouterr().err
