"""Runs a trained model widely and deeply on a puzzle set, and keeps what a report needs.

Puzzles are taken in chunks: all that a chunk's candidates said after every segment is held at once
(tokens, never logits), scored under every rule of selection over a grid of depths and breadths, and
let go. Candidates are the starts of a puzzle's first image, then those of the next; a breadth of
the grid is that many first candidates.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from puzzles.isomorph import Isomorphism, isomorphism
from puzzles.metrics import agreement_with
from puzzles.parallel import Progress
from puzzles.puzzle_set import PuzzleSet
from reasoning.precision import autocast
from reasoning.randomness import content_seeds, fold
from reasoning.search import REPORTED, Trajectories, joined, search, take_reported
from reasoning.supervision import Depth
from reasoning.training.distribution import World
from reasoning.training.evaluation import gather, share_of
from scripts.runs.search_plan import Plan, doublings
from scripts.runs.selection import RULES, Candidates, Rule, choose, keeps_rules, trailing_mean
from scripts.runs.session import TrainedRun, evaluation_batch, not_finite

REST = 1e-3  # relative residual, as averaged in `selection`, from which on a state is at rest
CERTIFYING: tuple[Rule, ...] = ("residual", "q")  # rules that go by what might be a certificate
_CHUNK_BYTES = 2**26  # tokens of one chunk
_IMAGE = 3 << 32  # use of a puzzle's seed, apart from those of `reasoning.search`


@dataclass(frozen=True)
class Outcome:
    """What N puzzles gave. S segments, R rules in the order of RULES, D depths, W breadths.

    answers: uint8 (N, R, C) at full depth and breadth;
    segment_right, segment_cell: (N, S), the headline rule's answer exact, and its share of cells;
    right: bool (N, R, D, W); net_calls, evaluations: int64 (N, R, D, W), what all candidates took;
    residual, halt: (N,) of the headline's answer, the residual averaged as in `selection`;
    last_residual: (N,) the same, after its segment alone;
    rested, claimed, confidence: (N, Q, W), at full depth, of the answer that each rule of
        CERTIFYING gives among the first candidates: whether its residual is at most REST, whether
        its halting score is positive, and what the rule goes by, the larger the surer;
    diagnostics: name to (N, S), the mean over candidates;
    solved: whether the residual is a solver's (else: the change of y).
    """

    depths: tuple[int, ...]
    breadths: tuple[int, ...]
    answers: np.ndarray
    segment_right: np.ndarray
    segment_cell: np.ndarray
    right: np.ndarray
    net_calls: np.ndarray
    evaluations: np.ndarray
    residual: np.ndarray
    last_residual: np.ndarray
    halt: np.ndarray
    rested: np.ndarray
    claimed: np.ndarray
    confidence: np.ndarray
    diagnostics: dict[str, np.ndarray]

    @property
    def solved(self) -> bool:
        return bool(self.evaluations.any())


def explore(
    run: TrainedRun,
    puzzles: PuzzleSet,
    segments: int,
    plan: Plan,
    world: World,
    depth: Depth | None = None,
    tell: Progress = lambda done, total: None,
) -> Outcome:
    """Search every puzzle of a set, the model in eval mode; all processes get all of the outcome.

    run: whose model answers, as `open_run` gives it; puzzles: the set; segments: of every start.
    plan: the starts and images of a puzzle, and the rule of the headline.
    world: the processes, which share the puzzles; depth: overrides of the model's depth; None: its
        own.
    tell: called now and then with the segments done by this process, and all of its segments.

    ValueError for more images than a maze has. NotFiniteError if a score or residual is NaN.
    """
    rows = share_of(len(puzzles), world)
    chunk = max(1, _CHUNK_BYTES // (plan.candidates * segments * puzzles.seq_len))
    parts, whole_work = [], len(rows) * plan.candidates * segments
    with autocast(world.device, run.config.precision):
        for first in range(0, len(rows), chunk):
            part = rows[first : first + chunk]

            def told(done: int, total: int, before: int = first) -> None:
                tell(before * plan.candidates * segments + done, whole_work)

            trajectories = search_images(
                run, puzzles, part, segments, plan, world, depth or Depth(), told
            )
            parts.append(_score(puzzles, part, trajectories, plan))
    joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    whole = gather({k: v.to(world.device) for k, v in joined.items()}, len(puzzles), world)
    if any(np.isnan(whole[name]).any() for name in ("halt", "residual")):
        raise not_finite(run)
    reported = take_reported(whole)
    depths, breadths = plan.depths(segments), doublings(plan.candidates)
    return Outcome(depths, breadths, **whole, diagnostics=reported)


def search_images(
    run: TrainedRun,
    puzzles: PuzzleSet,
    rows: np.ndarray,
    segments: int,
    plan: Plan,
    world: World,
    depth: Depth,
    tell: Progress = lambda done, total: None,
    confidence: Callable[[Tensor], Tensor] | None = None,
) -> Trajectories:
    """What every start of every image of these puzzles said, in the puzzles' own cells and tokens;
    images by starts are one axis (K).

    run: whose model answers, on `world.device`; rows: places (N,) in the set; segments: of every
    start; plan: how many starts and images, and their seed; world: this process; depth: overrides
    of the model's depth; tell: called now and then with the segments done and all of them;
    confidence: as in `search`.
    """
    inputs = puzzles.inputs[rows]
    ids = torch.from_numpy(puzzles.puzzle_ids[rows]).to(world.device, torch.int64)
    seeds = content_seeds(torch.from_numpy(inputs), plan.seed)
    parts, claimed = [], np.zeros(len(rows), bool)
    each = plan.breadth * segments  # of one image
    total = len(rows) * plan.symmetries * each
    for image in range(plan.symmetries):
        asked = np.flatnonzero(~claimed) if plan.until_claimed else np.arange(len(rows))
        if not len(asked):
            break
        image_seeds = fold(seeds[asked], _IMAGE + image) if image else seeds

        # Images of this one and those before that are done, or never asked.
        before = (image + 1) * len(rows) - len(asked)

        def told(done: int, _: int, before: int = before) -> None:
            tell(before * each + done, total)

        to_image = isomorphism(
            puzzles.kind, puzzles.size, image, image_seeds.numpy().view(np.uint64)
        )
        trajectories = search(
            run.model,
            torch.from_numpy(to_image(inputs[asked])).to(world.device, torch.int64),
            ids[torch.from_numpy(asked).to(world.device)],
            image_seeds.to(world.device),
            segments,
            plan,
            evaluation_batch(run.config, puzzles, world.device),
            depth,
            q_learning=run.config.supervision.halting == "q-learning",
            tell=told,
            confidence=confidence,
        )
        parts.append(_in_own_cells(trajectories, to_image.inverse()).of(asked, len(rows)))
        claimed |= parts[-1].claimed
    tell(total, total)
    whole = joined(parts)
    return whole.standing(plan.candidates) if plan.until_claimed else whole


def _in_own_cells(trajectories: Trajectories, back: Isomorphism) -> Trajectories:
    """What was said of images, in the cells and tokens of the puzzles that `back` leads to."""
    trajectories = replace(trajectories, tokens=back(trajectories.tokens))
    if trajectories.confidence is None:
        return trajectories
    cells = back.cells[:, None, None]
    confident = np.take_along_axis(trajectories.confidence, cells, axis=3)
    return replace(trajectories, confidence=confident)


def candidates_of(kind: str, inputs: np.ndarray, trajectories: Trajectories) -> Candidates:
    """What the rules of selection choose among, for questions (N, L) of a kind of puzzle."""
    residual = trajectories.residual
    evaluations = trajectories.diagnostics.get("evaluations", np.zeros_like(residual))
    return Candidates(
        trajectories.tokens,
        trailing_mean(residual),
        trajectories.halt,
        keeps_rules(kind, inputs, trajectories.tokens),
        trajectories.net_calls,
        evaluations.astype(np.int64),
    )


def _score(
    puzzles: PuzzleSet, rows: np.ndarray, trajectories: Trajectories, plan: Plan
) -> dict[str, Tensor]:
    """The numbers of an Outcome for these rows of the puzzles, rows first.

    trajectories: what the candidates of each row did. plan: how one of them is chosen.
    """
    inputs, labels = puzzles.inputs[rows], puzzles.labels[rows]
    whole = candidates_of(puzzles.kind, inputs, trajectories)
    cell, right = agreement_with(labels[:, None, None], trajectories.tokens)
    cell = cell.astype(np.float32)
    width, segments = trajectories.residual.shape[1:]
    result: dict[str, np.ndarray] = _grid(whole, right, plan.depths(segments), plan.claim_ends)

    full = {rule: choose(rule, whole) for rule in RULES}
    result["answers"] = np.stack(
        [choice.of(trajectories.tokens) for choice in full.values()], axis=1
    )
    headline = full[plan.rule]
    result["residual"] = headline.of(whole.residual).astype(np.float32)
    result["last_residual"] = headline.of(trajectories.residual)
    result["halt"] = headline.of(trajectories.halt)
    result |= _certificates(whole)
    steps = [choose(plan.rule, whole.first(width, s + 1)) for s in range(segments)]
    result["segment_right"] = np.stack([choice.of(right) for choice in steps], axis=1)
    result["segment_cell"] = np.stack([choice.of(cell) for choice in steps], axis=1)
    for name, values in trajectories.diagnostics.items():
        result[REPORTED + name] = values.mean(1)
    return {name: torch.from_numpy(values) for name, values in result.items()}


def _certificates(whole: Candidates) -> dict[str, np.ndarray]:
    """rested, claimed and confidence (N, Q, W): is a small residual, or a positive halting score, a
    certificate, and is it still one when the best of many is taken?"""
    width, segments = whole.residual.shape[1:]
    certificates: dict[str, list[np.ndarray]] = {"rested": [], "claimed": [], "confidence": []}
    for rule in CERTIFYING:
        for breadth in doublings(width):
            choice = choose(rule, whole.first(breadth, segments))
            residual, halt = choice.of(whole.residual), choice.of(whole.halt)
            certificates["rested"].append(residual <= REST)
            certificates["claimed"].append(halt > 0)
            certificates["confidence"].append(-residual if rule == "residual" else halt)
    shape = (len(whole.residual), len(CERTIFYING), -1)
    return {name: np.stack(values, axis=1).reshape(shape) for name, values in certificates.items()}


def _grid(
    whole: Candidates, right: np.ndarray, depths: tuple[int, ...], claim_ends: bool
) -> dict[str, np.ndarray]:
    """right, net_calls and evaluations (N, R, D, W) of every rule at every depth and breadth.

    whole: all candidates at their full depth, and which are right (N, W, S). depths: segments.
    claim_ends: a claim alone ended the candidates, so that every rule paid for all that ran.
    """
    breadths = doublings(right.shape[1])
    shape = (len(right), len(RULES), len(depths), len(breadths))
    result = {"right": np.empty(shape, bool)}
    result |= {name: np.empty(shape, np.int64) for name in ("net_calls", "evaluations")}
    for d, depth in enumerate(depths):
        for w, breadth in enumerate(breadths):
            part = whole.first(breadth, depth)
            for r, rule in enumerate(RULES):
                choice = choose(rule, part)
                result["right"][:, r, d, w] = choice.of(right)
                run = whole.first(1, depth) if rule == "single" else part  # who had to be run
                for name in ("net_calls", "evaluations"):
                    counts = getattr(run, name)
                    took = counts.sum((1, 2)) if claim_ends else choice.cost(counts)
                    result[name][:, r, d, w] = took
    return result
