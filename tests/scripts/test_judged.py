"""Searching with a run's net as judge, over whole sets and from the command line."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from puzzles.dataset import read_split
from puzzles.sudoku import solver
from puzzles.sudoku.rules import from_tokens, to_tokens
from reasoning.search_config import JudgeConfig
from reasoning.supervision import SegmentOutput
from reasoning.training.distribution import World
from scripts.cli import main
from scripts.models.grids import grid_shape
from scripts.models.presets import build_model, preset
from scripts.runs.judged import search_judged
from scripts.runs.session import TrainedRun

ALONE = World(0, 1, torch.device("cpu"))


class Solver(torch.nn.Module):
    """Knows the answer to a question, where it has one, from so many givens on."""

    def __init__(self, vocabulary: int, givens: int):
        super().__init__()
        self.vocabulary, self.givens = vocabulary, givens

    def initial_state(self, batch, seeds=None):
        return (torch.zeros(batch, 1, 1),)

    def segment(self, state, inputs, puzzle_ids, depth, seeds=None):
        tokens = inputs.numpy().astype(np.uint8)
        found = solver.solve(from_tokens(tokens), limit=1)
        knows = (found.count > 0) & ((tokens > 1).sum(1) >= self.givens)
        answers = np.where(knows[:, None], to_tokens(found.solution), 2)
        logits = torch.nn.functional.one_hot(torch.from_numpy(answers).long(), self.vocabulary)
        ones = torch.ones(len(inputs), dtype=torch.int64)
        return SegmentOutput(state, logits.float(), torch.zeros(len(inputs), 2), ones)


def knowing(puzzles, givens: int) -> TrainedRun:
    fits = puzzles.kind, puzzles.size, grid_shape(puzzles)
    model = Solver(puzzles.vocab_size, givens)
    return TrainedRun(Path("run"), preset("trm-mini", puzzles.kind), *fits, model, 1)


def test_what_one_call_does_not_solve_a_few_do_and_an_untrained_net_does_not(sudokus):
    puzzles = read_split(sudokus, "test")
    givens = (puzzles.inputs > 1).sum(1)
    asked = int(np.median(givens)) + 1
    config = JudgeConfig(calls=12, segments=2)
    record = search_judged(knowing(puzzles, asked), puzzles, config, ALONE, control=True)
    assert record["budgets"] == [1, 2, 4, 8, 12]
    assert (record["n"], record["calls"], record["segments"]) == (20, 12, 2)
    exact = record["trained"]["exact"]["mean"]
    assert exact[0] == pytest.approx((givens >= asked).mean())
    assert exact[0] < 1
    assert exact == sorted(exact)
    assert exact[-1] == 1
    assert record["trained"]["solved"] == record["trained"]["exact"]
    assert record["trained"]["exact"]["stderr"][0] == pytest.approx(
        np.sqrt(exact[0] * (1 - exact[0]) / 20)
    )
    # Everyone is asked once, in two calls of the net, and only who was not solved again.
    spent = record["trained"]["net_calls"]["mean"]
    assert spent[:2] == [pytest.approx(2), pytest.approx(2 + 2 * (1 - exact[0]))]
    untrained = record["untrained"]["exact"]["mean"]
    assert untrained[0] < exact[0]
    # It is the net that training began with.
    run = knowing(puzzles, 0)
    fresh = TrainedRun(
        run.folder, run.config, run.kind, run.size, run.shape, build_model(run.config, run.shape), 0
    )
    again = search_judged(fresh, puzzles, config, ALONE)
    assert again["trained"] == record["untrained"]
    assert "untrained" not in again


def test_two_processes_find_what_one_finds(sudokus, by_two):
    puzzles = read_split(sudokus, "test").take_groups(np.arange(7))
    run, config = knowing(puzzles, 6), JudgeConfig(calls=5, segments=1)
    found = by_two(lambda world: search_judged(run, puzzles, config, world))
    alone = search_judged(run, puzzles, config, ALONE)
    assert found == [alone, alone]


def test_the_command_gives_it_a_column_of_its_own(trained, sudokus, tmp_path, capsys):
    run = shutil.copytree(trained, tmp_path / "run")
    words = ["evaluate", run, "--data", sudokus, "--device", "cpu", "--segments", "2"]
    words = [str(word) for word in words]
    place = run / "evaluation-sudoku4.json"
    assert main(words) == 0
    plain = json.loads(place.read_text())
    assert "judged" not in plain
    search = ["--search", "judge", "--search-calls", "3", "--search-segments", "2"]
    capsys.readouterr()
    assert main([*words, *search, "--search-control"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "searched with the net as judge" in said
    record = json.loads(place.read_text())
    judged = record.pop("judged")
    assert record == plain  # the headline and all the rest stay as they are
    assert (judged["budgets"], judged["segments"], judged["n"]) == ([1, 2, 3], 2, 20)
    assert f"{judged['untrained']['net_calls']['mean'][-1]:.1f}" in said
    for net in ("trained", "untrained"):
        assert len(judged[net]["exact"]["mean"]) == 3
    # Nothing it draws is left to chance.
    assert main([*words, *search]) == 0
    again = json.loads(place.read_text())["judged"]
    assert again["trained"] == judged["trained"]
    assert "untrained" not in again


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--search-calls", "8"], "--search-calls: says how to search; add --search judge"),
        (["--search-control"], "--search-control: says how to search"),
        (["--search", "judge", "--search-calls", "0"], "--search-calls: must be at least 1"),
        (["--search", "judge", "--search-segments", "-1"], "--search-segments: must be at least 1"),
        (["--search", "luck"], "--search"),
    ],
)
def test_words_that_make_no_search_are_refused(trained, sudokus, words, part, capsys):
    assert main(["evaluate", str(trained), "--data", str(sudokus), *words]) == 2
    assert part in capsys.readouterr().err


def test_a_maze_is_not_searched(mazes):
    from scripts.usage import UsageError

    puzzles = read_split(mazes, "test")
    run = TrainedRun(Path("run"), preset("trm-mini", "maze"), "maze", puzzles.size, None, None, 1)
    with pytest.raises(UsageError, match=r"--search judge: .* of a maze the units hold"):
        search_judged(run, puzzles, JudgeConfig(), ALONE)
