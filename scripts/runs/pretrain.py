"""`loopbench pretrain`: one run; with `torchrun`, of `-m scripts pretrain`, on many processes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import tyro

from reasoning.nn.compilation import check_compiler
from reasoning.pretraining.loop import Pretrainer
from reasoning.pretraining.packing import TokenStream, validation_rows
from reasoning.pretraining.protocol import LanguageModel
from reasoning.pretraining.shards import Corpus
from reasoning.pretraining.validation import validate
from reasoning.training.checkpoints import was_saved
from reasoning.training.distribution import World, join_world
from reasoning.training.loop import Progress
from reasoning.training.runs import (
    RunError,
    create_run,
    extend_run,
    finished,
    refuse_begun,
    restart_run,
)
from scripts.models.lm_models import LANGUAGE_PRESETS, build_language_model
from scripts.models.lm_presets import (
    LanguageRunConfig,
    language_preset,
)
from scripts.runs.live import LiveProgress, Reporter, WandbMode
from scripts.runs.lm_session import load_language_config, run_tokenizer
from scripts.terminal.config_files import configured
from scripts.terminal.console import Console
from scripts.terminal.extras import need
from scripts.terminal.folders import expect, keep_apart
from scripts.usage import UsageError, option_value, parse, resumes


@dataclass(frozen=True)
class Pretrain:
    """Pretrain a language preset on a corpus, or go on with an interrupted run.

    loopbench pretrain --preset attractor-mini --corpus DIR --out RUN [options]
    loopbench pretrain --resume RUN
    """

    config: Annotated[LanguageRunConfig, tyro.conf.arg(name="")]
    config_file: Annotated[Path | None, tyro.conf.arg(name="config")] = None
    """A YAML file, or a run's config.json, of settings that differ from the preset's; options given
    beside it count more."""
    out: Path | None = None
    """Folder to write the run to; it must not hold one already."""
    resume: Path | None = None
    """Folder of a run to go on with, bit for bit, under its own configuration; with --steps to
    another end, its schedule planned anew."""
    wandb: WandbMode = "off"
    """Report to Weights & Biases too; offline needs no account."""
    tensorboard: bool = False
    """Write RUN/tensorboard too (extra tensorboard)."""


def read_words(words: Sequence[str]) -> Pretrain:
    """Parse the command. The preset decides what the other words override."""
    program = "loopbench pretrain"
    if resumes(words):
        return parse(Pretrain, words, program, Pretrain(language_preset("attractor-mini")))
    name = option_value(words, "--preset")
    if {"-h", "--help"} & set(words):
        name = name or "attractor-mini"
    file = option_value(words, "--config")
    if name is None and file is None:
        raise UsageError(f"give --preset, one of {', '.join(LANGUAGE_PRESETS)}")
    if file is None:
        config = language_preset(name)
    else:
        config = configured(Path(file), words, language_preset, LanguageRunConfig)
    given = parse(Pretrain, words, program, Pretrain(config))
    if not given.config.corpus or given.out is None:
        raise UsageError("give --corpus DIR and --out RUN")
    return given


def pretrain_run(
    config: LanguageRunConfig,
    out: Path,
    world: World,
    resume: bool = False,
    wandb: WandbMode = "off",
    listen: Callable[[Progress], None] = lambda progress: None,
    say: Callable[[str], None] = lambda line: None,
    fit_rows: bool = False,
    tensorboard: bool = False,
) -> bool:
    """Pretrain a run to its end; True if an interrupt came first. Everything it takes is checked
    before the first step.

    say: told, in a line, what the user should know of before that step; fit_rows: where the corpus
    has fewer validation rows than the configuration asks for, let a new run ask for what is there.
    """
    if config.compile:
        check_compiler(world.device)
    expect(config.corpus, "corpus")
    corpus = Corpus(config.corpus)
    if resume:
        _check_same(corpus, out)
    asked = config.validation.rows
    if fit_rows and not resume:
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

    reporter = Reporter(
        wandb if world.is_main else "off",
        out,
        config.model_dump(mode="json"),
        tensorboard and world.is_main,
    )

    def tell(progress: Progress) -> None:
        reporter(progress)
        listen(progress)

    passes = config.model.published_passes(), config.model.gradient_passes()
    trainer = Pretrainer(model, stream, config, world, *passes, out, measure, tell)
    if resume and was_saved(out):
        trainer.resume()
    elif world.is_main:
        if resume:
            say(restart_run(out))
        else:
            create_run(out, _record(config, corpus, trainer))
            if len(rows) < asked:
                say(
                    f"{corpus.folder}: too little validation text for {asked} rows of "
                    f"{config.context + 1} tokens; held-out losses are over {len(rows)}"
                )
        corpus.tokenizer.save(out)
    if resume:
        told = extend_run(out, trainer.done, config.steps, write=world.is_main)
        if told or trainer.done == config.steps:
            say(told or finished(out, config.steps))
    world.barrier()
    interrupted = trainer.train()
    reporter.finish()
    return interrupted


def _with_rows_there(config: LanguageRunConfig, corpus: Corpus, world: World) -> LanguageRunConfig:
    """With as many validation rows as the corpus has and the processes can share, at most as many
    as before. Unchanged if there are none: `validation_rows` then tells what is missing."""
    there = corpus.counts("validation").tokens // (config.context + 1)
    rows = min(config.validation.rows, there // world.size * world.size)
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


def _record(config: LanguageRunConfig, corpus: Corpus, trainer: Pretrainer) -> dict[str, Any]:
    return {
        "config": config.model_dump(mode="json"),
        "corpus": corpus.identity,
        "tokenizer": corpus.tokenizer.identity,
        "vocabulary": corpus.vocabulary,
        "parameters": trainer.cost.total,
        "device": str(trainer.world.device),
        "processes": trainer.world.size,
        "runs_beside": trainer.world.beside,
    }


def newest(progress: Progress) -> dict[str, str]:
    """What a report says of the loss and of held-out text."""
    said = {}
    if progress.training and progress.training["loss"] is not None:
        said["loss"] = f"{progress.training['loss']:.3f}"
    if progress.training and progress.training.get("evaluations") is not None:
        said["evaluations"] = f"{progress.training['evaluations']:.1f}"
    if progress.evaluation:
        said["held-out perplexity"] = f"{progress.evaluation['perplexity']:.2f}"
    return said


def main(words: Sequence[str]) -> int:
    """The command. 0 when trained to the end, 130 when interrupted (resumable)."""
    given = read_words(words)
    resume = given.resume is not None
    out = given.resume if resume else given.out
    config = load_language_config(out)[0] if resume else given.config
    if resume and option_value(words, "--steps") is not None:
        changed = config.model_dump() | {"steps": given.config.steps}
        config = LanguageRunConfig.model_validate(changed)
    if not resume:
        keep_apart(out, "language run")
        refuse_begun(out)
    if given.tensorboard:
        need("--tensorboard", "tensorboard", "tensorboard")
    rows_given = option_value(words, "--validation.rows") is not None
    world = join_world(config.device)
    console = Console(stderr=True, quiet=not world.is_main)
    say = partial(console.print, soft_wrap=True)
    with LiveProgress(f"{config.preset} seed {config.seed}", console, newest) as live:
        interrupted = pretrain_run(
            config,
            out,
            world,
            resume,
            given.wandb,
            live,
            say,
            fit_rows=not rows_given,
            tensorboard=given.tensorboard,
        )
    if interrupted:
        console.print(f"stopped; go on with: loopbench pretrain --resume {out}")
        return 130
    return 0
