"""`loopbench pretrain`: one run, by one process or, under torchrun, by many."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from reasoning.nn.compilation import check_compiler
from reasoning.precision import BF16_RESIDUAL, bf16_warning
from reasoning.pretraining.loop import Pretrainer
from reasoning.pretraining.packing import TokenStream, validation_rows
from reasoning.pretraining.protocol import LanguageModel
from reasoning.pretraining.rehearsal import rehearse
from reasoning.pretraining.shards import Corpus
from reasoning.pretraining.validation import validate
from reasoning.training.checkpoints import was_saved
from reasoning.training.distribution import World
from reasoning.training.runs import RunError
from reasoning.training.steps import Progress
from scripts.models.lm_models import build_language_model
from scripts.models.lm_presets import LanguageRunConfig
from scripts.models.registry import LANGUAGE_MODELS
from scripts.runs.beginning import Beginning, Followers, open_records, train_to_end
from scripts.runs.lm_session import load_language_config, run_tokenizer
from scripts.runs.pretrain_words import Pretrain, read_words
from scripts.runs.training_command import TrainingCommand
from scripts.terminal.folders import expect
from scripts.usage import UsageError, option_value


def pretrain_run(
    config: LanguageRunConfig,
    out: Path,
    world: World,
    resume: bool,
    followers: Followers,
    fit_rows: bool = False,
) -> int | None:
    """Pretrain a run to its end, None, or to an interrupt, the step of it. Everything it takes is
    checked before the first step.

    config: what is trained; out: the run's folder; world: the processes that train it; resume:
    whether it goes on with what lies there; followers: who is told; fit_rows: where the corpus has
    fewer validation rows than the configuration asks for, let a new run ask for what is there.
    """
    if config.compile:
        check_compiler(world.device)
    expect(config.corpus, "corpus")
    corpus = Corpus(config.corpus)
    beginning = Beginning.of(out, resume)
    if beginning is not Beginning.NEW:
        _check_same(corpus, out)
    wanted = config.validation.rows
    if fit_rows and beginning is Beginning.NEW:
        config = _with_rows_there(config, corpus, world)
    rows = validation_rows(corpus, config.context, config.validation.rows)
    if len(rows) % world.size:
        raise UsageError(
            f"--validation.rows: {len(rows)} rows do not divide over {world.size} processes"
        )
    stream = TokenStream(corpus, config.context, config.batch, config.lanes, world.rank, world.size)
    model = build_language_model(config.model, corpus.vocabulary, config.seed).to(world.device)

    def measure(trained: LanguageModel) -> list[dict[str, Any]]:
        sizes, settings = corpus.tokenizer.token_bytes, config.validation
        return validate(trained, rows, sizes, settings, world, config.precision)

    if beginning is Beginning.NEW:
        rehearse_own(model, config, corpus.vocabulary)
    passes = config.model.published_passes(), config.model.gradient_passes()
    trainer = Pretrainer(model, stream, config, world, *passes, out, measure)
    if beginning is Beginning.SAVED:
        trainer.resume()
    elif len(rows) < wanted:
        followers.say(
            f"{corpus.folder}: too little validation text for {wanted} rows of "
            f"{config.context + 1} tokens; held-out losses are over {len(rows)}"
        )
    record = _record(corpus, trainer)
    warning = bf16_warning(config.model.tolerance(), world.device, config.precision)
    if warning and beginning is Beginning.NEW:
        record["residual_in_bf16"] = BF16_RESIDUAL
        remedy = "--precision fp32 lets them stop, and so does a larger --model.solver.tolerance"
        followers.say(f"{warning}; {remedy}")
    reporter = open_records(trainer, out, record, beginning, followers)
    if world.is_main and beginning is not Beginning.SAVED:
        corpus.tokenizer.save(out)
    return train_to_end(trainer, reporter)


def rehearse_own(model: LanguageModel, config: LanguageRunConfig, vocabulary: int) -> None:
    """InputError for a model of the user's own that cannot be trained; loopbench's need no
    rehearsal.

    model: on the device that it is trained on; config: of its run; vocabulary: tokens of its text.
    """
    if config.model.kind not in LANGUAGE_MODELS.shipped:
        rehearse(model, config, vocabulary, next(model.parameters()).device)


def _with_rows_there(config: LanguageRunConfig, corpus: Corpus, world: World) -> LanguageRunConfig:
    """With as many validation rows as the corpus has and the processes can share, at most as many
    as before. Unchanged if there are none: `validation_rows` then tells what is missing."""
    whole_rows = corpus.counts("validation").tokens // (config.context + 1)
    rows = min(config.validation.rows, whole_rows // world.size * world.size)
    if rows == 0:
        return config
    validation = config.validation.model_copy(update={"rows": rows})
    return config.model_copy(update={"validation": validation})


def _check_same(corpus: Corpus, run: Path) -> None:
    """RunError unless this is the corpus, and the tokenizer, that the run began with."""
    record = load_language_config(run)[1]
    if was_saved(run):  # else the run may have been killed before it wrote its tokenizer
        run_tokenizer(run, corpus.tokenizer.identity)
    if record["corpus"] != corpus.identity:
        raise RunError(
            f"{corpus.folder}: is not the corpus {run} began with (its tokens differ); "
            "put that one back, or start a new run"
        )


def _record(corpus: Corpus, trainer: Pretrainer) -> dict[str, Any]:
    return {
        "corpus": corpus.identity,
        "tokenizer": corpus.tokenizer.identity,
        "vocabulary": corpus.vocabulary,
        "parameters": trainer.cost.total,
    }


def newest(progress: Progress) -> dict[str, str]:
    """What a report says of the loss and of held-out text."""
    numbers = {}
    if progress.training and progress.training["loss"] is not None:
        numbers["loss"] = f"{progress.training['loss']:.3f}"
    if progress.training and progress.training.get("evaluations") is not None:
        numbers["evaluations"] = f"{progress.training['evaluations']:.1f}"
    if progress.evaluation:
        numbers["held-out perplexity"] = f"{progress.evaluation['perplexity']:.2f}"
    return numbers


def run(words: Sequence[str], given: Pretrain) -> int:
    """The command, its words read. 0 when trained to the end, 130 when interrupted (resumable)."""
    train = partial(pretrain_run, fit_rows=option_value(words, "--validation.rows") is None)

    def load(run: Path) -> LanguageRunConfig:
        return load_language_config(run)[0]

    return TrainingCommand("pretrain", "language run", load, newest, train).run(words, given)


def main(words: Sequence[str]) -> int:
    return run(words, read_words(words))
