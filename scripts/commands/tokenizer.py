"""The `loopbench tokenizer` commands: train a tokenizer and look at one."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from rich.table import Table

from reasoning.names import TOKENIZER_FILE
from reasoning.pretraining.build import is_empty
from reasoning.pretraining.corpus import CorpusError, read_documents, source_files
from reasoning.pretraining.tokenizer import (
    Tokenizer,
    TokenizerError,
    check_vocabulary,
    load_tokenizer,
    train_bpe,
)
from reasoning.training.runs import make_folder
from scripts.terminal.console import Console
from scripts.terminal.progress import stage_progress
from scripts.terminal.texts import separator
from scripts.usage import UsageError, run_one_of


def train(
    files: Annotated[tuple[Path, ...], tyro.conf.Positional],
    *,
    out: Path,
    vocabulary: int = 32768,
    split_on: str | None = None,
    limit_mb: float = 2000.0,
) -> None:
    """Train a byte-level BPE tokenizer with GPT-4's split pattern, digits in groups of 1-2.

    Args:
        files: files or folders of text: .parquet, .jsonl or plain text, also .gz.
        out: folder to write tokenizer.json to.
        vocabulary: tokens, BOS included, 256 to 65536.
        split_on: what separates documents in plain text files; \\n and \\t are understood.
        limit_mb: most text to learn from, MB, from the beginning of the files.
    """
    if (out / TOKENIZER_FILE).exists():
        raise TokenizerError(f"{out / TOKENIZER_FILE}: exists. Choose another --out or delete it")
    if not files:
        raise UsageError("name files or folders of text to learn from")
    if not limit_mb > 0:
        raise UsageError(f"--limit-mb is {limit_mb}, expected more than 0")
    check_vocabulary(vocabulary)
    sources = source_files(files)
    make_folder(out)
    with stage_progress() as tell:

        def documents() -> Iterator[str]:
            left = limit_mb * 1e6
            for done, path in enumerate(sources):
                tell("reading files, then learning merges", done, len(sources))
                for text in read_documents(path, separator(split_on)):
                    if left <= 0:
                        return
                    left -= len(text.encode())
                    yield text

        tokenizer = train_bpe(documents(), vocabulary)
    tokenizer.save(out)
    _describe(tokenizer, Console())
    Console().print(f"written to {out / TOKENIZER_FILE}", soft_wrap=True)


def info(
    folder: Annotated[str, tyro.conf.Positional],
    *,
    text: tuple[Path, ...] = (),
    split_on: str | None = None,
    longest: int = 10,
) -> None:
    """Show a tokenizer: vocabulary, longest tokens, and bytes per token on a text.

    Args:
        folder: folder of a tokenizer (or of a corpus or a run), or `bytes`.
        text: files or folders of text to count the tokens of.
        split_on: what separates documents in plain text files; \\n and \\t are understood.
        longest: how many of the longest tokens to show.
    """
    tokenizer = load_tokenizer(folder)
    console = Console()
    _describe(tokenizer, console)
    order = np.argsort(-tokenizer.token_bytes, kind="stable")[: max(0, longest)]
    for token in order.tolist():
        console.print(f"  {token:>6}  {tokenizer.piece(token)!r}", markup=False, soft_wrap=True)
    if text:
        size, tokens = _count(tokenizer, source_files(text), separator(split_on))
        console.print(f"{size:,} bytes, {tokens:,} tokens: {size / tokens:.3f} bytes per token")


COMMANDS: dict[str, Callable[..., None]] = {"train": train, "info": info}


def _describe(tokenizer: Tokenizer, console: Console) -> None:
    pieces = [tokenizer.piece(token) for token in range(tokenizer.vocabulary)]
    partial = sum(piece.decode(errors="ignore").encode() != piece for piece in pieces)
    table = Table(show_header=False)
    for name, value in (
        ("vocabulary", f"{tokenizer.vocabulary:,}"),
        ("BOS", str(tokenizer.bos)),
        ("mean bytes of a token", f"{tokenizer.token_bytes[: tokenizer.bos].mean():.2f}"),
        ("tokens that are not UTF-8 alone", f"{partial:,}"),
        ("identity", tokenizer.identity[:12]),
    ):
        table.add_row(name, value)
    console.print(table)


def _count(tokenizer: Tokenizer, files: list[Path], split_on: str | None) -> tuple[int, int]:
    """Bytes and tokens of the documents of files. CorpusError if there are none."""
    size = tokens = 0
    with stage_progress() as tell:
        for done, path in enumerate(files, 1):
            for document in read_documents(path, split_on):
                if not is_empty(document):
                    size += len(document.encode())
                    tokens += len(tokenizer.encode([document])[0])
            tell("counting tokens", done, len(files))
    if not tokens:
        raise CorpusError(f"{files[0]}: no text to count. Give files with text")
    return size, tokens


def main(words: Sequence[str]) -> int:
    return run_one_of("tokenizer", COMMANDS, words)
