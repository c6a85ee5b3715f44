"""A run pushed and fetched again, with a folder standing in for the hub."""

import json
import shutil

import pytest
import torch
import yaml

from puzzles.dataset import read_split
from puzzles.sudoku.rules import format_grid, from_tokens
from reasoning.training.distribution import World
from reasoning.training.runs import RunError
from scripts.cli import main
from scripts.runs import hub
from scripts.runs.session import open_run

hub_library = pytest.importorskip("huggingface_hub", reason="needs the extra `hub`")
CPU = World(0, 1, torch.device("cpu"))
NAME = "someone/four-by-four"


@pytest.fixture
def evaluated(trained, sudokus, tmp_path):
    """The trained run, and what `loopbench evaluate` writes."""
    run = tmp_path / "evaluated"
    shutil.copytree(trained, run)
    scores = {name: {"mean": 0.25, "stderr": 0.1, "n": 20} for name in ("cell", "exact", "valid")}
    record = {"split": "test", "metrics": scores}
    (run / "evaluation-sudoku4.json").write_text(json.dumps(record))
    return run


def test_a_run_comes_back_as_it_was_pushed(evaluated, stand_in, capsys):
    assert main(["push", str(evaluated), NAME]) == 0
    assert f"--pretrained hub:{NAME} PUZZLE" in capsys.readouterr().out
    found, ours = hub.load_hub(NAME, CPU), open_run(evaluated, CPU)
    assert (found.kind, found.size, found.step) == (ours.kind, ours.size, ours.step)
    assert found.config == ours.config.model_copy(update={"data": ""})
    theirs = found.model.state_dict()
    assert theirs.keys() == ours.model.state_dict().keys()
    for name, value in ours.model.state_dict().items():
        assert torch.equal(theirs[name], value)
    written = "".join(
        (stand_in / "model" / NAME / name).read_text() for name in ("config.json", "loopbench.json")
    )
    assert str(stand_in) not in written  # no path of this machine
    assert sorted(path.name for path in (stand_in / "model" / NAME).iterdir()) == [
        "README.md",
        "config.json",
        "loopbench.json",
        "model.safetensors",
    ]


def test_the_card_tells_task_recipe_scores_and_limits(evaluated, stand_in):
    assert main(["push", str(evaluated), NAME]) == 0
    text = (stand_in / "model" / NAME / "README.md").read_text()
    _, head, body = text.split("---\n", 2)
    (result,) = yaml.safe_load(head)["model-index"][0]["results"]
    assert result["metrics"] == [{"type": "exact", "name": "exact %", "value": 25.0}]
    assert "| held-out puzzles of sudoku4 | exact | 25.0 ± 10.0 | 20 |" in body
    for part in ("sudoku 4x4", "`attractor-mini", "20 steps of batch 16", "## Limits", NAME):
        assert part in body
    # The hub's own reading of it.
    assert hub_library.ModelCard(text).data.library_name == "loopbench"
    # Without an evaluation the training's own last scores stand there, and say so.
    for scores in evaluated.glob("evaluation-*"):
        scores.unlink()
    assert main(["push", str(evaluated), NAME]) == 0
    text = (stand_in / "model" / NAME / "README.md").read_text()
    assert "during the training, at step 20 | exact |" in text


def card_of(run, stand_in):
    assert main(["push", str(run), NAME]) == 0
    return (stand_in / "model" / NAME / "README.md").read_text()


def rewrite(path, change):
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def test_the_card_tells_what_the_weights_learned_from(evaluated, sudokus, stand_in, tmp_path):
    puzzles = len(read_split(sudokus, "train").inputs)
    text = card_of(evaluated, stand_in)
    assert (
        f"{puzzles} puzzles of sudoku 4x4, the folder `sudoku4`.\nMade by `loopbench data sudoku`"
        in text
    )
    assert f"seed 0, size 4, train {puzzles}, test 20, search_rounds 0." in text
    assert "A fresh random symmetry is taken of every puzzle drawn." in text
    assert "It began with" not in text
    config = evaluated / "config.json"
    begun = {"run": "/some/where/before", "step": 7}
    rewrite(config, lambda record: record.update(started_from=begun))
    rewrite(config, lambda record: record["config"].update(augment=False))
    text = card_of(evaluated, stand_in)
    for part in (
        "drawn as it stands, without symmetries.",
        "weights of another run, `before` at step 7",
    ):
        assert part in text
    assert "/some" not in text


def test_the_card_tells_no_number_of_puzzles_that_are_not_there_any_more(
    evaluated, sudokus, stand_in, tmp_path
):
    config, moved = evaluated / "config.json", tmp_path / "sudoku4"
    rewrite(config, lambda record: record["config"].update(data=str(moved)))
    told = "The folder `sudoku4`; it does not hold them where the run was pushed"
    assert told in card_of(evaluated, stand_in)
    # Others of the same name are not those that it was trained on.
    words = ["data", "sudoku", "--size", "4", "--train", "30", "--test", "20", "--seed", "1"]
    assert main([*words, "--out", str(moved)]) == 0
    text = card_of(evaluated, stand_in)
    assert told in text
    assert "30 puzzles" not in text
    shutil.rmtree(moved)
    shutil.copytree(sudokus, moved)
    assert "puzzles of sudoku 4x4, the folder `sudoku4`" in card_of(evaluated, stand_in)


def test_the_card_of_imported_weights_tells_no_training(evaluated, stand_in):
    config = evaluated / "config.json"
    rewrite(config, lambda record: record["config"].update(data=""))
    rewrite(config, lambda record: record.update(released={"file": "step_5"}))
    text = card_of(evaluated, stand_in)
    assert "Not recorded: the weights were imported, from `step_5`." in text
    assert "symmetry" not in text
    assert "steps of batch" not in text


def test_the_five_lines_of_the_card_work_as_they_stand(evaluated, stand_in, capsys):
    assert main(["push", str(evaluated), NAME]) == 0
    text = (stand_in / "model" / NAME / "README.md").read_text()
    lines = text.partition("```python\n")[2].partition("```")[0]
    assert len(lines.strip().splitlines()) == 5
    names = {}
    capsys.readouterr()
    exec(lines, names)
    assert len(names["puzzle"]) == 16
    printed = capsys.readouterr().out
    main(["solve", str(evaluated), names["puzzle"], "--device", "cpu"])
    assert capsys.readouterr().out == printed


def test_the_card_reads_as_a_sentence_and_names_what_can_be_installed(evaluated, stand_in):
    assert main(["push", str(evaluated), NAME]) == 0
    text = (stand_in / "model" / NAME / "README.md").read_text()
    assert "\nAn attractor model of 14,306 parameters" in text
    assert "pip install 'loopbench" not in text  # no index has it
    assert text.endswith(".\n")


def test_a_score_says_what_was_spent_on_it_and_whose_it_is(evaluated):
    path = evaluated / "evaluation-sudoku4.json"
    record = json.loads(path.read_text())
    spent = {"segments": 64, "evaluations": 9, "tolerance": 1e-4, "step": 10}
    spent["search"] = {"candidates": 16, "rule": "verified"}
    path.write_text(json.dumps(record | spent))
    (result,) = hub.results_of(evaluated, 20)
    assert result["of"] == (
        "held-out puzzles of sudoku4, 64 segments, at most 9 solver evaluations each, solved to "
        "0.0001, best of 16 by verified, of the weights at step 10"
    )
    spent["search"] = {"candidates": 32, "rule": "restart"}
    path.write_text(json.dumps(record | spent))
    (result,) = hub.results_of(evaluated, 20)
    assert "the first to claim, of 32" in result["of"]
    alone = {"segments": 4, "step": 20, "search": {"candidates": 1, "rule": "single"}}
    path.write_text(json.dumps(record | alone))
    (result,) = hub.results_of(evaluated, 20)
    assert result["of"] == "held-out puzzles of sudoku4, 4 segments"
    # What another evaluation took the place of is no result any more.
    (evaluated / "evaluation-sudoku4-earlier-1.json").write_text("{")
    assert len(hub.results_of(evaluated, 20)) == 1
    for text, told in (("[", "not readable as JSON"), ("[]", "is no evaluation")):
        path.write_text(text)
        with pytest.raises(RunError, match=told):
            hub.results_of(evaluated, 20)


def test_solve_answers_with_it(trained, stand_in, sudokus, capsys):
    assert main(["push", str(trained), NAME]) == 0
    puzzle = format_grid(from_tokens(read_split(sudokus, "test").inputs[0]))
    capsys.readouterr()
    main(["solve", str(trained), puzzle, "--device", "cpu"])
    own = capsys.readouterr().out
    main(["solve", "--pretrained", f"hub:{NAME}", puzzle, "--device", "cpu"])
    assert capsys.readouterr().out == own


def test_what_cannot_be_had_is_told_in_one_line(trained, stand_in, capsys):
    for words, told in (
        (["solve", "--pretrained", "hub:no/one", "." * 16], "no such repository"),
        (["solve", "--pretrained", "hub:one", "." * 16], "give user/name"),
        (["solve", "--pretrained", "nothing", "." * 16], "give sudoku, maze or hub:USER/NAME"),
        (["push", str(trained), "one"], "give user/name"),
    ):
        assert main(words) == 2
        said = capsys.readouterr().err
        assert told in said
        assert said.count("\n") == 1
    assert main(["push", str(trained), NAME]) == 0
    weights = stand_in / "model" / NAME / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(RunError, match="not as it was pushed"):
        hub.load_hub(NAME, CPU)
    (stand_in / "model" / NAME / "loopbench.json").unlink()
    with pytest.raises(RunError, match="is not a run that loopbench pushed"):
        hub.load_hub(NAME, CPU)


def test_a_network_that_is_not_there_is_told(trained, monkeypatch, capsys):
    underneath = hub_library.errors.HfHubHTTPError.__mro__[1]

    def create_repo(self, name, **options):
        raise underneath("no name server")

    monkeypatch.setattr(hub_library.HfApi, "create_repo", create_repo)
    assert main(["push", str(trained), NAME]) == 2
    assert "the hub is not reached, or refuses (no name server)" in capsys.readouterr().err


def test_what_was_pushed_chooses_no_module_to_import(trained, stand_in):
    assert main(["push", str(trained), NAME]) == 0
    config = stand_in / "model" / NAME / "config.json"
    made = json.loads(config.read_text())
    places = [made["config"]["model"], made["grid"]]
    places += [made["config"]["model"][name] for name in ("solver", "gradient")]
    for place in places:
        kept, place["kind"] = place["kind"], "absent.module:Name"
        config.write_text(json.dumps(made))
        with pytest.raises(RunError, match="of a kind of its own"):
            hub.load_hub(NAME, CPU)
        place["kind"] = kept


def test_a_run_of_a_kind_of_its_own_is_not_pushed_for_nobody_to_load(
    trained, stand_in, tmp_path, capsys
):
    run = tmp_path / "own"
    shutil.copytree(trained, run)
    record = json.loads((run / "config.json").read_text())
    record["config"]["model"]["kind"] = "reasoning.attractor:Attractor"
    (run / "config.json").write_text(json.dumps(record))
    assert main(["push", str(run), NAME]) == 2
    said = capsys.readouterr().err
    assert "is of a kind of its own (reasoning.attractor:Attractor)" in said
    assert said.count("\n") == 1
    assert not (stand_in / "model").exists()


def test_weights_of_another_configuration_are_told_in_one_line(trained, stand_in, capsys):
    assert main(["push", str(trained), NAME]) == 0
    config = stand_in / "model" / NAME / "config.json"
    made = json.loads(config.read_text())
    made["config"]["model"]["width"] = 64
    config.write_text(json.dumps(made))
    capsys.readouterr()
    assert main(["solve", "--pretrained", f"hub:{NAME}", "." * 16]) == 2
    assert capsys.readouterr().err == (
        f"loopbench: hub:{NAME}: its weights are not those of its config.json\n"
    )
