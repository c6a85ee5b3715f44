"""What a long command says of itself where there is no terminal."""

import io

import pytest

import scripts.terminal.progress as progress_module
from reasoning.training.steps import Progress
from scripts.cli import main
from scripts.runs.live import LiveProgress
from scripts.terminal.console import Console, show
from scripts.terminal.progress import PlainLines


def test_plain_lines_come_every_so_often_and_at_the_end():
    now, said = 0.0, []
    lines = PlainLines(said.append, lambda: now)
    for now in range(0, 101, 2):
        lines("rows", now, 100)
    done = [int(line.split()[1]) for line in said]
    assert done == [10, 40, 70, 100]
    assert said[1] == "rows: 40 of 100  about 1 min left"
    assert said[-1] == "rows: 100 of 100"
    lines("rows", 100, 100)
    assert len(said) == 4


def test_what_is_done_in_a_moment_says_nothing():
    said = []
    lines = PlainLines(said.append, lambda: 0.0)
    for done in range(11):
        lines("rows", done, 10)
    assert said == []


def test_a_training_of_a_moment_tells_its_end():
    file = io.StringIO()
    with LiveProgress("run", Console(file=file), lambda _: {"loss": "0.50"}) as live:
        for step in range(1, 4):
            live(Progress(step, 3))
    assert file.getvalue() == "run: 3 of 3  loss 0.50\n"


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(progress_module, "FIRST", 0.0)
    monkeypatch.setattr(progress_module, "EVERY", 0.0)


def test_a_training_tells_its_newest_numbers(at_once):
    file = io.StringIO()

    def newest(progress):
        return {} if progress.training is None else {"loss": f"{progress.training['loss']:.2f}"}

    with LiveProgress("run", Console(file=file), newest) as live:
        live(Progress(1, 2, {"loss": 0.5}))
        live(Progress(2, 2))
    assert file.getvalue() == "run: 1 of 2  loss 0.50\nrun: 2 of 2  loss 0.50\n"


def test_a_bar_says_a_name_as_it_is():
    file = io.StringIO()
    name = "[red]a[/b] {c} :boom:"
    with LiveProgress(
        name, Console(file=file, force_terminal=True, width=120), lambda _: {}
    ) as live:
        live(Progress(1, 1))
    assert name in file.getvalue()


def test_puzzle_commands_tell_how_far_they_are(at_once, trained, sudokus, tmp_path, capsys):
    asked = ["--data", str(sudokus), "--segments", "3", "--symmetries", "2", "--leave", "never"]
    asked += ["--out", str(tmp_path / "scores")]
    assert main(["evaluate", str(trained), *asked, "--breadth", "2"]) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "segments:" in line]
    work = 20 * 3 * 2 * 2  # puzzles, segments, images, starts
    assert said[-1] == f"{trained.name}: segments: {work} of {work}"
    done = [int(line.split()[2]) for line in said]
    assert done == sorted(done)
    assert len(done) >= 6
    assert main(["compare", str(trained), "--out", str(tmp_path / "c")]) == 0
    assert "segments of held-out puzzles: " in capsys.readouterr().err
    words = ["train", "--preset", "trm-mini", "--data", str(sudokus), "--out", str(tmp_path / "r")]
    assert main([*words, "--steps", "3", "--device", "cpu"]) == 0
    assert "trm-mini seed 0: 3 of 3" in capsys.readouterr().err


def test_only_one_of_several_processes_tells(at_once, capsys):
    with progress_module.stage_progress(quiet=True) as tell:
        tell("rows", 1, 2)
    assert capsys.readouterr().err == ""


def test_long_names_in_a_table_are_folded_not_cut(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    name = "mypackage.models:ARecurrentReasoner-cpu"
    show(f"| model | exact |\n|---|---|\n| {name} | 12.3 (1.0) of many |\n", 40)
    printed = capsys.readouterr().out
    assert name not in printed  # or the columns were wide enough
    assert "…" not in printed
    column = [line[: len(line) // 2].split() for line in printed.splitlines()]
    assert name in "".join(part for parts in column for part in parts)
