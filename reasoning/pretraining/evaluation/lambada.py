"""LAMBADA (Paperno et al. 2016): predict a passage's last word, known only from its wider context.

An item's log-likelihood is that of the last word's tokens together; perplexity is
exp(-mean over items), so it is per word, not per token. Accuracy counts the items of which every
token is the most likely one.
"""

from dataclasses import dataclass

import numpy as np

TASK = "lambada_openai"  # its name in a CORE bundle, where it has no examples


@dataclass(frozen=True)
class Lambada:
    """stderr of accuracy; perplexity_stderr by the delta method, perplexity * stderr of the mean
    log-likelihood. None of one item."""

    n: int
    perplexity: float
    perplexity_stderr: float | None
    accuracy: float
    stderr: float | None


def lambada(nll: np.ndarray, correct: np.ndarray) -> Lambada:
    """Scores from each item's nll in nats (N,) and whether its word was predicted (N,)."""
    perplexity = float(np.exp(nll.mean()))
    known = len(nll) > 1
    errors = [float(v.std(ddof=1) / np.sqrt(len(v))) for v in (nll, correct)] if known else []
    return Lambada(
        n=len(nll),
        perplexity=perplexity,
        perplexity_stderr=perplexity * errors[0] if known else None,
        accuracy=float(correct.mean()),
        stderr=errors[1] if known else None,
    )
