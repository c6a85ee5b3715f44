"""`loopbench evaluate-lm`: perplexity, LAMBADA and CORE of a pretraining run.

RUN/evaluation-lm/<hash>/   one folder per checkpoint, settings, and bundle or corpus
    settings.json           what the hash is of
    answers/                per task and few-shot draw, what was answered so far
    results.json            the scores of CORE, or of every validation row
    results-<asked>.json    of less or more: -limit-100, -tasks-piqa, -rows-8, -extended, -seeds-1+2
"""

import hashlib
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from reasoning.precision import bf16_warning
from reasoning.pretraining.evaluation.core import (
    FEW_SHOT_SEED,
    Aggregate,
    BundleScores,
    TaskScore,
    evaluate_bundle,
)
from reasoning.pretraining.evaluation.core_tasks import read_bundle
from reasoning.pretraining.evaluation.likelihood import Scorer
from reasoning.pretraining.evaluation.perplexity import Perplexity, evaluate_rows
from reasoning.records import finite, sha256_of
from reasoning.training.runs import write_json
from scripts.reports.numbers import counted, percent
from scripts.runs.recorded import settings_hash
from scripts.terminal.console import Console
from scripts.terminal.folders import expect
from scripts.terminal.progress import stage_progress

if TYPE_CHECKING:
    from scripts.runs.lm_session import LanguageRun

_LONGEST_NAME = 120  # characters of what was asked in a file's name; more become a hash


@dataclass(frozen=True)
class Ask:
    """What to score: `tasks` (none: CORE's) of a bundle, `rows` validation rows of a corpus (0:
    all)."""

    bundle: Path | None
    tasks: tuple[str, ...]
    extended: bool
    limit: int
    seeds: tuple[int, ...]
    corpus: Path | None
    rows: int


def evaluate_language_run(
    run: "LanguageRun", scorer: Scorer, ask: Ask, console: Console
) -> dict[str, Any]:
    """Score a run into RUN/evaluation-lm. Returns what was found of the corpus and the bundle.

    scorer: of the run's model, on all processes; ask: what to score; console: where the first
    process tells the scores.
    """
    from reasoning.pretraining.packing import validation_rows
    from reasoning.pretraining.shards import Corpus

    # Bad input of any kind is told before the first pass.
    bundle = read_bundle(ask.bundle, ask.tasks, ask.extended) if ask.bundle else None
    if ask.corpus:
        expect(ask.corpus, "corpus")
    corpus = Corpus(ask.corpus, run.tokenizer) if ask.corpus else None
    rows = validation_rows(corpus, run.config.context, ask.rows or None) if corpus else None
    main, record = scorer.world.is_main, {}
    _warn(run, scorer, console)
    if rows is not None:
        settings = describe_settings(run, scorer) | {"corpus": corpus.identity}
        with stage_progress(quiet=not main) as progress:
            tell = partial(progress, "validation rows")
            sizes = run.tokenizer.token_bytes
            text = evaluate_rows(scorer, rows.tokens, sizes, rows.documents, tell)
        section = {"perplexity": {"corpus": str(ask.corpus)} | asdict(text)}
        if run.corpus != corpus.identity:
            section["perplexity"]["trained_on"] = run.corpus
            if main:
                console.print(
                    f"warning: {ask.corpus} is not the corpus that the run was trained on; what it "
                    "holds out may be text of that one's training split",
                    soft_wrap=True,
                )
        record |= section
        if main:
            print_perplexity(text, ask.corpus, console)
            _write(_place(run, settings), settings, section, _part("rows", ask.rows), console)
    if bundle is not None:
        settings = describe_settings(run, scorer) | {"bundle": bundle.hashes}
        place = _place(run, settings)
        if main:
            (place / "answers").mkdir(parents=True, exist_ok=True)
        with stage_progress(quiet=not main) as progress:
            scores = evaluate_bundle(
                scorer,
                run.tokenizer,
                bundle,
                ask.seeds,
                ask.limit,
                ask.extended,
                place / "answers",
                report=lambda score: console.print(task_line(score)) if main else None,
                tell=progress,
            )
        section = {"bundle": asdict(scores) | {"folder": str(ask.bundle), "limit": ask.limit}}
        record |= section
        if main:
            print_scores(scores, console)
            _write(place, settings, section, _asked(ask), console)
    return without_infinities(record)


def _warn(run: "LanguageRun", scorer: Scorer, console: Console) -> None:
    """Tell of a tolerance that bf16 is too coarse for, unless the solver makes no evaluation."""
    asked = scorer.budget
    tolerance = run.config.model.tolerance() if asked.tolerance is None else asked.tolerance
    warning = bf16_warning(tolerance, scorer.world.device, scorer.precision)
    if warning and asked.max_evaluations != 0 and scorer.world.is_main:
        console.print(f"{warning}; a larger --tolerance lets them stop", soft_wrap=True)


def _place(run: "LanguageRun", settings: dict[str, Any]) -> Path:
    return run.folder / "evaluation-lm" / settings_hash(settings)


def _asked(ask: Ask) -> str:
    """What was asked of a bundle beyond CORE whole, as part of a file's name."""
    seeds = () if ask.seeds == (FEW_SHOT_SEED,) else ask.seeds
    parts = _part("tasks", "+".join(ask.tasks)), "-extended" if ask.extended else ""
    name = "".join(parts) + _part("limit", ask.limit) + _part("seeds", "+".join(map(str, seeds)))
    if len(name) <= _LONGEST_NAME:
        return name
    return _part("asked", hashlib.sha256(name.encode()).hexdigest()[:12])


def _part(name: str, value: Any) -> str:
    return f"-{name}-{value}" if value else ""


def _write(
    place: Path, settings: dict[str, Any], section: dict[str, Any], asked: str, console: Console
) -> None:
    """Write what was measured: what another call asked for has a file of its own, and stays.

    place: the folder, settings beside. section: the numbers. asked: the ending of the file's name.
    console: told the path.
    """
    place.mkdir(parents=True, exist_ok=True)
    write_json(place / "settings.json", settings)
    path = place / f"results{asked}.json"
    write_json(path, without_infinities({"settings": settings} | section))
    console.print(f"wrote {path}", soft_wrap=True)


def describe_settings(run: "LanguageRun", scorer: Scorer) -> dict[str, Any]:
    """Everything but the texts that a score depends on."""
    return {
        "step": run.step,
        "config_sha256": sha256_of(run.folder / "config.json"),
        "tokenizer": run.tokenizer.identity,
        "context": scorer.longest,
        "max_evaluations": scorer.budget.max_evaluations,
        "tolerance": scorer.budget.tolerance,
        "precision": scorer.precision,
        "device": scorer.world.device.type,
    }


def without_infinities(value: Any) -> Any:
    """JSON has no infinity: None instead (the residual of a solver that made no evaluation)."""
    if isinstance(value, dict):
        return {name: without_infinities(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_infinities(each) for each in value]
    return finite(value) if isinstance(value, float) else value


def task_line(score: TaskScore) -> str:
    """Progress: one line when a task is done."""
    return f"{score.task}: {percent(score.accuracy, score.stderr)} % of {score.n}"


def print_perplexity(text: Perplexity, corpus: Path | None, console: Console) -> None:
    """One line, and a second of what the model reported."""
    rows, documents = counted(text.rows, "row"), counted(text.documents, "document")
    error = "" if text.stderr is None else f" ± {text.stderr:.4f}"
    console.print(
        f"{corpus}: {text.bits_per_byte:.4f} bits per byte, perplexity {text.perplexity:.3f} "
        f"(loss {text.loss:.4f}{error}; with BOS {text.perplexity_with_bos:.3f}), "
        f"{text.tokens:,} tokens in {rows} of {documents}"
    )
    if text.diagnostics:
        shown = ", ".join(f"{name} {value:.3g}" for name, value in text.diagnostics.items())
        console.print(f"mean per token: {shown}")


def print_scores(scores: BundleScores, console: Console) -> None:
    """The table over tasks (centered: 0 is guessing, 100 right throughout) and the aggregates."""
    table = Table(box=None, padding=(0, 1, 0, 0))  # fits 80 columns
    table.add_column("task", no_wrap=True)
    for heading in ("shots", "n", "accuracy %", "guess %", "centered %"):
        table.add_column(heading, justify="right", no_wrap=True)
    for s in scores.tasks:
        guess, center = percent(s.baseline), percent(s.centered, s.centered_stderr)
        accuracy = percent(s.accuracy, s.stderr)
        table.add_row(s.task, str(s.shots), str(s.n), accuracy, guess, center)
    console.print(table)
    cropped = sum(s.cropped for s in scores.tasks)
    if cropped:
        total = sum(s.n for s in scores.tasks)
        console.print(f"{cropped} of {total} items lost their beginning to fit the context")
    if scores.core is None:
        console.print("CORE: not scored, since it needs every one of its tasks")
    for name, value in (("CORE", scores.core), ("CORE-Extended", scores.extended)):
        if value is not None:
            console.print(_aggregate_line(name, value))
    if scores.lambada is not None:
        words = scores.lambada
        console.print(
            f"LAMBADA: perplexity {words.perplexity:.2f}, accuracy "
            f"{percent(words.accuracy, words.stderr)} % of {words.n}"
        )
    for name, reason in scores.missing.items():
        console.print(f"not scored: {name} ({reason})")


def _aggregate_line(name: str, value: Aggregate) -> str:
    line = f"{name}: {value.score:.2f}"
    if value.stderr is not None:
        line += f" ± {value.stderr:.2f} over items"
    if value.spread is not None:
        line += f", ± {value.spread:.2f} over {len(value.by_seed)} few-shot draws"
    return f"{line}, {value.tasks} tasks"
