"""Test-time search over whole sets: symmetries there and back, grids, chunks, processes."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import scripts.runs.exploration as module
from puzzles.dataset import read_split
from puzzles.maze.search import label
from puzzles.metrics import score
from puzzles.sudoku import solver
from puzzles.sudoku.rules import from_tokens, to_tokens
from reasoning.supervision import SegmentOutput
from reasoning.training.distribution import World
from scripts.models.grids import grid_shape
from scripts.models.presets import build_model, preset
from scripts.runs import evaluate
from scripts.runs.evaluate import evaluate_run
from scripts.runs.exploration import Plan, doublings, explore
from scripts.runs.selection import RULES, Candidates
from scripts.runs.session import TrainedRun, evaluation_batch

ALONE = World(0, 1, torch.device("cpu"))


class Lookup(torch.nn.Module):
    """Knows the right answer to whatever question it is asked, and asks nothing of its state."""

    def __init__(self, kind: str, vocabulary: int):
        super().__init__()
        self.kind, self.vocabulary, self.asked = kind, vocabulary, []

    def initial_state(self, batch, seeds=None):
        return (torch.zeros(batch, 2, 2), torch.zeros(batch, 2, 2))

    def segment(self, state, inputs, puzzle_ids, depth, seeds=None):
        tokens = inputs.numpy().astype(np.uint8)
        self.asked.append(tokens)
        if self.kind == "maze":
            answers = label(tokens)
        else:
            answers = to_tokens(solver.solve_unique(from_tokens(tokens), str))
        logits = torch.nn.functional.one_hot(torch.from_numpy(answers).long(), self.vocabulary)
        count = len(inputs)
        ones = torch.ones(count, dtype=torch.int64)
        return SegmentOutput(state, logits.float(), torch.zeros(count, 2), ones)


def run_of(model, puzzles, name="trm-mini") -> TrainedRun:
    fits = puzzles.kind, puzzles.size, grid_shape(puzzles)
    return TrainedRun(Path("run"), preset(name, puzzles.kind), *fits, model, 1)


@pytest.mark.parametrize("folder", ["sudokus", "mazes"])
def test_who_knows_every_answer_is_right_under_every_symmetry(folder, request):
    """The mazes have one path each, so that exact does not ask for a tie-break."""
    puzzles = read_split(request.getfixturevalue(folder), "test")
    model = Lookup(puzzles.kind, puzzles.vocab_size)
    found = explore(run_of(model, puzzles), puzzles, 2, Plan(symmetries=8, breadth=2), ALONE)
    assert found.right.all()
    assert (found.answers == puzzles.labels[:, None]).all()
    images = np.unique(np.concatenate(model.asked), axis=0)
    assert len(images) > 6 * len(puzzles)  # it was asked other questions than those


def tiny(puzzles, name="trm-mini") -> TrainedRun:
    """An untrained model whose answers differ by start and segment."""
    config = preset(name, puzzles.kind)
    model = build_model(config, grid_shape(puzzles)).eval()
    return run_of(model, puzzles, name)


def test_the_grid_is_made_of_smaller_searches(sudokus):
    puzzles = read_split(sudokus, "test")
    run = tiny(puzzles, "attractor-mini")
    with torch.no_grad():
        run.model.heads.q_head.bias.fill_(0)
        run.model.heads.q_head.weight.normal_(generator=torch.Generator().manual_seed(0))
    plan = Plan(breadth=3, noise=0.1, seed=4)
    # Answers that some rule gives become the labels, so that some are right and some wrong.
    said = explore(run, puzzles, 3, plan, ALONE).answers
    rows = np.arange(len(puzzles))
    puzzles = replace(puzzles, labels=said[rows, rows % len(RULES)])
    whole = explore(run, puzzles, 3, plan, ALONE)
    assert 0.1 < whole.right.mean() < 0.9
    assert (whole.depths, whole.breadths) == ((1, 2, 3), (1, 2, 3))
    for d, depth in enumerate(whole.depths):
        for w, breadth in enumerate(whole.breadths):
            settings = plan.model_copy(update={"breadth": breadth})
            part = explore(run, puzzles, depth, settings, ALONE)
            for name in ("right", "net_calls", "evaluations"):
                np.testing.assert_array_equal(
                    getattr(part, name)[..., -1, -1], getattr(whole, name)[..., d, w]
                )
    for r, _ in enumerate(RULES):
        exact = score("sudoku", puzzles.inputs, puzzles.labels, whole.answers[:, r]).exact
        np.testing.assert_array_equal(exact, whole.right[:, r, -1, -1])
    residual = RULES.index("residual")
    np.testing.assert_array_equal(whole.segment_right[:, -1], whole.right[:, residual, -1, -1])
    # Several starts cost what they cost together; the first alone only its own.
    assert (whole.net_calls[:, residual, -1, -1] > whole.net_calls[:, 0, -1, -1]).all()
    assert whole.solved


def test_candidates_run_until_one_claims_give_what_all_would(sudokus):
    puzzles = read_split(sudokus, "test")
    run = tiny(puzzles)
    with torch.no_grad():
        run.model.heads.q_head.bias.fill_(-3)
        run.model.heads.q_head.weight.normal_(generator=torch.Generator().manual_seed(0))
    plan = Plan(breadth=2, symmetries=3, noise=0.05, select="restart")
    everything = explore(run, puzzles, 8, plan, ALONE)
    steps = []
    found = explore(
        run,
        puzzles,
        8,
        plan.model_copy(update={"until_claimed": True}),
        ALONE,
        tell=lambda *step: steps.append(step),
    )
    done, totals = map(list, zip(*steps, strict=True))
    assert set(totals) == {len(puzzles) * 6 * 8}
    assert done == sorted(done)
    assert done[-1] == totals[0]
    restart = RULES.index("restart")
    assert len(np.unique(everything.net_calls[:, restart, -1, -1])) > 4
    np.testing.assert_array_equal(found.answers[:, restart], everything.answers[:, restart])
    for name in ("right", "net_calls"):
        whole = getattr(everything, name)[:, restart, -1]
        np.testing.assert_array_equal(getattr(found, name)[:, restart, -1], whole)
    assert found.depths == (8,)
    # Who never ran costs nothing; a claim alone ended who did, whatever a rule would have stopped
    # at: every rule paid the same, but for the first alone.
    for rule, name in enumerate(RULES):
        took = found.net_calls[:, rule, -1]
        if name == "single":
            np.testing.assert_array_equal(took, found.net_calls[:, restart, -1, :1].repeat(4, 1))
        else:
            np.testing.assert_array_equal(took, found.net_calls[:, restart, -1])
    halted = everything.net_calls[:, RULES.index("halt-first"), -1, -1]
    assert (halted < everything.net_calls[:, restart, -1, -1]).any()


def test_the_total_is_told_where_the_first_image_ends_every_puzzle(sudokus):
    puzzles = read_split(sudokus, "test")
    run, steps = tiny(puzzles), []
    with torch.no_grad():
        run.model.heads.q_head.weight.zero_()
        run.model.heads.q_head.bias.fill_(1)  # claims whatever stands
        run.model.heads.lm_head.weight.zero_()
    plan = Plan(breadth=2, symmetries=4, until_claimed=True)
    found = explore(run, puzzles, 3, plan, ALONE, tell=lambda *step: steps.append(step))
    one = explore(run, puzzles, 2, Plan(), ALONE).net_calls[:, 0, -1, -1]
    np.testing.assert_array_equal(found.net_calls[:, RULES.index("restart"), -1, -1], one)
    assert steps[-1] == (len(puzzles) * 8 * 3,) * 2


def same(a, b) -> None:
    for name in ("answers", "right", "net_calls", "segment_right"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    np.testing.assert_allclose(a.residual, b.residual, rtol=1e-4)


def test_chunks_and_subsets_change_no_puzzle(sudokus, monkeypatch):
    puzzles = read_split(sudokus, "test")
    run, plan = tiny(puzzles), Plan(breadth=2, symmetries=2, noise=0.05)
    whole = explore(run, puzzles, 2, plan, ALONE)
    monkeypatch.setattr(module, "_CHUNK_BYTES", 3 * 4 * 2 * 16)  # three puzzles
    same(explore(run, puzzles, 2, plan, ALONE), whole)
    few = explore(run, puzzles.take_groups(np.array([11, 4])), 2, plan, ALONE)
    np.testing.assert_array_equal(few.answers, whole.answers[[11, 4]])


def test_two_processes_find_what_one_finds(sudokus, by_two):
    puzzles = read_split(sudokus, "test").take_groups(np.arange(7))
    run, plan = tiny(puzzles, "attractor-mini"), Plan(breadth=2, noise=0.1)
    for said in by_two(lambda world: explore(run, puzzles, 2, plan, world)):
        same(said, explore(run, puzzles, 2, plan, ALONE))


def test_doublings_end_with_all():
    assert doublings(1) == (1,)
    assert doublings(6) == (1, 2, 4, 6)
    assert doublings(8) == (1, 2, 4, 8)


def test_the_headline_rule_follows_the_number_of_candidates():
    assert Plan().rule == "single"
    assert Plan(breadth=2).rule == Plan(symmetries=2).rule == "residual"
    assert Plan(select="q").rule == "q"


@pytest.mark.parametrize(("cells", "most"), [(36, 768), (81, 768), (900, 145)])
def test_large_puzzles_are_answered_few_at_a_time(cells, most):
    puzzles, gpu = SimpleNamespace(seq_len=cells), torch.device("cuda")
    batches = [evaluation_batch(preset(name), puzzles, gpu) for name in ("trm-7m", "trm-mini")]
    assert batches == [most, 128]
    few = evaluation_batch(preset("trm-7m"), puzzles, torch.device("cpu"))
    assert few * cells <= 1300 < (few + 1) * cells  # what a cache holds


def test_a_certificate_is_that_of_the_answer_chosen():
    """Three puzzles of two starts: the calmest and the highest score of one and of two, by hand."""
    residual = np.array([[1e-4, 1e-6], [1e-2, 1e-4], [1e-2, 1.0]])
    halt = np.array([[2.0, -1.0], [-3.0, -2.0], [-1.0, 4.0]])
    nothing = np.zeros((3, 2, 1))
    whole = Candidates(
        np.zeros((3, 2, 1, 4), np.uint8),
        residual[..., None],
        halt[..., None],
        nothing.astype(bool),
        nothing,
        nothing,
    )
    found = module._certificates(whole)
    assert module.CERTIFYING == ("residual", "q")
    yes, no = True, False
    rested = [[[yes, yes], [yes, yes]], [[no, yes], [no, yes]], [[no, no], [no, no]]]
    claimed = [[[yes, no], [yes, yes]], [[no, no], [no, no]], [[no, no], [no, yes]]]
    assert found["rested"].tolist() == rested
    assert found["claimed"].tolist() == claimed
    calm, sure = found["confidence"].swapaxes(0, 1)
    assert calm.tolist() == [[-1e-4, -1e-6], [-1e-2, -1e-4], [-1e-2, -1e-2]]
    assert sure.tolist() == [[2, 2], [-3, -2], [-1, 4]]


def test_a_state_at_rest_that_is_wrong_is_spurious():
    certified = np.array([[1, 1, 0], [1, 0, 0], [1, 1, 0], [1, 0, 0]], bool)
    right = np.array([[1, 0, 1], [0, 0, 0], [1, 1, 0], [1, 1, 0]], bool)
    found = evaluate._wrong_among(certified, right)
    assert found["n"] == [4, 2, 0]
    assert found["share"] == [1, 0.5, 0]
    assert found["wrong"] == [0.25, 0.5, None]
    assert found["stderr"] == [pytest.approx(np.sqrt(0.25 * 0.75 / 4)), np.sqrt(0.125), None]


def test_who_is_always_right_has_no_spurious_fixed_points(sudokus):
    puzzles = read_split(sudokus, "test")
    model = Lookup("sudoku", puzzles.vocab_size)
    record = evaluate_run(run_of(model, puzzles), puzzles, 2, ALONE, plan=Plan(breadth=2))
    rest = record.record["at_rest"]
    assert (rest["breadths"], rest["puzzles"]) == ([1, 2], 20)
    for found in rest["by"].values():
        none = {"share": [1, 1], "n": [20, 20], "wrong": [0, 0], "stderr": [0, 0]}
        assert found["at_rest"] == none
        assert found["claimed"]["n"] == [0, 0]  # its halting score is nothing
        assert found["area"] == {"mean": [0, 0], "stderr": [0, 0]}


def test_the_area_is_that_of_the_rules_own_answers(sudokus):
    """Of a search whose answers are right by chance, as the areas of each rule alone say."""
    puzzles = read_split(sudokus, "test")
    run, plan = tiny(puzzles), Plan(breadth=4, seed=2)
    with torch.no_grad():
        run.model.heads.q_head.weight.normal_(generator=torch.Generator().manual_seed(0))
    said = explore(run, puzzles, 2, plan, ALONE).answers
    rows = np.arange(len(puzzles))
    puzzles = replace(puzzles, labels=said[rows, rows % len(RULES)])
    rest = evaluate_run(run, puzzles, 2, ALONE, plan=plan, metered=False).record["at_rest"]
    for rule, name in (("residual", "residual"), ("q", "halting score")):
        for w, breadth in enumerate(rest["breadths"]):
            narrow = plan.model_copy(update={"breadth": breadth, "select": rule})
            record = evaluate_run(run, puzzles, 2, ALONE, plan=narrow, metered=False).record
            area = record["abstention"][name]["risk_coverage"]["area"]
            assert rest["by"][rule]["area"]["mean"][w] == pytest.approx(area["mean"])
    assert len(set(rest["by"]["q"]["area"]["mean"])) > 1
