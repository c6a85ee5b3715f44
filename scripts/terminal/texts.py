"""Text that a command is given: an argument, a file's, or standard input's; always valid UTF-8."""

import sys
from pathlib import Path

from scripts.usage import UsageError


def argument_text(text: str, option: str) -> str:
    """An argument as it was typed. UsageError if its bytes are not UTF-8, which Python keeps as
    lone surrogates that no tokenizer takes."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UsageError(
            f"{option}: character {error.start} is no text (a byte that is not UTF-8, or a lone "
            "surrogate); correct it"
        ) from error
    return text


def separator(split_on: str | None) -> str | None:
    r"""The separator that the words `\n` and `\t` of a shell stand for; ValueError if empty or no
    text."""
    if split_on == "":
        raise UsageError(r"--split-on is empty, expected a text such as '\n\n' or '</page>'")
    return split_on and argument_text(split_on, "--split-on").replace("\\n", "\n").replace(
        "\\t", "\t"
    )


def standard_input() -> str:
    """All of standard input, without a byte order mark. UsageError if it is not UTF-8."""
    return _decoded(sys.stdin.buffer.read(), "standard input")


def file_text(path: str | Path) -> str:
    """A file's text, without a byte order mark. UsageError if it is not UTF-8, OSError if it cannot
    be read."""
    return _decoded(Path(path).read_bytes(), str(path))


def _decoded(data: bytes, place: str) -> str:
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{place}: invalid UTF-8 at byte {error.start} ({error.reason}); convert it to UTF-8"
        ) from error
