"""Language runs shared by the tables and figures of one folder, and what is measured of them.

OUT/corpus                            token shards of --text
OUT/runs/<variant>-<size>-seed<k>     one run of every variant, size and seed, trained once
    held-out/<hash>.json              its scores on held-out rows, per way of reading it out
"""

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from reasoning.language_config import LanguageFacts
from reasoning.names import FEW_SHOT_SEED
from reasoning.pretraining.config import ValidationConfig
from reasoning.pretraining.evaluation.likelihood import Scorer
from reasoning.pretraining.flops import NO_CORE
from reasoning.pretraining.packing import validation_rows
from reasoning.pretraining.protocol import SolveBudget
from reasoning.pretraining.shards import Corpus
from reasoning.pretraining.validation import validate
from reasoning.training.logs import RunLog
from reasoning.training.runs import write_json
from scripts.models.lm_models import build_language_model
from scripts.models.lm_presets import LanguageRunConfig
from scripts.models.registry import LANGUAGE_MODELS
from scripts.models.variants import Variant
from scripts.runs.evaluate_lm import Ask, evaluate_language_run
from scripts.runs.lm_session import LanguageRun, load_language_config, open_language_run
from scripts.runs.pretrain import newest, pretrain_run, rehearse_own
from scripts.runs.recorded import settings_hash
from scripts.studies.jobs import Job, Seat, run_jobs
from scripts.studies.lanes import choose_lanes
from scripts.studies.language.reading import Reading
from scripts.studies.language.study import Study
from scripts.studies.one_run import finish_run
from scripts.usage import UsageError


def iterates(model: LanguageFacts) -> bool:
    """Whether a budget of evaluations means anything to a model."""
    return model.gradient_passes() != NO_CORE


# Training


def finish_language_run(config: LanguageRunConfig, out: Path, seat: Seat) -> None:
    """As `finish_run`. DivergedError too if it cannot go on."""
    finish_run(config, out, seat, _check_same, pretrain_run)


def _check_same(config: LanguageRunConfig, out: Path) -> None:
    if not (out / "config.json").exists():
        return
    held, record = load_language_config(out)
    same = held.model_copy(update={"corpus": config.corpus}) == config
    if not same or record["corpus"] != Corpus(config.corpus).identity:
        raise UsageError(
            f"{out}: holds a run of another configuration or corpus; choose another --out"
        )


def _rehearse_own(config: LanguageRunConfig, folder: Path, study: Study) -> None:
    """InputError, before any model is trained, for one of the user's own that cannot be."""
    if config.model.kind in LANGUAGE_MODELS.shipped or (folder / "config.json").exists():
        return
    model = build_language_model(config.model, study.text.vocabulary, config.seed)
    rehearse_own(model.to(study.world.device), config, study.text.vocabulary)


def train_variants(
    study: Study, variants: Iterable[Variant], size: str
) -> dict[tuple[str, int], str]:
    """Train every variant with every seed; returns the reasons of those that failed, by name and
    seed. All configurations are checked before the first step."""
    unique = {variant.name: variant for variant in variants}.values()
    wanted = [(v, s, study.configuration(v, size, s)) for v in unique for s in range(study.seeds)]
    jobs = []
    for variant, seed, config in wanted:
        folder = study.folder(variant, size, seed)
        _check_same(config, folder)
        if seed == 0:
            _rehearse_own(config, folder, study)
        jobs.append(Job(folder, partial(finish_language_run, config, folder)))
    lanes = choose_lanes(study.jobs, len(jobs), lambda: study.scale == "mini", study.world)
    failures: dict[tuple[str, int], str] = {}
    for ended in run_jobs(jobs, lanes, study.world, study.console, newest):
        if ended.failure is not None:
            variant, seed, _ = wanted[ended.place]
            failures[variant.name, seed] = ended.failure
    return failures


# Measuring


def training_numbers(run: Path) -> dict[str, float]:
    """What training took: mean evaluations per token (and over the last quarter of the steps), the
    total FLOPs by both rules, and the median seconds of a step (validation apart)."""
    log = RunLog(run)
    records = log.learned("train")
    steps = [r["step"] for r in records]
    taken = [b - a for a, b in zip([0, *steps], steps, strict=False)]
    last = records[-1]
    numbers = {
        "steps": last["step"],
        "published_flops": last["flops_published_rule"],
        "matmul_flops": last["flops_matmul_rule"],
        "training_tokens": last["tokens"],
        "parameters": json.loads((run / "config.json").read_text())["parameters"],
    }
    if last.get("evaluations") is not None:
        late = [i for i, step in enumerate(steps) if step > 0.75 * steps[-1]]
        for name, chosen in (("training", range(len(steps))), ("late", late)):
            spent = sum(taken[i] * records[i]["evaluations"] for i in chosen)
            numbers[f"evaluations_{name}"] = spent / sum(taken[i] for i in chosen)
    if (norm := last.get("jacobian_norm")) is not None:
        numbers["jacobian_norm"] = norm
    seconds = [r["seconds"] for r in log.took()]
    numbers["step_seconds"] = statistics.median(s / n for s, n in zip(seconds, taken, strict=True))
    for rule in ("published", "matmul"):
        numbers[f"{rule}_flops_per_parameter"] = numbers[f"{rule}_flops"] / numbers["parameters"]
    return numbers


def held_out(study: Study, run: Path, readings: Sequence[Reading]) -> list[dict[str, Any]]:
    """Scores on the corpus's held-out rows under each reading; measured once, then kept."""
    config = load_language_config(run)[0]
    corpus, world = study.text, study.world
    count = min(study.rows, full_rows(corpus, config)) // world.size * world.size
    sizes, opened, scores = corpus.tokenizer.token_bytes, None, []
    for reading in readings:
        settings = asdict(reading) | {
            "config": config.model_dump(mode="json", exclude={"corpus"}),
            "corpus": corpus.identity,
            "rows": count,
            "rows_are": "evenly spaced",  # older versions took the first, and had no such setting
            "device": world.device.type,
        }
        path = run / "held-out" / f"{settings_hash(settings)}.json"
        if path.exists():
            scores.append(json.loads(path.read_text())["scores"])
            continue
        if opened is None:
            opened = open_language_run(run, world.device)
            rows = validation_rows(corpus, config.context, count)
        start_at(opened, reading)
        asked = ValidationConfig(
            evaluations=(reading.max_evaluations,), tolerance=reading.tolerance, rows=count
        )
        scores += validate(opened.model, rows, sizes, asked, world, config.precision)
        if world.is_main:
            path.parent.mkdir(exist_ok=True)
            write_json(path, {"settings": settings, "scores": scores[-1]})
        world.barrier()  # or a later look might find it on some processes alone
    return scores


def full_rows(corpus: Corpus, config: LanguageRunConfig) -> int:
    """How many held-out rows of the run's context the corpus fills."""
    return corpus.counts("validation").tokens // (config.context + 1)


def start_at(opened: LanguageRun, reading: Reading) -> None:
    """Let the solver begin where the reading says; a start holds no weights."""
    config = opened.config.model
    start = {} if reading.start is None else {"start": reading.start}
    opened.model.config = config.model_copy(update=start)


def bundle_scores(study: Study, run: Path, reading: Reading) -> dict[str, float]:
    """LAMBADA, CORE and CORE-Extended where the bundle has them; {} without a bundle. Resumable.

    {} for another start too: a run's kept answers are of its own."""
    if study.bundle is None or reading.start is not None:
        return {}
    opened = open_language_run(run, study.world.device)
    budget = SolveBudget(reading.max_evaluations, reading.tolerance)
    scorer = Scorer(
        opened.model,
        study.world,
        budget,
        opened.config.precision,
        context=opened.config.context,  # as long as in training, not as the model could be run
    )
    ask = Ask(study.bundle, (), study.extended, study.limit, (FEW_SHOT_SEED,), None, 0)
    record = evaluate_language_run(opened, scorer, ask, study.console)["bundle"]
    scores = {name: record[name]["score"] for name in ("core", "extended") if record[name]}
    if record["lambada"]:
        scores["lambada"] = record["lambada"]["perplexity"]
        scores["lambada_accuracy"] = record["lambada"]["accuracy"]
    return scores
