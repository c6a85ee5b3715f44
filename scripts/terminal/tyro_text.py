"""What tyro prints, read: a report of what does not fit, and the options of a form's help.

Text is the only public form it has: its parser object is deprecated, and the events of its errors
are private and may change in any release (tyro 1.0). Where output is no terminal, a report is a
title, a rule, the message, a rule and help, without frame or colours.
"""

import contextlib
import io
import itertools
from collections.abc import Callable, Iterator


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
    first, last = [*rules, -1, len(lines)][:2] if rules else (-1, len(lines))
    message = " ".join(" ".join(lines[first + 1 : last]).split())
    # Of a union: every type that was tried, and why in vain.
    head, tried, tail = message.partition(" could be instantiated from [")
    place, _, kinds = head.partition("no type matching ")
    return f"{place}{tail.partition(']')[0]} is no {kinds}" if tried else message


def options_of(help_text: str) -> list[str]:
    """The options that a help text explains, each once: those that its lines begin with."""
    known: dict[str, None] = {}
    for line in help_text.splitlines():
        for word in itertools.takewhile(lambda word: word.startswith("-"), line.split()):
            known |= {word.strip(","): None} if word.strip("-,") else {}
    return [option for option in known if option.startswith("--")]
