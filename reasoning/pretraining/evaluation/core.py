"""CORE (Li et al. 2024): the mean over tasks of accuracy centred on guessing.

centered = (accuracy - b) / (1 - b) with b the task's random baseline, so 0 is guessing and 1 is
right throughout; CORE = 100 * mean of the 22 tasks, CORE-Extended that of every task there is.

Two uncertainties: over items (a task's standard error, combined over tasks as independent) and
over draws of the few-shot examples (standard deviation over seeds). Tasks without examples have
one draw.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from reasoning.errors import InputError
from reasoning.names import FEW_SHOT_SEED
from reasoning.pretraining.evaluation import lambada
from reasoning.pretraining.evaluation.answers import Answers, Encoder, answer_task
from reasoning.pretraining.evaluation.core_tasks import Bundle, Task, read_items
from reasoning.pretraining.evaluation.likelihood import Scorer
from reasoning.records import sha256_of


@dataclass(frozen=True)
class TaskScore:
    """A task's accuracy, averaged over draws of examples, and what it was measured on.

    n: items scored, of `items` in the file; stderr: over items, None of one item;
    accuracy_by_seed: one accuracy per draw, under the one seed 0 where there are no examples;
    nats_per_token: NLL of the right answers' tokens; cropped, irregular: items (see answers.py).
    """

    task: str
    kind: str
    in_core: bool
    shots: int
    n: int
    items: int
    accuracy: float
    stderr: float | None
    baseline: float
    centered: float
    centered_stderr: float | None
    accuracy_by_seed: dict[int, float]
    nats_per_token: float
    cropped: int
    irregular: int
    sha256: str


@dataclass(frozen=True)
class Aggregate:
    """100 * mean of `tasks` tasks' centered accuracies; by_seed: the same per draw of examples.

    stderr: over items, None where a task has one; spread: standard deviation over draws, None of
    one draw.
    """

    score: float
    stderr: float | None
    spread: float | None
    by_seed: dict[int, float]
    tasks: int


@dataclass(frozen=True)
class BundleScores:
    """core: None unless every CORE task was scored; extended: None unless asked for;
    missing: tasks of CORE-Extended that were not scored, each with the reason."""

    tasks: tuple[TaskScore, ...]
    core: Aggregate | None
    extended: Aggregate | None
    lambada: lambada.Lambada | None
    missing: dict[str, str]
    seeds: tuple[int, ...]
    hashes: dict[str, str]


def evaluate_bundle(
    scorer: Scorer,
    tokenizer: Encoder,
    bundle: Bundle,
    seeds: Sequence[int] = (FEW_SHOT_SEED,),
    limit: int = 0,
    extended: bool = False,
    folder: Path | None = None,
    report: Callable[[TaskScore], None] = lambda score: None,
    tell: Callable[[str, int, int], None] = lambda task, done, total: None,
) -> BundleScores:
    """Score every task of a bundle, in its order; sharded over processes, which all get the result.

    scorer: of the model; tokenizer: the model's; seeds: of the few-shot draws; limit: first items
    of each task (0: all); extended: whether the mean over every task is told too; folder: where
    answers are kept to go on from, one folder per model and settings, None: nowhere; report: called
    after each task; tell: called now and then with a task's name, its items answered, and all of
    them. Every task's items are read before the first is scored. BundleError for bad data.
    """
    if not seeds or len(set(seeds)) < len(seeds):
        raise InputError(f"few-shot seeds must be one or more, all different (got {list(seeds)})")
    read = [read_items(task) for task in bundle.tasks]  # mistakes are told before time is spent
    scores = []
    words = None
    for task, items in zip(bundle.tasks, read, strict=True):
        count = min(limit, len(items)) if limit else len(items)
        draws = {}
        for seed in seeds if task.shots else (0,):
            place = folder / f"{task.name}-{seed}.json" if folder is not None else None
            draws[seed] = answer_task(
                scorer, tokenizer, task, items, seed, count, place, partial(tell, task.name)
            )
        scores.append(_score(task, len(items), draws))
        report(scores[-1])
        if task.name == lambada.TASK:
            first = next(iter(draws.values()))
            words = lambada.lambada(first.nll, first.correct)
    known = {score.task for score in scores}
    in_core = [score for score in scores if score.in_core]
    return BundleScores(
        tasks=tuple(scores),
        core=aggregate(in_core, seeds) if known >= set(bundle.core) else None,
        extended=aggregate(scores, seeds) if extended else None,
        lambada=words,
        missing=bundle.missing,
        seeds=tuple(seeds),
        hashes=bundle.hashes,
    )


def _score(task: Task, items: int, draws: Mapping[int, Answers]) -> TaskScore:
    correct = np.mean([answers.correct for answers in draws.values()], axis=0)
    n = len(correct)
    stderr = float(correct.std(ddof=1) / np.sqrt(n)) if n > 1 else None
    total = {
        name: float(np.sum([getattr(answers, name) for answers in draws.values()]))
        for name in ("nll", "tokens")
    }
    return TaskScore(
        task=task.name,
        kind=task.kind,
        in_core=task.in_core,
        shots=task.shots,
        n=n,
        items=items,
        accuracy=float(correct.mean()),
        stderr=stderr,
        baseline=task.baseline,
        centered=centered(float(correct.mean()), task.baseline),
        centered_stderr=None if stderr is None else stderr / (1 - task.baseline),
        accuracy_by_seed={seed: float(a.correct.mean()) for seed, a in draws.items()},
        nats_per_token=total["nll"] / total["tokens"],
        cropped=int(np.max([answers.cropped for answers in draws.values()], axis=0).sum()),
        irregular=int(np.max([answers.irregular for answers in draws.values()], axis=0).sum()),
        sha256=sha256_of(task.file),
    )


def centered(accuracy: float, baseline: float) -> float:
    """0 for guessing, 1 for right throughout."""
    return (accuracy - baseline) / (1 - baseline)


def aggregate(scores: Sequence[TaskScore], seeds: Sequence[int]) -> Aggregate:
    """100 * mean of centered accuracies, with its two uncertainties."""
    by_seed = {
        seed: 100 * float(np.mean([centered(_of_seed(s, seed), s.baseline) for s in scores]))
        for seed in seeds
    }
    errors = [score.centered_stderr for score in scores]
    known = None not in errors
    return Aggregate(
        score=float(np.mean(list(by_seed.values()))),
        stderr=100 * float(np.sqrt(np.square(errors).sum())) / len(scores) if known else None,
        spread=float(np.std(list(by_seed.values()), ddof=1)) if len(seeds) > 1 else None,
        by_seed=by_seed,
        tasks=len(scores),
    )


def _of_seed(score: TaskScore, seed: int) -> float:
    return score.accuracy_by_seed[seed if score.shots else 0]
