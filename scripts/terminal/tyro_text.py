"""What tyro prints, read: a report of what does not fit, and the options of a form's help.

Text is the only public form it has: its parser object is deprecated, and the events of its errors
are private and may change in any release (tyro 1.0). Where output is no terminal, a report is a
title, a rule, the message, a rule and help, without frame or colours.
"""

import contextlib
import io
import itertools
from collections.abc import Callable, Iterator

# Kinds of values, as tyro and Python name them.
_KINDS = {"INT": "whole number", "FLOAT": "number"}
_NOT_READ = {
    "invalid literal for int() with base 10: ": "whole number",
    "could not convert string to float: ": "number",
}


@contextlib.contextmanager
def printed() -> Iterator[Callable[[], str]]:
    """Keeps what is printed inside; what it gives returns the text."""
    kept = io.StringIO()
    with contextlib.redirect_stderr(kept), contextlib.redirect_stdout(kept):
        yield kept.getvalue


def message_of(report: str) -> str:
    """The message of a report, in one line."""
    lines = [line.strip() for line in report.splitlines()]
    rules = [i for i, line in enumerate(lines) if line and set(line) == {"-"}]
    if rules:
        lines = lines[rules[0] + 1 : rules[1] if len(rules) > 1 else None]
    message = " ".join(" ".join(lines).split())
    # Of a union: every type that was tried, and why in vain.
    head, tried, tail = message.partition(" could be instantiated from [")
    place, _, kinds = head.partition("no type matching ")
    if tried:
        wanted = [_KINDS.get(kind, kind) for kind in kinds.split("|") if kind != "{None}"]
        return f"{place}{tail.partition(']')[0]} is no {' or '.join(wanted)}"
    for words, kind in _NOT_READ.items():
        place, read, value = message.partition(words)
        if read:
            return f"{place}{value} is no {kind}"
    return message


def options_of(help_text: str) -> list[str]:
    """The options that a help text explains, each once: those that its lines begin with."""
    lines = (line.split() for line in help_text.splitlines())
    first = (itertools.takewhile(lambda word: word.startswith("-"), words) for words in lines)
    words = (word.strip(",") for line in first for word in line)
    return list(dict.fromkeys(word for word in words if word[:2] == "--" and word.strip("-")))
