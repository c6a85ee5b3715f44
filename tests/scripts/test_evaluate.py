"""`loopbench evaluate` with test-time compute: what it writes, what it refuses."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from puzzles.dataset import read_split
from reasoning.training.checkpoints import load_weights
from reasoning.training.distribution import World
from reasoning.training.evaluation import predict
from reasoning.training.meter import Meter
from scripts.cli import main
from scripts.models.grids import grid_shape
from scripts.models.presets import build_model
from scripts.runs import opened as opening
from scripts.runs.evaluate import difficulty_edges, evaluate_run
from scripts.runs.exploration import Plan, explore
from scripts.runs.recorded import load_config
from scripts.runs.session import open_run, subset


def evaluated(run, data, *words, name=None) -> dict:
    arguments = ["evaluate", run, "--data", data, "--device", "cpu", *words]
    assert main([str(a) for a in arguments]) == 0
    return json.loads((run / f"evaluation-{name or data.name}.json").read_text())


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def test_a_search_reports_every_rule_and_the_headline_is_the_chosen(run, sudokus, capsys):
    words = ("--segments", "3", "--breadth", "2", "--symmetries", "2", "--noise", "0.01")
    record = evaluated(run, sudokus, *words, "--leave", "1e-9", "--select", "majority")
    said = capsys.readouterr().out
    assert "majority (headline)" in said
    assert said.index("majority (headline)") < said.index("single") < said.index("verified")
    rules = ["single", "residual", "halt-first", "restart", "q", "majority", "verified"]
    assert list(record["selection"]) == rules
    assert record["metrics"] == record["selection"]["majority"]["metrics"]
    assert record["by_segment"][-1]["exact"] == record["metrics"]["exact"]["mean"]
    assert record["by_segment"][-1]["cell"] == pytest.approx(record["metrics"]["cell"]["mean"])
    assert record["search"]["candidates"] == 4
    assert record["search"]["residual_of"] == "solver"
    grid = record["grid"]
    assert (grid["depths"], grid["breadths"], grid["n"]) == ([1, 2, 3], [1, 2, 4], 20)
    for rule in rules:
        assert grid["exact"][rule]["mean"][-1][-1] == pytest.approx(
            record["selection"][rule]["metrics"]["exact"]["mean"]
        )
        calls = record["selection"][rule]["net_calls_per_puzzle"]
        assert grid["net_calls"][rule][-1][-1] == pytest.approx(calls["mean"])
        assert calls["n"] == 20
    # Verified is the first valid answer of any: no rule finds a valid one where it does not.
    valid = {rule: record["selection"][rule]["metrics"]["valid"]["mean"] for rule in rules}
    assert max(valid.values()) == valid["verified"]
    assert record["evaluations_per_puzzle"] == grid["evaluations"]["majority"][-1][-1]
    assert {p.name for p in run.glob("*.png")} >= {
        "evaluation-sudoku4-grid.png",
        "evaluation-sudoku4-cost.png",
    }


def test_starts_run_until_one_claims_to_be_right(run, sudokus, capsys, monkeypatch):
    def claiming(*arguments):
        opened, draws = open_run(*arguments), torch.Generator().manual_seed(0)
        with torch.no_grad():
            opened.model.heads.q_head.bias.fill_(-6)
            opened.model.heads.q_head.weight.normal_(generator=draws)
        return opened

    monkeypatch.setattr(opening, "open_run", claiming)
    words = ("--segments", "3", "--breadth", "4", "--noise", "0.3")
    record = evaluated(run, sudokus, *words, "--leave", "claimed")
    said = capsys.readouterr().out
    assert "restart (headline)" in said
    assert "a claim (halting score > 0, answer unchanged) ends its puzzle" in " ".join(said.split())
    wide = evaluated(run, sudokus, *words)
    assert record["metrics"] == wide["selection"]["restart"]["metrics"]
    calls = wide["selection"]["restart"]["net_calls_per_puzzle"]["mean"]
    assert record["net_calls_per_puzzle"] == calls < wide["net_calls_per_puzzle"]
    # What fewer segments of all starts would have said is not known.
    assert [entry["segment"] for entry in record["by_segment"]] == record["grid"]["depths"] == [3]
    assert len(wide["by_segment"]) == 3
    assert (run / "evaluation-sudoku4-cost.png").exists()
    # Of one start, the answer that the rule takes of it.
    alone = evaluated(run, sudokus, "--segments", "3", "--leave", "claimed")
    capsys.readouterr()
    restart = evaluated(run, sudokus, "--segments", "3")["selection"]["restart"]
    assert alone["metrics"] == restart["metrics"]
    assert alone["net_calls_per_puzzle"] == restart["net_calls_per_puzzle"]["mean"]
    assert "restart" in capsys.readouterr().out  # the row of the same, where it runs on


def test_the_first_candidate_is_the_plain_evaluation(run, sudokus):
    plain = evaluated(run, sudokus, "--segments", "3")
    assert plain["search"]["rule"] == "single"
    assert not list(run.glob("*-grid.png"))
    wide = evaluated(run, sudokus, "--segments", "3", "--breadth", "3")
    assert wide["search"]["rule"] == "residual"
    assert wide["selection"]["single"] == plain["selection"]["single"]
    assert plain["net_calls_per_puzzle"] < wide["net_calls_per_puzzle"]


def test_same_words_same_record_and_the_seed_matters(run, sudokus):
    words = ("--segments", "2", "--breadth", "3", "--symmetries", "2", "--noise", "0.1")
    first = evaluated(run, sudokus, *words)
    assert evaluated(run, sudokus, *words) == first
    other = evaluated(run, sudokus, *words, "--seed", "1")
    assert other["median_residual"] != first["median_residual"]


def test_the_solvers_tolerance_saves_evaluations(run, sudokus):
    loose = evaluated(run, sudokus, "--segments", "3", "--tolerance", "10")
    tight = evaluated(run, sudokus, "--segments", "3", "--tolerance", "1e-12")
    assert loose["evaluations_per_puzzle"] == 3  # one a segment, to see that it may stop
    assert tight["evaluations_per_puzzle"] == 9


def test_who_has_converged_leaves(run, sudokus):
    words = ("--segments", "6", "--tolerance", "10")
    leaving = evaluated(run, sudokus, *words, "--leave", "converged")
    staying = evaluated(run, sudokus, *words, "--leave", "never")
    assert leaving["search"]["leave"] == 10
    assert staying["search"]["leave"] is None
    assert staying["evaluations_per_puzzle"] == 6
    # Everyone is below this tolerance at once, and leaves where the answer has stood for a segment.
    assert 2 <= leaving["evaluations_per_puzzle"] < 6
    stood = evaluated(run, sudokus, "--segments", "2", "--tolerance", "10", "--leave", "converged")
    assert stood["evaluations_per_puzzle"] == 2
    # Unless told otherwise, who is at rest leaves.
    resting = evaluated(run, sudokus, "--segments", "6", "--tolerance", "10000")
    assert resting["search"]["leave"] == 10
    assert resting["evaluations_per_puzzle"] == leaving["evaluations_per_puzzle"]
    # What no solver has solved has not converged.
    unsolved = evaluated(run, sudokus, "--evaluations", "0")
    assert unsolved["search"]["leave"] is None
    words = ["evaluate", str(run), "--data", str(sudokus), "--evaluations", "0"]
    assert main([*words, "--leave", "converged"]) == 2


@pytest.mark.parametrize("leave", [None, 1e9])
def test_flops_a_puzzle_are_those_that_a_puzzle_takes(run, sudokus, leave):
    alone, plan = World(0, 1, torch.device("cpu")), Plan(leave=leave)
    opened, one = open_run(run, alone), subset(read_split(sudokus, "test"), 1)
    said = evaluate_run(opened, one, 6, alone, plan=plan).record["flops_per_puzzle"]
    with Meter() as meter:
        explore(opened, one, 6, plan, alone)
    assert said == pytest.approx(meter.flops, rel=1e-3)  # reading the answers is in both


def test_abstention_tells_right_from_wrong_where_there_are_both(run, sudokus):
    record = evaluated(run, sudokus, "--segments", "2")
    exact = record["metrics"]["exact"]
    for found in record["abstention"].values():
        assert found["risk_coverage"]["risk"][-1] == pytest.approx(1 - exact["mean"])
        assert found["risk_coverage"]["area"]["n"] == 20
        assert (found["auroc"] is None) == (exact["mean"] in (0, 1))


def test_packaged_weights_score_as_their_card_says(trained, sudokus, tmp_path, capsys):
    assert main(["package", str(trained), "--data", str(sudokus), "--out", str(tmp_path)]) == 0
    weights, out = tmp_path / "sudoku-4.safetensors", tmp_path / "scores"
    card = json.loads(weights.with_suffix(".json").read_text())
    words = ["evaluate", str(weights), "--data", str(sudokus), "--device", "cpu"]
    assert main([*words, "--out", str(out), "--leave", "never"]) == 0
    path = out / f"evaluation-sudoku-4-{sudokus.name}.json"
    record = json.loads(path.read_text())
    assert record["run"] == str(weights)
    assert record["metrics"] == card["accuracy"]
    assert record["config"]["preset"] == "attractor-mini"
    loosely = ["--leave", "never", "--tolerance", "10", "--precision", "fp32"]
    assert main([*words, "--out", str(out), *loosely]) == 0
    loose = json.loads(path.read_text())
    assert loose["precision"] == "fp32"
    assert loose["evaluations_per_puzzle"] < record["evaluations_per_puzzle"]
    results = tmp_path / "results"
    keep = ["record", str(path), "--name", "packaged", "--command", "loopbench evaluate"]
    assert main([*keep, "--into", str(results)]) == 0
    (arm,) = json.loads((results / "packaged.json").read_text())["arms"]
    assert arm["config"]["run"]["preset"] == "attractor-mini"


def test_weights_that_ship_are_scored_by_the_name_of_their_task(tmp_path, capsys):
    data, out = tmp_path / "six", tmp_path / "scores"
    made = ["data", "sudoku", "--size", "6", "--train", "4", "--test", "8", "--out", str(data)]
    assert main(made) == 0
    words = ["evaluate", "--pretrained", "sudoku", "--data", str(data), "--device", "cpu"]
    assert main([*words, "--out", str(out)]) == 0
    record = json.loads((out / "evaluation-sudoku-six.json").read_text())
    assert record["run"] == "sudoku"
    assert record["metrics"]["exact"] == {"mean": 1.0, "stderr": 0.0, "n": 8}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "give the folder of a run"),
        (["{}", "--pretrained", "sudoku"], "not both"),
        (["--pretrained", "sudoku"], "--out"),
        (["--pretrained", "chess", "--out", "{}/o"], "no weights ship for 'chess'"),
        (["--pretrained", "maze", "--out", "{}/o"], "holds puzzles of kind sudoku"),
        (["--pretrained", "sudoku", "--out", "{}/o"], "no weights ship for sudoku 4x4"),
        (["{}/none.safetensors", "--out", "{}/o"], "no such file"),
        (["--pretrained", "sudoku", "--out", "{}"], "choose another --out"),
    ],
)
def test_weights_that_cannot_be_scored_are_told(words, told, trained, sudokus, capsys):
    named = [word.replace("{}", str(trained)) for word in words]
    assert main(["evaluate", *named, "--data", str(sudokus)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert told in said
    assert not (trained / "o").exists()


def test_a_run_may_be_told_its_own_folder(run, sudokus):
    words = ["evaluate", str(run), "--data", str(sudokus), "--device", "cpu", "--segments", "1"]
    assert main([*words, "--out", str(run)]) == 0
    assert (run / f"evaluation-{sudokus.name}.json").exists()


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--breadth", "0"], ["--breadth", "greater than 0"]),
        (["--symmetries", "0"], ["--symmetries"]),
        (["--noise", "-1"], ["--noise"]),
        (["--leave", "0"], ["--leave"]),
        (["--seed", "-1"], ["--seed"]),
        (["--tolerance", "0"], ["tolerance"]),
        (["--evaluations", "-1"], ["--evaluations"]),
        (["--puzzles", "-1"], ["--puzzles"]),
        (["--select", "verified"], ["select", "majority"]),
        (["--select", "majority", "--leave", "claimed"], ["--select majority", "no vote"]),
        (["--segments", "1", "--leave", "claimed"], ["--leave claimed", "second segment"]),
    ],
)
def test_settings_that_make_no_sense_are_refused(words, parts, trained, sudokus, capsys):
    assert main(["evaluate", str(trained), "--data", str(sudokus), *words]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    for part in parts:
        assert part in said


def test_what_a_model_or_puzzle_lacks_is_refused(mazes, tmp_path, capsys):
    run = tmp_path / "run"
    words = ["train", "--preset", "trm-mini", "--data", str(mazes), "--out", str(run)]
    assert main([*words, "--steps", "5", "--checkpoint-every", "5", "--device", "cpu"]) == 0
    for options, part in (
        (["--tolerance", "0.1"], "no solver"),
        (["--evaluations", "3"], "no solver"),
        (["--symmetries", "9"], "has 8"),
    ):
        assert main(["evaluate", str(run), "--data", str(mazes), *options]) == 2
        assert part in capsys.readouterr().err
    record = evaluated(run, mazes, "--segments", "1", "--symmetries", "8")
    assert record["search"]["residual_of"] == "change of y"
    assert "evaluations_per_puzzle" not in record
    assert "valid shortest, not exact" in " ".join(capsys.readouterr().out.split())


def test_no_evaluations_are_refused_where_the_value_takes_no_steps_of_its_own(run, sudokus, capsys):
    assert evaluated(run, sudokus, "--segments", "1", "--evaluations", "0")  # phantom steps
    record = json.loads((run / "config.json").read_text())
    record["config"]["model"]["gradient"]["kind"] = "one-step"
    record["config"]["supervision"]["curriculum"] = []
    (run / "config.json").write_text(json.dumps(record))
    words = ["evaluate", str(run), "--data", str(sudokus), "--evaluations"]
    assert main([*words, "0"]) == 2
    assert "nothing to do" in capsys.readouterr().err
    assert main([*words, "1", "--segments", "1"]) == 0


def test_bins_of_difficulty_are_of_about_equal_size_and_ties_have_their_own():
    spread = np.random.default_rng(0).normal(size=1000)
    counts = np.histogram(spread, difficulty_edges(spread))[0]
    assert counts.tolist() == [200] * 5
    tied = np.concatenate((np.zeros(900), np.linspace(1, 2, 100)))
    edges = difficulty_edges(tied)
    assert np.histogram(tied, edges)[0].tolist() == [900, 25, 25, 25, 25]
    assert difficulty_edges(np.full(7, 3.0)).tolist() == [3.0, 3.0]


@pytest.mark.parametrize("initial", ["fixed", "random"])
def test_more_starts_are_idle_only_where_nothing_is_drawn(initial, sudokus, tmp_path, capsys):
    run = tmp_path / "run"
    words = ["train", "--preset", "transformer-mini", "--data", str(sudokus), "--out", str(run)]
    assert main([*words, "--steps", "1", "--model.initial", initial, "--device", "cpu"]) == 0
    evaluated(run, sudokus, "--segments", "2", "--breadth", "2")
    assert ("reads no carried state" in capsys.readouterr().out) == (initial == "fixed")


def test_a_net_to_which_images_are_alike_is_asked_from_starts(sudokus, tmp_path, capsys):
    run = tmp_path / "run"
    words = ["train", "--preset", "attractor-digits-mini", "--data", str(sudokus)]
    assert main([*words, "--out", str(run), "--steps", "1", "--device", "cpu"]) == 0
    evaluated(run, sudokus, "--segments", "1", "--symmetries", "2")
    assert "ask several starts" in " ".join(capsys.readouterr().out.split())


def test_an_evaluation_of_other_settings_is_kept(run, sudokus):
    place, name = run, f"evaluation-{sudokus.name}"
    wide = evaluated(place, sudokus, "--segments", "2", "--breadth", "2")
    evaluated(place, sudokus, "--segments", "2")
    kept = place / f"{name}-earlier-1.json"
    assert json.loads(kept.read_text()) == wide
    assert (place / f"{name}-earlier-1-grid.png").exists()
    evaluated(place, sudokus, "--segments", "2")  # the same once more: nothing is lost
    evaluated(place, sudokus, "--segments", "3")
    assert {path.name for path in place.glob(f"{name}*.json")} == {
        f"{name}.json",
        f"{name}-earlier-1.json",
        f"{name}-earlier-2.json",
    }
    assert json.loads((place / f"{name}-earlier-2.json").read_text())["segments"] == 2
    evaluated(Path(os.path.relpath(place)), sudokus, "--segments", "3")  # another spelling
    assert not (place / f"{name}-earlier-3.json").exists()
    judge = ("--segments", "3", "--search", "judge", "--search-segments", "1", "--search-calls")
    evaluated(place, sudokus, *judge, "2")  # adds to what was there
    evaluated(place, sudokus, *judge, "1")
    assert json.loads((place / f"{name}-earlier-3.json").read_text())["judged"]
    (place / f"{name}.json").write_text("{")
    evaluated(place, sudokus, "--segments", "3")
    assert (place / f"{name}-earlier-4.json").read_text() == "{"


def test_pictures_of_an_earlier_evaluation_go(run, sudokus):
    evaluated(run, sudokus, "--segments", "2", "--breadth", "2")
    assert (run / "evaluation-sudoku4-grid.png").exists()
    evaluated(run, sudokus, "--segments", "2")
    assert not (run / "evaluation-sudoku4-grid.png").exists()


def test_the_record_says_what_made_it(run, sudokus):
    words = ("--segments", "2", "--evaluations", "7", "--tolerance", "1e-5", "--puzzles", "5")
    record = evaluated(run, sudokus, *words, name="sudoku4-puzzles-5")
    assert (record["evaluations"], record["tolerance"], record["puzzles"]) == (7, 1e-5, 5)
    assert "packages" in record["environment"]


def test_some_puzzles_do_not_replace_all_of_them(run, sudokus):
    assert evaluated(run, sudokus)["metrics"]["exact"]["n"] == 20
    whole = (run / "evaluation-sudoku4.json").read_bytes()
    some = evaluated(run, sudokus, "--puzzles", "5", name="sudoku4-puzzles-5")
    assert some["metrics"]["exact"]["n"] == 5
    assert (run / "evaluation-sudoku4.json").read_bytes() == whole


def test_weights_that_know_no_size_answer_another(mazes, tmp_path):
    """Trained on 7x7, asked 5x5: as the same weights in a net that was built for 5x5."""
    small, out = tmp_path / "small", tmp_path / "run"
    make = ["data", "maze", "--kind", "unique", "--size", "5", "--train", "4", "--test", "6"]
    assert main([*make, "--out", str(small)]) == 0
    train = ["train", "--preset", "attractor-axial-mini", "--steps", "5", "--device", "cpu"]
    assert main([*train, "--data", str(mazes), "--out", str(out)]) == 0
    record = evaluated(out, small, "--segments", "2")
    assert (record["trained_on_size"], record["metrics"]["exact"]["n"]) == (7, 6)
    puzzles = read_split(small, "test")
    model = build_model(load_config(out)[0], grid_shape(puzzles))
    load_weights(out, model)
    answers = predict(
        model.eval(), puzzles.inputs, puzzles.puzzle_ids, 2, 6, World(0, 1, torch.device("cpu"))
    )
    cells = (answers.tokens[-1] == puzzles.labels).mean()
    assert record["metrics"]["cell"]["mean"] == pytest.approx(cells)


def test_weights_of_a_size_are_asked_no_other(run, tmp_path, capsys):
    larger = tmp_path / "larger"
    make = ["data", "sudoku", "--size", "6", "--train", "4", "--test", "4", "--out", str(larger)]
    assert main(make) == 0
    assert main(["evaluate", str(run), "--data", str(larger), "--device", "cpu"]) == 2
    assert "was trained on sudoku of size 4, and its" in capsys.readouterr().err
    assert not list(run.glob("evaluation-larger*"))
