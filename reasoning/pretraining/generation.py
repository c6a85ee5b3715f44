"""Sampling from a language model with a cache, one token at a time.

Every sequence of a batch draws from its own generator, so what it says does not depend on its
batch-mates' draws. Generators are on the CPU: equal logits and seeds give equal tokens anywhere.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from reasoning.errors import InputError
from reasoning.names import LARGEST_SEED, CacheKind
from reasoning.plugins import path_of
from reasoning.pretraining.protocol import LanguageModel, SolveBudget


@dataclass(frozen=True)
class Sampling:
    """How a token is chosen. ValueError for settings that make no sense.

    temperature: divides the logits; 0 takes the likeliest token;
    top_k: choose among that many likeliest tokens; None: among all;
    seed: of the first sequence's draws; sequence i has seed + i.
    """

    temperature: float = 1.0
    top_k: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise InputError(f"temperature must be finite and at least 0, got {self.temperature}")
        if self.top_k is not None and self.top_k < 1:
            raise InputError(f"top_k must be at least 1 (or None: all), got {self.top_k}")
        if not 0 <= self.seed <= LARGEST_SEED:
            raise InputError(f"seed must be 0 to {LARGEST_SEED}, got {self.seed}")

    def choose(self, logits: Tensor, generators: list[torch.Generator]) -> Tensor:
        """Tokens (B,) on the CPU for logits (B, V)."""
        logits = logits.detach().to("cpu", torch.float64)
        ruled_out = logits.isneginf()
        if ruled_out.all(-1).any() or not (logits.isfinite() | ruled_out).all():
            raise InputError("the model's logits are not finite: its training diverged")
        if self.temperature == 0:
            return logits.argmax(-1)
        if self.top_k is not None and self.top_k < logits.shape[-1]:
            kept = logits.topk(self.top_k)
            logits = torch.full_like(logits, -torch.inf).scatter(-1, kept.indices, kept.values)
        # The largest is taken off first, for a small temperature would overflow the rest.
        spread = (logits - logits.amax(-1, keepdim=True)) / self.temperature
        drawn = [
            torch.multinomial(row, 1, generator=generator)
            for row, generator in zip(spread.softmax(-1), generators, strict=True)
        ]
        return torch.cat(drawn)


@dataclass(frozen=True)
class Generated:
    """One more token of every sequence, on the CPU.

    ids: (B,);
    evaluations: (B,) spent on the position it was read from; None: the model does not iterate;
    converged: (B,) bool, whether that position met the tolerance; None: the model does not solve.
    """

    ids: Tensor
    evaluations: Tensor | None
    converged: Tensor | None


def generate(
    model: LanguageModel,
    prompt: Tensor,
    tokens: int,
    sampling: Sampling = Sampling(),
    budget: SolveBudget = SolveBudget(),  # noqa: B008 - frozen
    cache: CacheKind = "trajectory",
) -> Iterator[Generated]:
    """Continue prompts (B, P) by `tokens` tokens, yielding each as it is chosen.

    The prompt is read once; every further token costs one position. sampling: how a token is
    chosen; budget: how much the model iterates at every position; `cache`: what is kept of the
    earlier positions' evaluations, see reasoning.nn.cache. ValueError for an empty prompt, or where
    prompt and tokens exceed the model's context.
    """
    batch, length = prompt.shape
    if not length:
        raise InputError("the prompt is empty: begin with the BOS token")
    if length + tokens - 1 > model.context:  # the last token is not read
        raise InputError(
            f"a prompt of {length} tokens and {tokens} more exceed the model's context of "
            f"{model.context}: ask for at most {max(0, model.context - length + 1)}"
        )
    try:
        fresh = model.new_cache(cache)
    except NotImplementedError as error:
        raise InputError(
            f"{path_of(model)}: has no cache, without which it generates nothing"
        ) from error
    return _generate(model, prompt, tokens, sampling, budget, fresh, batch)


def _generate(model, prompt, tokens, sampling, budget, cache, batch) -> Iterator[Generated]:
    generators = [torch.Generator().manual_seed(sampling.seed + i) for i in range(batch)]
    piece = prompt
    for _ in range(tokens):
        with torch.no_grad():
            output = model(piece, budget, cache=cache)
        ids = sampling.choose(output.logits[:, -1], generators)
        found = [output.diagnostics.get(name) for name in ("evaluations", "converged")]
        yield Generated(ids, *(None if rows is None else rows[:, -1].cpu() for rows in found))
        piece = ids[:, None].to(prompt.device)
