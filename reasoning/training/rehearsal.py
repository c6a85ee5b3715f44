"""A first segment before a run begins: what a model of one's own returns, and training cannot use,
is told by its name before the run's folder is made."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from reasoning.errors import InputError
from reasoning.plugins import path_of, watched
from reasoning.precision import autocast
from reasoning.supervision import Batch, Depth, SegmentOutput, State, start, supervise
from reasoning.training.config import TrainingConfig

_CLOSE = 1e-2  # of the largest logit: a solver stops at a tolerance


def rehearse(model: nn.Module, config: TrainingConfig, batch: Batch, vocabulary: int) -> list[str]:
    """Train a copy of a model on two puzzles for a segment without a step, and ask it for another.

    config: of the run that it is for; batch: of two puzzles, on the model's device; vocabulary:
    tokens that a cell may hold. Returns the names of parameters that no gradient reaches.
    InputError, which names the model's class, for what is not as `SegmentModel` and `SegmentOutput`
    say: kinds, shapes, dtypes, a state that carries a graph, an answer that depends on batch-mates
    or on more than its arguments; and for whatever its methods raise.
    """
    path, cells = path_of(model), batch.inputs.shape[1]
    if not any(p.requires_grad for p in model.parameters()):
        raise InputError(f"{path}: has no parameters to train")
    asked = batch.inputs, batch.puzzle_ids
    stage = config.supervision.stage_at(0, config.steps)
    seeds = torch.arange(2, device=batch.inputs.device)
    devices = [batch.inputs.device] if batch.inputs.is_cuda else []
    with torch.random.fork_rng(devices), autocast(batch.inputs.device, config.precision):
        with watched(path, "a copy of the model, which its average is"):
            tried = copy.deepcopy(model).train()
        with watched(path, "initial_state"):
            state = tried.initial_state(2, seeds)
        _check_state(path, "initial_state's", state)
        with watched(path, "segment"):
            output = tried.segment(state, *asked, stage.depth, seeds)
        _check_output(path, output, state, (2, cells, vocabulary))
        with watched(path, "the gradient of a segment"):
            supervised = supervise(
                *(tried, start(tried, batch, seeds), batch, torch.zeros_like(seeds), stage),
                *(config.loss, config.supervision.halting, seeds),
            )
            supervised.losses.total.sum().backward()
        size = config.micro_batch or config.batch
        if 1 in (size, config.batch % size):
            alone = tuple(part[:1] for part in state)
            with watched(path, "segment of one puzzle, as a micro-batch of 1 gives it"):
                tried.segment(alone, *(a[:1] for a in asked), stage.depth, seeds[:1])
        untrained = [n for n, p in tried.named_parameters() if p.requires_grad and p.grad is None]
        with torch.no_grad(), watched(path, "a second segment, in eval mode"):
            after = tried.eval().segment(output.state, *asked, Depth(), seeds)
        _check_output(path, after, state, (2, cells, vocabulary))
    with torch.no_grad(), torch.random.fork_rng(devices):
        # In fp32: a solver that stops at a tolerance amplifies what bf16 rounds.
        _check_alone(path, tried, asked, seeds)
    return untrained


def _check_alone(path: str, model: nn.Module, asked: tuple[Tensor, Tensor], seeds: Tensor) -> None:
    """InputError where a segment's answer is not of its arguments alone, puzzle by puzzle."""

    def logits(rows: slice, seed: int = 0) -> Tensor:
        torch.manual_seed(seed)  # whatever it draws it draws again
        state = model.initial_state(len(seeds[rows]), seeds[rows])
        with watched(path, "segment, in eval mode and fp32"):
            return model.segment(state, *(a[rows] for a in asked), Depth(), seeds[rows]).logits

    both, one = slice(0, 2), slice(0, 1)
    whole = logits(both)
    if not alike(whole, logits(both)):
        raise InputError(
            f"{path}: asked twice in eval mode it gives two answers; what a segment takes from the "
            "one before belongs in the state that it returns"
        )
    draws = not alike(whole, logits(both, seed=1))
    if not draws and not alike(whole[one], logits(one)):
        raise InputError(f"{path}: a puzzle's answer changes with another puzzle in its batch")


def alike(a: Tensor, b: Tensor) -> bool:
    """Whether two sets of logits are within a hundredth of the largest, but for tokens that are
    ruled out, at -inf in both."""
    ruled_out = a.isneginf() & b.isneginf()
    a, b = a.masked_fill(ruled_out, 0), b.masked_fill(ruled_out, 0)
    return bool((a - b).abs().max() <= _CLOSE * b.abs().max().clamp_min(1e-6))


def _check_state(path: str, whose: str, state: State) -> None:
    if not isinstance(state, tuple) or not all(isinstance(part, Tensor) for part in state):
        raise InputError(f"{path}: {whose} state is no tuple of tensors")
    for i, part in enumerate(state):
        if not part.dim() or len(part) != 2:
            shape = tuple(part.shape)
            raise InputError(f"{path}: {whose} state[{i}] has shape {shape} for a batch of 2")


def _check_output(
    path: str, output: SegmentOutput, before: State, shape: tuple[int, int, int]
) -> None:
    if not isinstance(output, SegmentOutput):
        raise InputError(f"{path}: segment returns {type(output).__name__}, not a SegmentOutput")
    _check_state(path, "segment's", output.state)
    if len(output.state) != len(before):
        given = f"{len(output.state)} tensors, initial_state's {len(before)}"
        raise InputError(f"{path}: segment's state has {given}")
    for i, (part, first) in enumerate(zip(output.state, before, strict=True)):
        expect_tensor(path, f"segment's state[{i}]", part, tuple(first.shape))
        if part.requires_grad:
            raise InputError(f"{path}: segment's state[{i}] carries a graph: detach it")
    expect_tensor(path, "segment's logits (B, C, V)", output.logits, shape, logits=True)
    expect_tensor(path, "segment's q (B, 2)", output.q, (2, 2), logits=True)
    expect_tensor(path, "segment's net_calls (B,)", output.net_calls, (2,))
    if output.own_loss is not None:
        _check_own_loss(path, output.own_loss, output.logits.requires_grad)
    for name, value in output.diagnostics.items():
        expect_tensor(path, f"segment's diagnostics[{name!r}] (B,)", value, (2,))


def _check_own_loss(path: str, loss: Any, trained: bool) -> None:
    """InputError for what cannot be minimised; trained: whether the segment carries a gradient."""
    expect_tensor(path, "segment's own_loss (B,)", loss, (2,))
    if not loss.dtype.is_floating_point or not loss.isfinite().all():
        raise InputError(f"{path}: segment's own_loss is of {loss.dtype}, or not finite")
    if trained and not loss.requires_grad:
        raise InputError(f"{path}: segment's own_loss carries no gradient; it would train nothing")


def expect_tensor(
    path: str, what: str, value: Any, shape: tuple[int, ...], logits: bool = False
) -> None:
    """InputError unless a value is a tensor of this shape; of logits, unless they are fp32 or wider
    and numbers, where -inf rules a token out. path, what: the model's class and the value's name,
    for its message."""
    if not isinstance(value, Tensor):
        raise InputError(f"{path}: {what} is of {type(value).__name__}, expected a tensor {shape}")
    if tuple(value.shape) != shape:
        raise InputError(f"{path}: {what} has shape {tuple(value.shape)}, expected {shape}")
    if logits and value.dtype not in (torch.float32, torch.float64):
        raise InputError(f"{path}: {what} is of {value.dtype}, expected torch.float32")
    if logits and (value.isnan() | value.isposinf()).any():
        raise InputError(f"{path}: {what} holds NaN or infinity")
