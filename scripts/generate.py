"""`loopbench generate`: continue a text with a pretrained run, streamed as it is chosen."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro

from reasoning.nn.cache import CacheKind
from reasoning.pretraining.generation import Generated, Sampling, generate
from reasoning.pretraining.protocol import SolveBudget
from reasoning.training.distribution import choose_device
from scripts.texts import argument_text, standard_input
from scripts.usage import UsageError, parse


class TextStream:
    """Tokens to text as it becomes certain: a character split over tokens waits for its rest."""

    def __init__(self, decode):
        self.decode, self.ids, self.shown = decode, [], ""

    def push(self, token: int) -> str:
        """The text that this token completes."""
        self.ids.append(token)
        return self._take(self.decode(self.ids).rstrip("\N{REPLACEMENT CHARACTER}"))

    def finish(self) -> str:
        """What is left, broken characters replaced."""
        return self._take(self.decode(self.ids))

    def _take(self, text: str) -> str:
        if not text.startswith(self.shown):  # nothing new is certain yet
            return ""
        new, self.shown = text[len(self.shown) :], text
        return new


def continue_text(
    run: Annotated[Path, tyro.conf.Positional],
    prompt: str = "",
    tokens: int = 64,
    temperature: float = 0.8,
    top_k: int | None = 50,
    seed: int = 0,
    solver_evaluations: int | None = None,
    tolerance: float | None = None,
    cache: CacheKind = "trajectory",
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> int:
    """Print the prompt and its continuation; to stderr go tokens per second, evaluations and, of a
    model that solves, the share of tokens that converged, with what to do about the others.

    Args:
        run: folder of a pretraining run.
        prompt: text to continue; - reads standard input; empty: from the start of a document.
        tokens: tokens to add.
        temperature: divides the logits; 0 takes the likeliest token.
        top_k: choose among that many likeliest tokens; none: among all.
        seed: seed of the draws.
        solver_evaluations: most evaluations per token (Parcae: steps), 0 reads the proposal out;
            none: as the run was configured.
        tolerance: relative residual at which a token stops; none: as configured.
        cache: what is kept of earlier tokens' evaluations. trajectory: all, equal to the uncached
            model; solution: the last, cheaper and equal only as far as they converged.
        device: where to run; auto: the best present.
    """
    from scripts.lm_session import open_language_run

    if tokens < 1:
        raise UsageError(f"--tokens: must be at least 1 (got {tokens})")
    if solver_evaluations is not None and solver_evaluations < 0:
        raise UsageError(f"--solver-evaluations: must be at least 0 (got {solver_evaluations})")
    if tolerance is not None and not tolerance > 0:
        raise UsageError(f"--tolerance: must be above 0 (got {tolerance})")
    text = standard_input() if prompt == "-" else argument_text(prompt, "--prompt")
    sampling = Sampling(temperature, top_k, seed)
    place = choose_device(device)
    opened = open_language_run(run, place)
    tokenizer = opened.tokenizer
    ids = [tokenizer.bos, *tokenizer.encode([text])[0]]
    budget = SolveBudget(solver_evaluations, tolerance)
    steps = generate(
        opened.model, torch.tensor([ids], device=place), tokens, sampling, budget, cache
    )
    print(text, end="", flush=True)
    stream, shown, began = TextStream(tokenizer.decode), [], time.perf_counter()
    for step in steps:
        print(stream.push(int(step.ids[0])), end="", flush=True)
        shown.append(step)
    print(stream.finish())
    print(_report(shown, time.perf_counter() - began), file=sys.stderr)
    return 0


def _report(shown: Sequence[Generated], seconds: float) -> str:
    tokens = len(shown)
    report = f"{tokens} tokens in {seconds:.2f} s, {tokens / seconds:.1f} tokens/s"
    spent = [int(step.evaluations[0]) for step in shown if step.evaluations is not None]
    if not spent:
        return report
    report += f"; evaluations per token: mean {sum(spent) / len(spent):.2f}, most {max(spent)}"
    # A proposal that is read out, with no evaluations, was never to converge.
    solved = [bool(step.converged[0]) for step in shown if step.converged is not None]
    if not solved or not max(spent):
        return report
    report += f"; converged: {100 * sum(solved) / len(solved):.0f} % of tokens"
    if all(solved):
        return report
    return (
        f"{report}\n{len(solved) - sum(solved)} of {len(solved)} tokens ran out of evaluations "
        "before they met the tolerance. Faster: fewer (--solver-evaluations) or a larger "
        "--tolerance; closer: more evaluations, or a model trained for longer"
    )


def main(words: Sequence[str]) -> int:
    return parse(continue_text, words, "loopbench generate", may_be_empty=("--prompt",))()
