"""A model's answers to a task's items, kept as they come so that a killed run goes on.

    multiple_choice      tokens after the prefix that all choices share; least mean NLL is chosen
    schema               tokens of the suffix that all choices share; least mean NLL is chosen
    language_modeling    tokens after the prompt's own; right if each is the most likely one

BOS comes first. Sequences longer than the context lose their beginning, BOS too; of a continuation
that is itself longer, what is left counts. Where a rule leaves a choice no token (one that begins
every other, as "10" does "100"), the prefix is taken one token shorter; where the prompt's tokens
are not a prefix (the tokenizer joined the prompt's end with the continuation), the tokens from the
first that differs count. Both are counted as irregular.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from reasoning.errors import InputError
from reasoning.pretraining.evaluation.core_tasks import Item, Kind, Task, draw_examples, prompts
from reasoning.pretraining.evaluation.likelihood import Scorer, Span, sum_over_processes
from reasoning.records import sha256_of
from reasoning.training.runs import write_json

_CHUNK = 256  # items of one process between two writes of what is known
COLUMNS = ("correct", "nll", "tokens", "cropped", "irregular")


class Encoder(Protocol):
    """What is needed of a tokenizer. `encode` adds no BOS."""

    bos: int

    def encode(self, texts: list[str]) -> list[list[int]]: ...


@dataclass(frozen=True)
class Answers:
    """Of n items, each (n,): correct: 0 or 1; nll: nats of the right option's scored tokens;
    tokens: their count; cropped, irregular: 0 or 1, see above."""

    correct: np.ndarray
    nll: np.ndarray
    tokens: np.ndarray
    cropped: np.ndarray
    irregular: np.ndarray


def answer_task(
    scorer: Scorer,
    tokenizer: Encoder,
    task: Task,
    items: Sequence[Item],
    seed: int,
    count: int,
    progress: Path | None = None,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Answers:
    """Answer the first `count` items; every process returns all of them.

    scorer: of the model, on all processes; tokenizer: the model's; task: what `items`, all of its
    own, were read from. Examples are drawn from all items with `seed` + index, so an item's answer
    does not depend on `count`. tell: called now and then with the items answered, and all of them.
    progress: a JSON file of what was answered, gone on from and rewritten whole; the caller keeps
    one per model and settings; None: nothing is kept. ValueError if it is of other data.
    """
    world = scorer.world
    key = {
        "task": task.name,
        "file": sha256_of(task.file),
        "kind": task.kind,
        "shots": task.shots,
        "delimiter": task.delimiter,
        "seed": seed if task.shots else None,
    }
    table = np.zeros((len(items), len(COLUMNS)))
    done = np.zeros(1, dtype=np.int64)
    if world.is_main and progress is not None and progress.exists():
        known = _read_progress(progress, key)
        done[0] = len(known)
        table[: len(known)] = known
    # The main process alone reads the file: the others may not see it, or see a later one.
    first, table = int(sum_over_processes(world, done)[0]), sum_over_processes(world, table)
    while first < count:
        last = min(count, first + _CHUNK * world.size)
        own = range(first + world.rank, last, world.size)
        part = np.zeros((last - first, len(COLUMNS)))
        part[world.rank :: world.size] = _answer(scorer, tokenizer, task, items, own, seed)
        table[first:last] = sum_over_processes(world, part)
        first = last
        tell(first, count)
        if world.is_main and progress is not None:
            record = key | {"items": len(items), "columns": COLUMNS}
            write_json(progress, record | {"values": table[:first].tolist()}, indent=None)
    return Answers(*table[:count].T)


def _read_progress(path: Path, key: dict[str, Any]) -> np.ndarray:
    try:
        record = json.loads(path.read_text())
        values = np.array(record["values"], dtype=np.float64).reshape(-1, len(COLUMNS))
    except (KeyError, ValueError) as error:
        raise InputError(f"{path}: not readable ({error}); delete it to start again") from error
    for name, value in key.items():
        if record.get(name) != value:
            raise InputError(
                f"{path}: holds answers for {name} {record.get(name)!r}, the bundle now has "
                f"{value!r}; delete it to start again"
            )
    return values


def _answer(
    scorer: Scorer,
    tokenizer: Encoder,
    task: Task,
    items: Sequence[Item],
    indices: Sequence[int],
    seed: int,
) -> np.ndarray:
    """Rows of COLUMNS, float64 (len(indices), 5), for the items at `indices`."""
    context = scorer.longest
    texts = [prompts(task, items[i], draw_examples(items, i, task.shots, seed)) for i in indices]
    flat = tokenizer.encode([text for group in texts for text in group])
    encoded = iter(np.array([tokenizer.bos, *tokens], dtype=np.int64) for tokens in flat)
    spans: list[Span] = []
    flags = []
    for group in texts:
        full, starts, irregular = mark_tokens(task.kind, [next(encoded) for _ in group])
        spans += [crop(t, start, context) for t, start in zip(full, starts, strict=True)]
        flags.append((any(len(tokens) > context for tokens in full), irregular))
    scores = scorer.spans(spans)
    scored = np.array([span.scored for span in spans])
    rows = []
    first = 0
    for index, (cropped, irregular) in zip(indices, flags, strict=True):
        right = first + items[index].gold
        own = slice(first, first + len(items[index].options))
        if task.kind == "language_modeling":
            correct = scores.greedy[first]
        else:
            correct = first + (scores.nll[own] / scored[own]).argmin() == right
        rows.append((correct, scores.nll[right], scored[right], cropped, irregular))
        first = own.stop
    return np.array(rows, dtype=np.float64).reshape(-1, len(COLUMNS))


def mark_tokens(
    kind: Kind, sequences: list[np.ndarray]
) -> tuple[list[np.ndarray], list[int], bool]:
    """The sequences to score, where each one's scored tokens begin, and whether irregularly.

    For language_modeling the first of `sequences` is the prompt without its continuation.
    """
    if kind == "schema":
        shared = _shared([sequence[::-1] for sequence in sequences])
        return sequences, [len(sequence) - max(1, shared) for sequence in sequences], shared == 0
    shared = _shared(sequences)
    if kind == "multiple_choice":
        start = min(shared, min(map(len, sequences)) - 1)
        return sequences, [start] * len(sequences), start < shared
    prompt, whole = sequences
    start = min(shared, len(whole) - 1)
    return [whole], [start], start < len(prompt)


def _shared(sequences: list[np.ndarray]) -> int:
    """The length of the prefix that all share."""
    shortest = min(map(len, sequences))
    block = np.stack([sequence[:shortest] for sequence in sequences])
    differs = (block != block[0]).any(0)
    return int(differs.argmax()) if differs.any() else shortest


def crop(tokens: np.ndarray, start: int, context: int) -> Span:
    """The last `context` tokens; the first of them is never scored, since nothing predicts it."""
    cut = max(0, len(tokens) - context)
    return Span(tokens[cut:], max(1, start - cut))
