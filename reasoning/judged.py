"""Search with the net as its judge: guess a cell, ask the net, go on where it sees least trouble.

A node is a question with some blanks filled in. The rules say which symbols each blank may still
hold: those that no other cell of its units holds. A call runs the net a few segments on a node; its
answer, taken among those symbols, is right if it keeps the rules. If it does not, the blank of the
fewest such symbols, and of those the one that the net knows least about, is guessed: a child for
each symbol. A child is in conflict, and goes, where a blank has no symbol left or a unit no place
for one. The next node asked is the open one of the least cost: how much the net, asked of its
parent, believes in what the rules forbid (-log of the chance that every cell, drawn by itself,
holds one of its symbols), and with a small weight how unlikely it finds the guesses that were made.

Every symbol a blank may hold has its child, so no answer is ever lost, only put off; and no
solution is looked at. The idea of a search over candidates judged by a net is that of the Lattice
Deduction Transformer (arXiv 2605.08605); there the net strikes candidates and says what is a
conflict, here the rules do both, and the net says where to look. Its halting score is not asked:
with one right and one wrong guess in such a cell of 40 hard sudokus it preferred the wrong one more
often than not, where the belief in what is forbidden told 3 of 4 pairs apart.

Shapes: M nodes, N puzzles, C cells, S symbols, U units, K calls.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush

import numpy as np
import torch
from torch import Tensor

from reasoning.errors import InputError
from reasoning.loss_config import LossConfig
from reasoning.losses import log_probabilities
from reasoning.randomness import fold
from reasoning.search_config import JudgeConfig
from reasoning.supervision import Depth, SegmentModel, infer

_CALL = 4 << 32  # use of a puzzle's seed, apart from those of `reasoning.search`
_GUESSES = 0.1  # weight of the guesses' -log probability beside the trouble seen


@dataclass(frozen=True)
class UnitRules:
    """Every unit holds every symbol once. A token that is no symbol is a blank.

    units: fp32 (U, C), 1 for a unit's cells; peers: fp32 (C, C), 1 for two cells that share one;
    symbols: int64 (S,). Products with them are counts, which bf16 holds exactly up to 256.
    """

    units: Tensor
    peers: Tensor
    symbols: Tensor

    @staticmethod
    def of(
        families: Sequence[np.ndarray], symbols: Sequence[int], device: torch.device
    ) -> "UnitRules":
        """Rules of the families and symbols of a `GridShape`. ValueError where units hold another
        number of cells than there are symbols."""
        lengths = {family.shape[1] for family in families}
        if lengths != {len(symbols)}:
            raise InputError(
                f"the units hold {sorted(lengths)} cells and there are {len(symbols)} symbols: "
                "the rules are not that every unit holds every symbol once"
            )
        units = torch.zeros(sum(map(len, families)), families[0].size)
        units.scatter_(1, torch.from_numpy(np.concatenate(families)), 1.0)
        peers = (units.T @ units > 0).float().fill_diagonal_(0)
        return UnitRules(units.to(device), peers.to(device), torch.tensor(symbols, device=device))

    def held(self, grids: Tensor) -> Tensor:
        """bool (M, C, S): whether a cell of grids (M, C) holds a symbol."""
        return grids[..., None] == self.symbols

    def allowed(self, questions: Tensor) -> Tensor:
        """bool (M, C, S): the symbols of a blank that none of its peers holds; of another cell its
        own, where none of its peers holds it."""
        held = self.held(questions)
        seen = (self.peers @ held.float()) > 0
        return (held | ~held.any(-1, keepdim=True)) & ~seen

    def conflict(self, allowed: Tensor) -> Tensor:
        """bool (M,): a cell has no symbol left, or a unit has no place left for a symbol."""
        places = self.units @ allowed.float()
        return ~(allowed.any(-1).all(1) & (places > 0).flatten(1).all(1))

    def kept(self, questions: Tensor, answers: Tensor) -> Tensor:
        """bool (M,): answers hold every symbol once in every unit, and what their questions do."""
        given = self.held(questions).any(-1)
        once = self.units @ self.held(answers).float() == 1
        return once.flatten(1).all(1) & ((questions == answers) | ~given).all(1)


@dataclass(frozen=True)
class Judged:
    """What the search found of N puzzles.

    answers: uint8 (N, C), the first that kept the rules, or else what the first call answered;
    solved_at: int64 (N,), calls it took until one did; 0: none did;
    net_calls: int64 (N, K), of the net in each call of the judge; 0 where none was needed.
    """

    answers: np.ndarray
    solved_at: np.ndarray
    net_calls: np.ndarray

    def solved_within(self, calls: int) -> np.ndarray:
        """bool (N,): whether an answer kept the rules after at most so many calls."""
        return (self.solved_at > 0) & (self.solved_at <= calls)


@dataclass(order=True, frozen=True)
class _Node:
    """An open node: the one of the least cost, and of those the first born, is next.

    guessed: -log probability of the guesses that made it; question: uint8 (C,).
    """

    cost: float
    born: int
    guessed: float = field(compare=False)
    question: np.ndarray = field(compare=False)


@torch.no_grad()
def judge(
    model: SegmentModel,
    inputs: Tensor,
    puzzle_ids: Tensor,
    seeds: Tensor,
    rules: UnitRules,
    config: JudgeConfig,
    batch: int,
    depth: Depth | None = None,
    loss: LossConfig = LossConfig(),  # noqa: B008 - frozen
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Judged:
    """Search every puzzle until an answer keeps the rules, nothing is open, or all calls are made.
    A node of every puzzle still searched goes through the net together.

    Args:
        model: in eval mode, on the device of the tensors.
        inputs, puzzle_ids, seeds: int64 (N, C), (N,) and (N,).
        rules: of the puzzles' kind and size, on that device.
        config: most calls for each puzzle, and the segments of a call.
        batch: nodes in one call of the model.
        depth: overrides of the model's depth; None: its own.
        loss: what the model was trained with: its logits' chances follow from it.
        tell: called after every round with the calls done or no longer needed, and all of them.
    """
    if batch < 1:
        raise InputError(f"batch must be at least 1, got {batch}")
    count, device = len(inputs), inputs.device
    found = Judged(
        answers=inputs.to(torch.uint8).cpu().numpy(),
        solved_at=np.zeros(count, np.int64),
        net_calls=np.zeros((count, config.calls), np.int64),
    )
    frontiers: list[list[_Node]] = [[] for _ in range(count)]
    for row in torch.nonzero(~rules.conflict(rules.allowed(inputs)))[:, 0].tolist():
        frontiers[row].append(_Node(0.0, 0, 0.0, found.answers[row].copy()))
    for call in range(config.calls):
        here = np.array([row for row in range(count) if frontiers[row]], dtype=np.int64)
        if not len(here):
            break
        nodes = [heappop(frontiers[row]) for row in here]
        for part in np.split(np.arange(len(here)), range(batch, len(here), batch)):
            rows, asked = here[part], [nodes[i] for i in part]
            questions = torch.from_numpy(np.stack([node.question for node in asked])).to(inputs)
            place = torch.from_numpy(rows).to(device)
            drawn = fold(seeds[place], _CALL + call) if call else seeds[place]
            ask = questions, puzzle_ids[place], config.segments, depth or Depth(), drawn
            outputs = list(infer(model, *ask))
            made = torch.stack([output.net_calls for output in outputs]).sum(0)
            found.net_calls[rows, call] = made.cpu().numpy()
            believed = log_probabilities(outputs[-1].logits, loss)
            opinion = _Opinion.of(believed, questions, rules)
            answers = opinion.answers.to(torch.uint8).cpu().numpy()
            right = rules.kept(questions, opinion.answers).cpu().numpy()
            told = right | (call == 0)  # who is never right answers what it did at first
            found.answers[rows[told]] = answers[told]
            found.solved_at[rows[right]] = call + 1
            for row, done, children in zip(
                rows, right, opinion.children(asked, rules, call), strict=True
            ):
                if done:
                    frontiers[row].clear()
                    continue
                for child in children:
                    heappush(frontiers[row], child)
        left = sum(1 for frontier in frontiers if frontier) * (config.calls - call - 1)
        tell(count * config.calls - left, count * config.calls)
    return found


@dataclass(frozen=True)
class _Opinion:
    """What the net thinks of M nodes.

    allowed: bool (M, C, S); log: fp32 (M, C, S), log-probabilities among the symbols allowed;
    trouble: fp32 (M,), -log of the chance that every cell holds one of them;
    answers: int64 (M, C), the likeliest of them.
    """

    questions: Tensor
    allowed: Tensor
    log: Tensor
    trouble: Tensor
    answers: Tensor

    @staticmethod
    def of(believed: Tensor, questions: Tensor, rules: UnitRules) -> "_Opinion":
        """believed: log-probabilities (M, C, V)."""
        allowed = rules.allowed(questions)
        every = believed[..., rules.symbols].masked_fill(~allowed, -math.inf)
        among = every.logsumexp(-1)
        answers = rules.symbols[every.argmax(-1)]
        return _Opinion(questions, allowed, every - among[..., None], -among.sum(1), answers)

    def children(self, nodes: list[_Node], rules: UnitRules, call: int) -> list[list[_Node]]:
        """The children of every node that are in no conflict; none where nothing is to guess."""
        count, symbols = len(nodes), len(rules.symbols)
        options = self.allowed.sum(-1)
        entropy = -(self.log.exp() * self.log).nan_to_num(0.0).sum(-1)
        # The entropy is below 1 + log S: it decides only between cells of as many options.
        rank = torch.where(options > 1, options - entropy / (1 + math.log(symbols)), math.inf)
        cell = rank.argmin(1)
        row = torch.arange(count, device=cell.device)
        filled = self.questions[:, None].repeat(1, symbols, 1)  # (M, S, C)
        filled[row[:, None], torch.arange(symbols, device=cell.device), cell[:, None]] = (
            rules.symbols
        )
        stands = self.allowed[row, cell] & rank.amin(1).isfinite()[:, None]
        stands &= ~rules.conflict(rules.allowed(filled.flatten(0, 1))).view(count, symbols)
        grids, stands = filled.to(torch.uint8).cpu().numpy(), stands.cpu().numpy()
        unlikely, trouble = -self.log[row, cell].cpu().numpy(), self.trouble.cpu().numpy()
        born: list[list[_Node]] = []
        for m, node in enumerate(nodes):
            guessed = node.guessed + unlikely[m]
            cost = trouble[m] + _GUESSES * guessed
            born.append(
                [
                    _Node(float(cost[s]), call * symbols + int(s), float(guessed[s]), grids[m, s])
                    for s in np.flatnonzero(stands[m])
                ]
            )
        return born
