"""What a table or figure of language models is asked for: read, and refused, before torch is
loaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import tyro

from reasoning.names import MANIFEST_FILE
from reasoning.pretraining.build import TextFiles, build_corpus
from reasoning.pretraining.corpus import source_files
from reasoning.pretraining.shards import Corpus
from reasoning.pretraining.tokenizer import ByteTokenizer
from scripts.models.labels import expect_kept
from scripts.models.lm_presets import LanguageRunConfig, language_preset
from scripts.models.variants import Variant, changes_of, merged
from scripts.studies.asked import Asked
from scripts.terminal.choices import LanguageScale
from scripts.terminal.console import Console
from scripts.terminal.folders import expect
from scripts.terminal.progress import stage_progress
from scripts.terminal.texts import separator
from scripts.usage import UsageError, at_least, names_in

HELD_OUT = 0.05  # of the parts of --text
_OWN_FLAGS = {"steps": "--steps", "seed": "--seeds", "corpus": "--corpus", "preset": "--scale"}


@dataclass(frozen=True)
class Study(Asked):
    """What the tables and figures of one folder share."""

    scale: LanguageScale = "mini"
    """mini: minutes a run on one CPU core; full: the published presets."""
    corpus: Path | None = None
    """folder made by `loopbench corpus build`."""
    files: Annotated[tuple[Path, ...], tyro.conf.arg(name="text")] = ()
    """files of text to build OUT/corpus of, a token a byte, when there is no --corpus."""
    split_on: str | None = None
    """what separates documents in --text; none: a file is one document."""
    asked_seeds: Annotated[int | None, tyro.conf.arg(name="seeds")] = None
    """seeds per model, 0 upwards; none: 3 at mini, 1 at full."""
    steps: int | None = None
    """optimiser steps per run; none: the preset's own."""
    sizes: tuple[str, ...] = ()
    """published sizes at full, such as 140m 370m; none: all of the table."""
    rows: int = 256
    """held-out rows scored, all if there are fewer."""
    bundle: Path | None = None
    """folder of a CORE bundle, for LAMBADA and CORE; none: not run."""
    limit: int = 0
    """items of each task of the bundle; 0: all."""
    extended: bool = False
    """score every task of the bundle, for CORE-Extended."""
    set: tuple[str, ...] = ()
    """fields changed in every run, NAME=VALUE each, such as micro_batch=8."""
    only: tuple[str, ...] = ()
    """rows of a table, by what is trained, such as transformer parcae, beside those of --also;
    none: all."""
    also: str = ""
    """models that are rows of a table too, separated by commas: a preset without its size, or the
    import path of one of your own, mypackage.module:MyModel."""

    def check(self) -> None:
        super().check()
        at_least(1, seeds=self.asked_seeds, steps=self.steps, rows=self.rows)
        at_least(0, limit=self.limit)
        if self.corpus is not None and self.files:
            raise UsageError("give either --corpus DIR or --text FILES")
        if self.bundle is None and (self.limit or self.extended):
            raise UsageError("--limit and --extended are of a bundle: give --bundle DIR")
        if self.corpus is not None:
            expect(self.corpus, "corpus")
        if self.bundle is not None:
            from reasoning.pretraining.evaluation.core_tasks import read_bundle

            read_bundle(self.bundle, extended=self.extended)

    @cached_property
    def console(self) -> Console:
        """As any study's, beside what is printed as the result."""
        return Console(stderr=True, quiet=not self.world.is_main)

    @property
    def seeds(self) -> int:
        """How many seeds every model has."""
        return self.asked_seeds or (3 if self.scale == "mini" else 1)

    @property
    def others(self) -> list[str]:
        """The models of --also."""
        return names_in(self.also, "--also") if self.also else []

    @cached_property
    def changes(self) -> dict[str, Any]:
        """Nested fields laid over every preset."""
        return changes_of(self.set, _OWN_FLAGS)

    @cached_property
    def text(self) -> Corpus:
        """The corpus, opened. UsageError if none was given or built."""
        folder = self.corpus or self.out / "corpus"
        if self.corpus is None and not (folder / MANIFEST_FILE).exists():
            raise UsageError("give --corpus DIR, made by loopbench corpus build, or --text FILES")
        return Corpus(folder)

    def folder(self, variant: Variant, size: str, seed: int) -> Path:
        """Where a run lies."""
        return self.out / "runs" / f"{variant.name}-{size}-seed{seed}"

    def configuration(self, variant: Variant, size: str, seed: int = 0) -> LanguageRunConfig:
        """A variant at a size; its name takes the preset's place as the label. UsageError for a
        field of --set that the variant has of its own."""
        values = language_preset(f"{variant.model}-{size}").model_dump()
        values = merged(merged(values, self.changes), variant.changes)
        steps = values["steps"] if self.steps is None else self.steps
        corpus = str(self.corpus or self.out / "corpus")
        name = {"preset": f"{variant.name}-{size}", "corpus": corpus, "seed": seed, "steps": steps}
        config = LanguageRunConfig.model_validate(values | name)
        expect_kept(variant.name, config, self.changes)
        return config

    def describe(self) -> dict[str, Any]:
        """What the numbers are of, for the record."""
        manifest, text = self.text.manifest, self.text
        return {
            "scale": self.scale,
            "seeds": self.seeds,
            "steps": self.steps,
            "changes": dict(self.changes),
            "corpus": {
                "sources": [source.name for source in manifest.plan.sources],
                "identity": text.identity,
                "tokenizer": "bytes" if isinstance(text.tokenizer, ByteTokenizer) else "bpe",
                "vocabulary": text.vocabulary,
                "training_tokens": text.counts("train").tokens,
                "validation_tokens": text.counts("validation").tokens,
            },
        }


def text_of(files: Sequence[Path], split_on: str | None) -> TextFiles:
    """The text of --text and what separates its documents. UsageError for a file not there."""
    return TextFiles(source_files(files), split_on=separator(split_on), held_out=HELD_OUT)


def build_text(out: Path, text: TextFiles) -> None:
    """Write OUT/corpus from text, one token per byte, unless it is there."""
    with stage_progress() as progress:
        build_corpus(out / "corpus", ByteTokenizer(), text, progress)
