"""`loopbench reproduce real`: trained to a deadline, answered three ways, told beside others."""

import json

import pytest
import torch

import scripts.studies.real as module
from reasoning.training import deadline
from scripts.cli import main
from scripts.reports.reported import PUBLISHED
from scripts.runs.recorded import load_config
from scripts.studies.real import faster_precision

WORDS = (
    "--for",
    "10m",
    "--presets",
    "attractor-digits-mini,transformer-axial-mini",
    "--no-compile",
)


@pytest.fixture(autouse=True)
def two_steps(monkeypatch):
    """As if a step took 299 s: how fast this machine is changes nothing."""
    costs = deadline.Costs(step=299.0, metering=0.0, evaluation=0.0, measuring=0.0)
    monkeypatch.setattr(deadline, "measure", lambda trainer, seconds: costs)


def told(data, out, *more) -> dict:
    words = ["reproduce", "real", "--task", "sudoku", "--data", data, "--out", out, *WORDS, *more]
    assert main([str(w) for w in words]) == 0
    return json.loads((out / "real.json").read_text())


def test_every_run_is_trained_to_its_deadline_and_told_beside_others(sudokus, tmp_path):
    out = tmp_path / "real"
    record = told(sudokus, out, "--searched", "3", "--precision", "fp32", "--device", "cpu")
    assert [run["preset"] for run in record["runs"]] == WORDS[3].split(",")
    solved, one_pass = record["runs"]
    assert solved["deep"]["segments"] == 64
    assert one_pass["deep"]["segments"] == 1  # it carries nothing: 64 passes would say the same
    for run in record["runs"]:
        folder = out / f"{run['preset']}-seed0"
        config, _ = load_config(folder)
        assert (config.steps, config.precision) == (run["steps"], "fp32")
        assert config.steps in (1, 2)  # as much as was left of the time
        assert json.loads((folder / "config.json").read_text())["deadline"]["seconds"] == 600
        assert (
            run["segments"]["metrics"]["exact"]["n"] == run["deep"]["metrics"]["exact"]["n"] == 20
        )
        assert run["chosen"]["metrics"]["exact"]["n"] == 3
        assert run["hours"] > 0
    assert solved["chosen"]["starts"] == 32  # to which images tell little
    assert one_pass["chosen"]["images"] == 32
    # After one pass no answer stands, so none is claimed, and its y has moved from nowhere.
    assert (solved["chosen"]["rule"], one_pass["chosen"]["rule"]) == ("restart", "q")
    table = (out / "real.md").read_text().splitlines()
    assert len(table) == 2 + 2 + len(PUBLISHED["sudoku"])
    assert table[2].startswith("| attractor-digits-mini, seed 0 |")
    assert "of 32 starts, n 3" in table[2]
    assert (out / "report.html").exists()


def test_the_same_command_goes_on(sudokus, tmp_path):
    out = tmp_path / "real"
    words = ("--searched", "0", "--precision", "fp32", "--device", "cpu")
    first = told(sudokus, out, *words)
    logs = [path.read_bytes() for path in sorted(out.glob("*/metrics.jsonl"))]
    again = told(sudokus, out, *words)
    assert [path.read_bytes() for path in sorted(out.glob("*/metrics.jsonl"))] == logs
    assert again["runs"][0]["deep"] == first["runs"][0]["deep"]
    assert "chosen" not in again["runs"][0]


def test_what_finished_runs_answered_is_kept_and_not_asked_again(sudokus, tmp_path, monkeypatch):
    """Interrupted in its first run, a call still tells of the second one, which is finished."""
    out = tmp_path / "real"
    words = ("--searched", "2", "--precision", "fp32", "--device", "cpu")
    first = told(sudokus, out, *words)
    names = [f"{preset}-seed0" for preset in WORDS[3].split(",")]
    assert [run["run"] for run in first["runs"]] == names

    def refuse(*words, plan=None, metered=True, **named):
        raise AssertionError("asked again")

    with monkeypatch.context() as patch:
        asked = module._asked
        patch.setattr(module, "evaluate_run", refuse)
        assert told(sudokus, out, *words) == first

        def stop(folder, *words):
            if folder.name == names[1]:
                raise KeyboardInterrupt
            return asked(folder, *words)

        patch.setattr(module, "_asked", stop)
        words = ["reproduce", "real", "--task", "sudoku", "--data", sudokus, "--out", out, *WORDS]
        words += ["--searched", "2", "--precision", "fp32", "--device", "cpu"]
        assert main([str(word) for word in words]) == 130
    assert json.loads((out / "real.json").read_text()) == first
    assert not list(out.glob("real-earlier*"))
    # Rows that a call does not ask for are kept beside.
    fewer = told(sudokus, out, *words[10:], "--presets", names[0].removesuffix("-seed0"))
    assert [run["run"] for run in fewer["runs"]] == names[:1]
    assert json.loads((out / "real-earlier-1.json").read_text()) == first


def test_runs_are_not_said_to_have_been_planned_for_another_time(sudokus, tmp_path, capsys):
    out = tmp_path / "real"
    told(sudokus, out, "--searched", "0", "--precision", "fp32", "--device", "cpu")
    words = ["reproduce", "real", "--task", "sudoku", "--data", str(sudokus), "--out", str(out)]
    assert main([*words, *WORDS[2:], "--for", "20m", "--device", "cpu"]) == 2
    assert "was begun for 600 s, which its steps were planned by, not 1200" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("more", "part"),
    [
        (("--task", "maze"), "holds sudoku puzzles, --task maze asks for others"),
        (("--for", "soon"), "write 2h"),
        (("--seeds", "0"), "--seeds: must be at least 1"),
        (("--searched", "-1"), "--searched: must be at least 0"),
        (("--presets", "attractor-axial-1n"), "attractor-axial-1m"),
    ],
)
def test_refusals(sudokus, tmp_path, capsys, more, part):
    out = tmp_path / "real"
    words = ["reproduce", "real", "--task", "sudoku", "--data", str(sudokus), "--out", str(out)]
    assert main([*words, *more]) == 2
    said = capsys.readouterr().err
    assert part in said
    assert said.count("\n") == 1
    assert not list(tmp_path.glob("real/*seed*"))


def test_another_run_is_not_overwritten(sudokus, tmp_path, capsys):
    out = tmp_path / "real"
    told(sudokus, out, "--searched", "0", "--precision", "fp32", "--device", "cpu")
    words = ["reproduce", "real", "--task", "sudoku", "--data", str(sudokus), "--out", str(out)]
    assert main([*words, *WORDS, "--precision", "bf16", "--device", "cpu"]) == 2
    assert "holds another run (precision" in capsys.readouterr().err


def test_a_run_goes_on_in_its_own_precision_whichever_is_faster_now(sudokus, tmp_path, monkeypatch):
    out, words = tmp_path / "real", ("--searched", "0", "--device", "cpu")
    for faster in ("fp32", "bf16"):
        monkeypatch.setattr(module, "faster_precision", lambda device, said=faster: said)
        record = told(sudokus, out, *words)
        assert {run["precision"] for run in record["runs"]} == {"fp32"}


def test_sudokus_are_given_hints_unless_asked_otherwise(sudokus, mazes, tmp_path, capsys):
    words = ("--searched", "0", "--precision", "fp32", "--device", "cpu")
    with_hints, without = tmp_path / "with", tmp_path / "without"
    assert [run["hints"] for run in told(sudokus, with_hints, *words)["runs"]] == [8, 8]
    assert {load_config(run)[0].hints for run in with_hints.glob("*seed0")} == {8}
    assert ", 0 to 8 hints |" in (with_hints / "real.md").read_text()
    told(sudokus, without, *words, "--hints", "0")
    assert "hints" not in (without / "real.md").read_text()
    # A run that was begun without goes on so where nothing is asked; else it is another run.
    assert [run["hints"] for run in told(sudokus, without, *words)["runs"]] == [0, 0]
    asked = ["reproduce", "real", "--task", "sudoku", "--data", sudokus, "--out", without, *WORDS]
    assert main([str(word) for word in (*asked, *words, "--hints", "3")]) == 2
    assert "holds another run (hints" in capsys.readouterr().err
    # A maze's question leaves nothing blank, so there is nothing to hint at.
    record = told(mazes, tmp_path / "mazes", *words, "--task", "maze")
    assert [run["hints"] for run in record["runs"]] == [0, 0]


def test_the_faster_precision_is_one_of_the_two():
    assert faster_precision(torch.device("cpu")) in ("fp32", "bf16")


def test_of_mazes_the_valid_ones_are_of_the_exact_ones_segments():
    """Every exact answer is a valid shortest one: not of another evaluation."""

    def asked(exact, valid):
        metrics = {"exact": exact, "valid_shortest": valid}
        scores = {
            name: {"mean": value, "stderr": 0.01, "n": 100} for name, value in metrics.items()
        }
        halting = scores | {"net_calls": 20.0}
        return {"metrics": scores, "halting_itself": halting}

    row = {"preset": "attractor-axial-1m", "seed": 0, "parameters": 1, "pflop": None, "hours": 1.0}
    row |= {"segments": asked(0.8, 0.85), "deep": asked(0.5, 0.6)}
    head, _, first, *_ = module._markdown("maze", [row]).splitlines()
    assert head.split(" | ")[2:5] == ["exact %", "valid shortest %", "64 segments"]
    assert first.split(" | ")[2:5] == ["80.0 ± 1.0", "85.0 ± 1.0", "50.0 ± 1.0"]
