"""Loss, perplexity and bits per byte on fixed rows of held-out text.

Per-token loss depends on the tokenizer; bits per byte, sum of nll / (ln 2 * sum of bytes), does
not. Labels that stand for no bytes (BOS) are left out of both sums, so both describe the text; the
loss over all labels, which training logs and the literature's perplexities take, stands beside.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from reasoning.errors import InputError
from reasoning.pretraining.evaluation.likelihood import Scorer, sum_over_processes, token_scores


@dataclass(frozen=True)
class Perplexity:
    """Held-out scores of `tokens` labels that stand for text (`bytes` bytes), in `rows` rows with
    parts of `documents` documents.

    loss: nats per token; stderr: its standard error over documents, whose tokens are alike, None
    for a single one; *_with_bos: the same over every label; diagnostics: means over those tokens of
    what the model reported, such as the solver's evaluations.
    """

    loss: float
    stderr: float | None
    perplexity: float
    bits_per_byte: float
    loss_with_bos: float
    perplexity_with_bos: float
    rows: int
    documents: int
    tokens: int
    bytes: int
    diagnostics: dict[str, float]


def evaluate_rows(
    scorer: Scorer,
    rows: np.ndarray,
    token_bytes: np.ndarray,
    documents: np.ndarray | None = None,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Perplexity:
    """Score rows int (N, S + 1): inputs row[:-1], labels row[1:]; sharded over processes.

    scorer: of the model, on all processes. token_bytes int (V,): raw bytes of every token.
    documents: int (N, S + 1), which document each token is of; none: a row is one of its own. tell:
    called after every pass with this process's rows done, and all of them. ValueError for rows that
    hold no text or a token that the tokenizer does not know, or for fewer rows than processes.
    """
    world = scorer.world
    if len(rows) < world.size:
        raise InputError(f"{len(rows)} rows do not divide over {world.size} processes")
    if not 0 <= rows.min() <= rows.max() < len(token_bytes):
        raise InputError(
            f"a row holds token {rows.max()} but the tokenizer has {len(token_bytes)}: the corpus "
            "was written with another tokenizer"
        )
    if documents is None:
        documents = np.broadcast_to(np.arange(len(rows))[:, None], rows.shape)
    numbers, of = np.unique(documents[:, 1:], return_inverse=True)
    of = of.reshape(len(rows), -1)  # (N, S), which of `numbers` a label is of
    own = np.arange(len(rows))[world.rank :: world.size]
    names: list[str] = []
    sums, by_document = np.zeros((len(rows), 1)), np.zeros((2, len(numbers)))
    count = scorer.rows_at_once(rows.shape[1] - 1)
    for first in range(0, len(own), count):
        chosen = own[first : first + count]
        names, values, nll, counts = _score(scorer, rows[chosen].astype(np.int64), token_bytes)
        if first == 0:
            sums = np.zeros((len(rows), values.shape[1]))
        sums[chosen] = values
        for total, labels in zip(by_document, (nll, counts), strict=True):
            total += np.bincount(of[chosen].ravel(), labels.ravel(), len(numbers))
        tell(first + len(chosen), len(own))
    sums, by_document = (sum_over_processes(world, each) for each in (sums, by_document))
    by_document = by_document[:, by_document[1] > 0]  # of some only a BOS is scored
    nll, tokens, size, all_nll = sums[:, :4].T
    if not tokens.sum():
        raise InputError("the rows hold no token that stands for text")
    loss = float(nll.sum() / tokens.sum())
    whole = float(all_nll.sum() / rows[:, 1:].size)
    return Perplexity(
        loss=loss,
        stderr=_ratio_error(*by_document),
        perplexity=float(np.exp(loss)),
        bits_per_byte=float(nll.sum() / (math.log(2) * size.sum())),
        loss_with_bos=whole,
        perplexity_with_bos=float(np.exp(whole)),
        rows=len(rows),
        documents=by_document.shape[1],
        tokens=int(tokens.sum()),
        bytes=int(size.sum()),
        diagnostics={
            name: float(sums[:, 4 + i].sum() / tokens.sum()) for i, name in enumerate(names)
        },
    )


def _ratio_error(nll: np.ndarray, tokens: np.ndarray) -> float | None:
    """Standard error of the sum of nll over that of tokens, both (D,), by linearisation, whose D
    are a sample; None for a single one."""
    n = len(nll)
    if n < 2:
        return None
    spread = nll - nll.sum() / tokens.sum() * tokens
    return float(np.sqrt(np.square(spread).sum() * n / (n - 1)) / tokens.sum())


def _score(
    scorer: Scorer, rows: np.ndarray, token_bytes: np.ndarray
) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """One pass over rows (B, S + 1): the names of the D diagnostics; per row nll, counted tokens,
    bytes, nll of all labels, then the sum of each diagnostic, float64 (B, 4 + D); per label (B, S)
    its nll if it counts, and whether it does."""
    output = scorer.forward(rows[:, :-1])
    labels = rows[:, 1:]
    places = np.indices(labels.shape).reshape(2, -1)
    nll = token_scores(output.logits, *places, labels.ravel())[0].reshape(labels.shape)
    size = token_bytes[labels]
    counts = size > 0
    counted = nll * counts
    columns = [counted.sum(1), counts.sum(1), size.sum(1), nll.sum(1)]
    text = torch.from_numpy(counts).to(scorer.world.device)
    for value in output.diagnostics.values():
        columns.append(torch.where(text, value.float(), 0).sum(1).cpu().numpy())
    sums = np.stack(columns, axis=1).astype(np.float64)
    return list(output.diagnostics), sums, counted, counts
