"""The `loopbench corpus` commands: build token shards from text and check them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import tyro
from rich.table import Table

from reasoning.pretraining.build import TextFiles, build_corpus
from reasoning.pretraining.corpus import download_hub_sample, source_files
from reasoning.pretraining.layout import MAX_HELD_OUT
from reasoning.pretraining.shards import Manifest, check_corpus
from reasoning.pretraining.tokenizer import load_tokenizer
from scripts.terminal.console import Console
from scripts.terminal.progress import stage_progress
from scripts.terminal.texts import separator
from scripts.usage import UsageError, run_one_of

HELD_OUT = 0.01


def build(
    paths: Annotated[tuple[Path, ...], tyro.conf.Positional] = (),
    *,
    tokenizer: str | None = None,
    out: Path,
    validation: tuple[Path, ...] = (),
    held_out: float | None = None,
    split_on: str | None = None,
    shards: int | None = None,
    hub: bool = False,
) -> None:
    """Write text as token shards. Started again after a break, it goes on where it stopped; on a
    finished corpus it writes shards that are missing or damaged again.

    Empty documents are left out and counted. Training documents are cut only where there are fewer
    than training shards, or where one has more than four shards' share of the text.

    Args:
        paths: files or folders of text: .parquet (column text), .jsonl or .json (a line each, field
            text) or plain text (a file is one document unless --split-on parts it), also .gz.
        tokenizer: folder of a tokenizer, or `bytes`; none: bytes, one token each.
        out: folder to write; must not exist or be empty, or hold the same build.
        validation: files or folders of held-out text.
        held_out: share of the training documents held out, evenly spaced, without --validation
            files (of a single document: parts of it); none: 0.01.
        split_on: what separates documents in plain text files, no part of them; \\n and \\t are
            understood. Nothing is guessed: a blank line may separate paragraphs too.
        shards: training shards, at least as many as the lanes of a run; none: 64, or one for every
            200 MB of text if that is more.
        hub: download FineWeb-Edu's sample of 10 billion tokens instead of reading paths.
    """
    if bool(paths) == hub:
        raise UsageError("name either paths to read or --hub")
    if held_out is not None and validation:
        raise UsageError("give either --validation files or --held-out, not both")
    made_by = load_tokenizer(tokenizer or "bytes")
    files = TextFiles(
        train=source_files([download_hub_sample()] if hub else paths),
        validation=source_files(validation),
        split_on=separator(split_on),
        held_out=None if validation else HELD_OUT if held_out is None else held_out,
        shards=shards,
    )
    repairs: list[str] = []
    with stage_progress() as progress:
        manifest = build_corpus(out, made_by, files, progress, repairs.append)
    for line in repairs:
        Console(stderr=True).print(line, soft_wrap=True)
    _show(manifest, f"corpus of {out.name}")
    named = tokenizer or "bytes, as none was named (`loopbench tokenizer train` makes one of words)"
    Console().print(f"tokenizer: {named}", soft_wrap=True, highlight=False)
    Console().print(f"written to {out}", soft_wrap=True)


def check(folder: Annotated[Path, tyro.conf.Positional]) -> None:
    """Check a corpus: every file's hash, offsets, BOS tokens, ids and byte counts.

    Args:
        folder: the corpus's folder.
    """
    with stage_progress() as progress:
        manifest = check_corpus(folder, progress)
    _show(manifest, "every shard is right")


COMMANDS: dict[str, Callable[..., None]] = {"build": build, "check": check}


def _show(manifest: Manifest, title: str) -> None:
    """The corpus's counts as a table."""
    plan = manifest.plan
    table = Table(title=title)
    for name in ("", "shards", "documents", "tokens", "bytes", "bytes per token"):
        table.add_column(name, justify="right" if name else "left")
    for split, counts in manifest.splits.items():
        numbers = (plan.shards[split], counts.documents, counts.tokens, counts.bytes)
        per_token = counts.bytes / (counts.tokens - counts.documents)
        table.add_row(split, *(f"{number:,}" for number in numbers), f"{per_token:.3f}")
    console = Console()
    console.print(table)
    console.print(
        f"{plan.documents:,} documents read; {plan.empty_documents:,} empty ones left out, "
        f"{plan.cut_documents:,} longer than {plan.cut_bytes:,} bytes cut in parts"
    )
    if plan.held_out is not None and plan.documents == 1:
        console.print(
            "the text is one document, so parts of it are held out: give --validation files, or "
            "--split-on to part it, for a validation split of other documents"
        )
    sizes = {split: counts.bytes for split, counts in manifest.splits.items()}
    share = sizes["validation"] / sum(sizes.values())
    if plan.held_out is not None and share > max(2 * plan.held_out, MAX_HELD_OUT):
        console.print(
            f"{100 * share:.0f} % of the text is held out, for a document is, whole, and the text "
            f"is of {plan.documents} large ones: give --validation files, or --split-on to part it",
            soft_wrap=True,
        )


def main(words: Sequence[str]) -> int:
    return run_one_of("corpus", COMMANDS, words)
