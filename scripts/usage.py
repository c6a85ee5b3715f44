"""Parsing a command's words with tyro, every mistake reported as one clear line."""

import contextlib
import difflib
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

import tyro
from pydantic import TypeAdapter, ValidationError

from reasoning.errors import InputError
from scripts.terminal.tyro_text import message_of, options_of, printed

_Form = TypeVar("_Form")
_PARSING = "Error parsing "  # tyro's words before the place of a value that does not fit


class UsageError(InputError):
    """The command's words cannot be used; one line with the remedy."""


def parse(
    form: Callable[..., Any],
    words: Sequence[str],
    program: str,
    default: Any = None,
    may_be_empty: Sequence[str] = (),
) -> Any:
    """Fill `form` (a function, called with what was parsed, or a config class) from words.

    program: the command's name, for help and errors; default: an instance of the class, for what
    the words leave out, None: `form` is a function; may_be_empty: options that take an empty text.

    UsageError in one line for an unknown option (with the nearest known one), a bad value or an
    empty word. `--help` prints the form's help and raises SystemExit(0).
    """
    _refuse_empty(words, may_be_empty)
    options: dict[str, Any] = {"prog": program, "config": (tyro.conf.AvoidSubcommands,)}
    if default is not None:
        options["default"] = default
    if {"-h", "--help"} & set(words):
        tyro.cli(form, args=list(words), **options)
    try:
        with printed() as report:
            # Parsed apart from being called, so that the command prints to the real streams.
            parsed, unknown = tyro.cli(
                form if default is not None else _deferred(form),
                args=list(words),
                return_unknown_args=True,
                **options,
            )
    except ValidationError as error:
        raise UsageError(describe(error)) from error
    except SystemExit as error:
        raise UsageError(_told(message_of(report()), error, program)) from error
    if unknown:
        raise UsageError(_unknown(unknown[0], form, program, options))
    return parsed


def given(form: type[_Form], values: Mapping[str, Any]) -> _Form:
    """A dataclass of a command's words, filled from Python by their names.

    TypeError for a name that it has not, UsageError for a value of another kind, in the words that
    the command line has for it.
    """
    known = {field.name for field in fields(form)}
    if unknown := values.keys() - known:
        raise TypeError(unknown_name("option", min(unknown), sorted(known)))
    try:
        return TypeAdapter(form).validate_python(dict(values))
    except ValidationError as error:
        raise UsageError(describe(error)) from error


def _refuse_empty(words: Sequence[str], may_be_empty: Sequence[str]) -> None:
    """UsageError for a word of nothing, as a shell makes it of a variable that is not set: a path
    of nothing is the current folder."""
    for before, word in zip(["", *words], words, strict=False):
        flag, equals, value = word.partition("=")
        if word and not (flag.startswith("--") and equals and not value):
            continue
        flag = flag or before
        if flag not in may_be_empty:
            where = f"{flag}: is empty" if flag.startswith("--") else "an argument is empty"
            raise UsageError(f"{where} (a shell variable that is not set?); give it a value")


def run_one_of(name: str, commands: dict[str, Callable[..., None]], words: Sequence[str]) -> int:
    """A command whose first word chooses one of several."""
    if words and words[0] in commands:
        parse(commands[words[0]], words[1:], f"loopbench {name} {words[0]}")()
        return 0
    if set(words) & {"-h", "--help"}:
        print(f"loopbench {name} COMMAND, one of: " + ", ".join(commands))
        return 0
    if words:
        raise UsageError(unknown_name(f"{name} command", words[0], commands))
    raise UsageError(f"{name} needs a command; there are {', '.join(commands)}")


def resumes(words: Sequence[str]) -> bool:
    """Whether --resume is asked, --steps to train longer beside it at most. UsageError if other
    options stand there that belong to a new run, were they equal to the run's own."""
    options = {word.partition("=")[0] for word in words if word.startswith("--")}
    if "--resume" not in options:
        return False
    if options - {"--resume", "--steps", "--wandb", "--tensorboard", "--help"}:
        raise UsageError(
            "--resume RUN goes on under RUN's own configuration: give it alone, or with --steps to "
            "train longer"
        )
    return True


def option_value(words: Sequence[str], flag: str) -> str | None:
    """The value of --flag VALUE or --flag=VALUE, if given: to choose a command's defaults by. The
    last one counts, as it does where the words are parsed."""
    value = None
    for i, word in enumerate(words):
        if word == flag and i + 1 < len(words):
            value = words[i + 1]
        elif word.startswith(flag + "="):
            value = word.split("=", 1)[1]
    return value


def at_least(least: int, **options: float | None) -> None:
    """UsageError for an option, by its field's name, that is below `least`; None: not given."""
    for name, value in options.items():
        if value is not None and not value >= least:
            flag = name.replace("_", "-")
            raise UsageError(f"--{flag}: must be at least {least} (got {value})")


def above_0(**options: float | None) -> None:
    """UsageError for an option, as in `at_least`, that is not above 0."""
    for name, value in options.items():
        if value is not None and not value > 0:
            raise UsageError(f"--{name}: must be above 0 (got {value})")


def names_in(words: str | Sequence[str], flag: str) -> list[str]:
    """Names separated by commas, or a sequence of them. UsageError if there is none, or one
    twice."""
    parts = words.split(",") if isinstance(words, str) else words
    names = [name.strip() for name in parts if name.strip()]
    if not names or len(set(names)) < len(names):
        fault = "one stands there twice" if names else "no name in it"
        raise UsageError(f"{flag}: {fault} ({words})")
    return names


def describe(error: ValidationError, part: str = "") -> str:
    """A pydantic error as one line: --field: reason (got value). part: of the whole, by its dotted
    name, where the error is not of the whole."""
    first = error.errors()[0]
    place = ".".join(str(name) for name in (part, *first["loc"]) if name != "")
    message = first["msg"].removeprefix("Value error, ")
    got = "" if first["type"] in ("value_error", "missing") else f" (got {first['input']!r})"
    return f"--{place}: {message}{got}" if place else message


def _deferred(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of the same signature and help that returns its call instead of making it."""

    @functools.wraps(function)
    def keep(*args: Any, **kwargs: Any) -> Callable[[], Any]:
        return functools.partial(function, *args, **kwargs)

    return keep


def _told(message: str, error: BaseException, program: str) -> str:
    """One line for words that do not fit: what a model of pydantic's refused, or else tyro's own.

    message: tyro's; error: what it raised, perhaps because of a ValidationError; program: for help.
    """
    # A form that holds a configuration calls it `config`, which no option has before its name.
    rest = message.partition(_PARSING)[2]
    place, _, reason = rest.removeprefix("config").removeprefix(".").partition(":")
    while (error := error.__context__) is not None:
        if isinstance(error, ValidationError):  # of a part, whose place is in tyro's message alone
            return f"{describe(error, place.strip('-'))} (see {program} --help)"
    if rest.startswith("config."):
        message = f"{_PARSING}--{place}:{reason}"
    return f"{message or 'the words do not fit'} (see {program} --help)"


def _unknown(word: str, form: Any, program: str, options: dict[str, Any]) -> str:
    with printed() as help_text, contextlib.suppress(SystemExit):
        tyro.cli(form, args=["--help"], **options)
    known = options_of(help_text())
    asked = word.partition("=")[0].replace("_", "-")
    # A field's own name, without the names of what holds it: --lr for --optimizer.lr.
    last_part = {option: "--" + option.removeprefix("--").rpartition(".")[2] for option in known}
    near = [option for option in known if last_part[option] == asked]
    near = near or _nearest(asked, known)
    if not near:
        close = _nearest(asked, last_part.values())
        near = [option for option in known if last_part[option] in close]
    hint = f", did you mean {' or '.join(near)}?" if near else f" (see {program} --help)"
    return f"unknown option {word}{hint}"


def _nearest(option: str, known: Iterable[str]) -> list[str]:
    """The known option that is most like it, if one is; the dashes are not compared."""
    names = [each.removeprefix("--") for each in known]
    near = difflib.get_close_matches(option.removeprefix("--"), names, n=1)
    return ["--" + name for name in near]


def unknown_name(what: str, name: str, known: Iterable[str], lists: str = "") -> str:
    """What to say of a name that is not among the known ones: the nearest (and what `lists` all of
    them), or else all."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    if not near:
        return f"no {what} is called {name!r}; there are {', '.join(known)}"
    more = f" ({lists} lists all)" if lists else ""
    return f"no {what} is called {name!r}, did you mean {near[0]}?{more}"
