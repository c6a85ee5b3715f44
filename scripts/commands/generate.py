"""`loopbench generate`: continue a text; see `scripts.runs.generate`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from reasoning.names import CacheKind, Device
from scripts.terminal.folders import expect
from scripts.terminal.texts import argument_text, standard_input
from scripts.usage import above_0, at_least, parse


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
    device: Device = "auto",
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
    at_least(1, tokens=tokens, top_k=top_k)
    at_least(0, solver_evaluations=solver_evaluations, temperature=temperature)
    above_0(tolerance=tolerance)
    expect(run, "language run")
    text = standard_input() if prompt == "-" else argument_text(prompt, "--prompt")

    import torch

    from reasoning.pretraining.generation import Sampling, generate
    from reasoning.pretraining.protocol import SolveBudget
    from reasoning.training.distribution import choose_device
    from scripts.runs.generate import write_continuation
    from scripts.runs.lm_session import open_language_run

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
    write_continuation(steps, tokenizer.decode)
    return 0


def main(words: Sequence[str]) -> int:
    return parse(continue_text, words, "loopbench generate", may_be_empty=("--prompt",))()
