"""A recorded solve holds what the model said, and a page of one stands alone."""

import json
import re
from dataclasses import replace
from html import unescape
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from puzzles.dataset import read_split
from puzzles.errors import DataError
from puzzles.kinds import puzzle_of
from puzzles.metrics import is_valid
from reasoning.losses import LossConfig
from reasoning.randomness import content_seeds
from reasoning.supervision import Depth, infer
from reasoning.training.distribution import World
from reasoning.training.evaluation import predict
from scripts.cli import main
from scripts.reports.solve_player import element, page, script
from scripts.runs.exploration import Plan, search_images
from scripts.runs.opened import models_for, text_of
from scripts.runs.recording import Recording, record
from scripts.runs.session import open_run
from scripts.studies import examples

CPU = World(0, 1, torch.device("cpu"))
SEGMENTS = 3


@pytest.fixture(scope="module")
def run(trained):
    return open_run(trained, CPU)


@pytest.fixture(scope="module")
def puzzles(sudokus):
    return read_split(sudokus, "test")


def outputs(run, question):
    inputs = torch.from_numpy(question[None]).long()
    return list(
        infer(run.model, inputs, torch.zeros(1).long(), SEGMENTS, Depth(), content_seeds(inputs, 0))
    )


def test_the_first_candidate_says_what_evaluation_sees(run, puzzles):
    question = puzzles.inputs[0]
    kept = record(run, "a run", question, SEGMENTS, Plan(), CPU)
    (candidate,) = kept.candidates
    said = predict(
        run.model, puzzles.inputs[:1], np.zeros(1, np.int32), SEGMENTS, 1, CPU, run.config.precision
    )
    characters = puzzle_of("sudoku").characters(4)
    for s, segment in enumerate(candidate.segments):
        assert segment.answer == "".join(characters[t] for t in said.tokens[s, 0])
        assert segment.residual == pytest.approx(said.diagnostics["residual"][s, 0])
        assert segment.evaluations == said.diagnostics["evaluations"][s, 0]
        valid = is_valid("sudoku", puzzles.inputs[:1], said.tokens[s])[0]
        assert (segment.broken == ()) == valid
    assert sum(segment.net_calls for segment in candidate.segments) == said.net_calls[0]
    assert kept.question == text_of("sudoku", question)
    assert set(kept.free) == set(np.flatnonzero(question == 1))
    assert Recording.model_validate_json(kept.model_dump_json()) == kept


def test_the_picture_of_a_solve_is_drawn_from_the_tokens(run, puzzles, tmp_path, monkeypatch):
    scored = SimpleNamespace(right_after=np.zeros((len(puzzles.inputs), SEGMENTS), bool))
    shown = examples.pictured(run, puzzles, scored, CPU)
    said = predict(
        run.model, puzzles.inputs[:1], np.zeros(1, np.int32), SEGMENTS, 1, CPU, run.config.precision
    ).tokens[:, 0]
    np.testing.assert_array_equal(shown.answers, said)

    padded = said.copy()
    padded[:, 0] = 0  # padding is no character, and an untrained model may say it
    drawn = []
    monkeypatch.setattr(examples, "to_png", lambda kind, panels, *_, **__: drawn.extend(panels))
    examples.draw_solving(replace(shown, answers=padded), tmp_path / "solving.png")
    assert [title for title, _ in drawn[1:]] == [f"after segment {s}" for s in (1, 2, 3)]
    np.testing.assert_array_equal([tokens for _, tokens in drawn[1:]], padded)


@pytest.mark.parametrize("cells", ["softmax", "stablemax"])
def test_confidence_is_the_probability_that_the_loss_trains(run, puzzles, cells):
    """By the formulas, in float64: exp, or a + 1 above zero and 1 / (1 - a) below."""
    run = replace(run, config=run.config.model_copy(update={"loss": LossConfig(cells=cells)}))
    question = puzzles.inputs[1]
    kept = record(run, "a run", question, SEGMENTS, Plan(), CPU).candidates[0]
    for segment, output in zip(kept.segments, outputs(run, question), strict=True):
        logits = output.logits[0].double().numpy()
        mass = np.exp(logits)
        if cells == "stablemax":
            mass = np.where(logits >= 0, logits + 1, 1 / (1 - np.minimum(logits, 0)))
        expected = 100 * mass.max(1) / mass.sum(1)
        assert np.abs(np.array(segment.confidence) - expected).max() <= 0.51
        assert segment.halt == pytest.approx(float(output.q[0, 0]), rel=1e-5)


def test_what_is_kept_of_an_image_is_in_the_questions_own_cells(mazes, tmp_path):
    """A maze's images keep its tokens, so the token itself, taken for the confidence, must come
    back where the answer has it."""
    folder = tmp_path / "run"
    words = ["train", "--preset", "attractor-axial-mini", "--data", str(mazes)]
    assert main([*words, "--out", str(folder), "--steps", "2", "--device", "cpu"]) == 0
    run, part = open_run(folder, CPU), read_split(mazes, "test")
    said = search_images(
        run, part, np.array([0, 1]), 2, Plan(symmetries=8, breadth=2), CPU, Depth(),
        confidence=lambda logits: logits.argmax(-1).float(),
    )  # fmt: skip
    assert said.tokens.shape == (2, 16, 2, 49)
    assert (said.confidence == said.tokens).all()
    assert (said.tokens[:, :1] != said.tokens).any()
    kept = record(run, "a run", part.inputs[0], 2, Plan(symmetries=2, breadth=2), CPU)
    assert [(c.image, c.start) for c in kept.candidates] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert kept.rule == "residual"
    with pytest.raises(DataError, match="8 images"):
        record(run, "a run", part.inputs[0], 2, Plan(symmetries=9), CPU)


def test_a_puzzle_is_asked_under_its_identifier(run, puzzles, monkeypatch):
    def asked(run, one, *rest, **more):
        raise InterruptedError(one.puzzle_ids.tolist())

    monkeypatch.setattr("scripts.runs.recording.search_images", asked)
    with pytest.raises(InterruptedError, match=r"\[3\]"):
        record(run, "a run", puzzles.inputs[0], SEGMENTS, Plan(), CPU, 3)


def test_a_page_stands_alone_and_carries_its_record(run, puzzles):
    kept = record(run, 'a "<run>"', puzzles.inputs[0], 2, Plan(), CPU).model_dump(mode="json")
    html = page([kept, kept], "A <title>", "A text.")
    assert "default-src 'none'" in html
    assert not re.search(r"(src|href)\s*=", html)
    assert "<run>" not in html
    assert "A &lt;title&gt;" in html
    body = html.partition("<script>")[0]
    (data,) = re.findall(r'data-recordings="([^"]*)"', body)
    assert json.loads(unescape(data)) == [kept, kept]
    with pytest.raises(ValueError, match="at least one"):
        element([])


def test_the_page_that_ships_has_the_player_of_today():
    assert script() in (Path(__file__).parents[2] / "reasoning" / "solve.html").read_text()


def test_export_writes_one_page_of_the_models_that_fit(trained, puzzles, tmp_path, capsys):
    text, out = text_of("sudoku", puzzles.inputs[2]), tmp_path / "solve.html"
    words = ["demo", str(trained), "--device", "cpu", "--segments", "2", "--export", str(out)]
    assert main([*words, "--puzzle", text]) == 0
    assert text in out.read_text()
    before = out.read_bytes()
    assert main([*words, "--puzzle", text]) == 2
    assert "is there already" in capsys.readouterr().err
    assert out.read_bytes() == before
    out.unlink()
    assert main([*words, "--puzzle", text[:-1]]) == 2
    assert "15 characters" in capsys.readouterr().err
    assert not out.exists()


def test_a_puzzle_finds_the_models_of_its_kind_and_size(run):
    larger = replace(run, size=6)
    models = {"a": run, "b": larger, "c": run}
    assert models_for(models, "." * 16) == ["a", "c"]
    assert models_for(models, "." * 36) == ["b"]
    with pytest.raises(DataError, match="no model here"):
        models_for(models, "." * 81)
