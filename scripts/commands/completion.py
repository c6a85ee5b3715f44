"""`loopbench completion`: a script that completes commands, options and their values in bash and
zsh.

All of it is read from every command's own help, so it is that of the version at hand.
"""

import contextlib
import io
import json
import os
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Annotated, Literal

import tyro

from scripts.commands import COMMANDS
from scripts.terminal.choices import PRESETS_FILE, Shipped
from scripts.usage import UsageError, parse

# What runs a command's words, or raises SystemExit where these ask for help.
Run = Callable[[Sequence[str]], object]

# bash, unlike zsh, hears --option=value as three words. Where nothing is offered, files are.
_SCRIPT = """_loopbench() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}"
    local command="${{COMP_WORDS[1]}}" from=1 at option joined="" offered="" free=""
    if [ "$word" = "=" ]; then
        word=""
    elif [ "$before" = "=" ]; then
        before="${{COMP_WORDS[COMP_CWORD-2]}}"
    elif [[ "$word" == --*=* ]]; then
        before="${{word%%=*}}" joined="${{word%%=*}}=" word="${{word#*=}}"
    fi
    case "$command" in
        {groups})
            [ "$COMP_CWORD" -gt 2 ] && from=2 command="$command ${{COMP_WORDS[2]}}" ;;
    esac
    for ((at = COMP_CWORD - 1; at > from; at--)); do
        option="${{COMP_WORDS[at]}}"
        if [[ "$option" == -* ]]; then
            case "$command $option" in {several}) before="$option" ;; esac
            break
        fi
    done
    if [ "$COMP_CWORD" -eq 1 ]; then
        offered={commands}
        [[ "$word" == -* ]] && offered="--help --version"
    elif [[ "$word" == -* ]]; then
        free=option
    else
        case "$command $before" in
{values}
            {switches}) free=word ;;
            *" -"*) ;;
            *) free=word ;;
        esac
    fi
    if [ "$free" = word ]; then
        free=option
        case "$command" in
            {files}) free="" ;;
{arguments}
        esac
    fi
    if [ "$free" = option ] && [ -z "$offered" ]; then
        case "$command" in
{options}
        esac
    fi
    COMPREPLY=($(compgen -P "$joined" -W "$offered" -- "$word"))
}}
complete -o bashdefault -o default -F _loopbench loopbench
"""


@dataclass
class _Command:
    """What may be typed after a command's name.

    options: its long options, and of each the values that are known, none for any other and None
    where it takes none; several: the options that take more than one; arguments: the words that
    may stand without an option, none where any may, None where none may.
    """

    options: dict[str, list[str] | None] = field(default_factory=dict)
    several: set[str] = field(default_factory=set)
    arguments: list[str] | None = None


def script(shell: str, commands: Mapping[str, Run]) -> str:
    """The script for a shell."""
    told, groups = {}, []
    for name, run in commands.items():
        helps = [_help(run, words) for words in _shown(name)]
        if names := _names(helps[0]):
            groups.append(name)
            told[name] = _Command(arguments=names)
            told |= {f"{name} {below}": _described("", [_help(run, [below])]) for below in names}
        else:
            told[name] = _described(name, helps)
    pairs = [(f"{name} {o}", v) for name, known in told.items() for o, v in known.options.items()]
    text = _SCRIPT.format(
        commands=shlex.quote(" ".join(commands)),
        groups=_either(groups),
        several=_either(
            f"{name} {o}" for name, known in told.items() for o in sorted(known.several)
        ),
        values=_cases({pair: values for pair, values in pairs if values}),
        switches=_either(pair for pair, values in pairs if values is None),
        files=_either(name for name, known in told.items() if known.arguments == []),
        arguments=_cases({n: known.arguments for n, known in told.items() if known.arguments}),
        options=_cases({name: known.options for name, known in told.items() if known.options}),
    )
    start = "autoload -Uz compinit bashcompinit && compinit && bashcompinit\n"
    return start + text if shell == "zsh" else text


def _either(names: Iterable[str]) -> str:
    return "|".join(shlex.quote(name) for name in names) or "''"


def _cases(offered: Mapping[str, Iterable[str]]) -> str:
    """One line of a shell's `case` for all names with the same words."""
    names: dict[str, list[str]] = {}
    for name, words in offered.items():
        names.setdefault(" ".join(words), []).append(name)
    return "\n".join(
        f"            {_either(same)}) offered={shlex.quote(words)} ;;"
        for words, same in names.items()
    )


def _described(name: str, helps: Iterable[str]) -> _Command:
    """A command by its helps: one for every kind of model where a preset has options."""
    told, known = _Command(), _values(name)
    for help_text in helps:
        _read(help_text, told)
    told.options |= {option: known[option] for option in told.options.keys() & known.keys()}
    if "" in known:
        told.arguments = known[""]
    return told


def _shown(name: str) -> Iterator[list[str]]:
    """The words with which a command is asked for help: one preset of every kind of model."""
    if name == "train":
        from scripts.models.presets import preset as read
    elif name == "pretrain":
        from scripts.models.lm_presets import language_preset as read
    else:
        yield []
        return
    known = _values(name)["--preset"]
    for preset in {read(preset).model.kind: preset for preset in reversed(known)}.values():
        yield ["--preset", preset]


def _values(name: str) -> dict[str, list[str]]:
    """Of a command's options that are any text to its parser: the values that are known, "" for
    the words without an option."""
    presets: dict[str, list[str]] = {"puzzles": [], "language": []}
    for row in json.loads(PRESETS_FILE.read_text()):
        presets[row["task"]].append(row["preset"])
    shipped = {"--pretrained": list(Shipped.__args__)}
    return {
        "train": {"--preset": presets["puzzles"]},
        "pretrain": {"--preset": presets["language"]},
        "presets": {"": [*presets["puzzles"], *presets["language"]]},
        "solve": shipped,
        "demo": shipped,
        "evaluate": shipped,
    }.get(name, {})


def _help(run: Run, words: Sequence[str]) -> str:
    """A command's help, with its frames: the widest lines on which panels stand one below another,
    so that no option is broken."""
    text = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "129"
    try:
        # A command of a package that is not installed has no help, and completes nothing.
        with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit, UsageError):
            run([*words, "--help"])
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before
    text.seek(0)
    return re.sub(r"\x1b\[[0-9;]*m", "", text.read())


def _names(help_text: str) -> list[str]:
    """The commands of a group."""
    listed = re.search(r" (?:COMMAND|NAME), one of: (.*)", help_text)
    return listed[1].split(", ") if listed else []


def _read(help_text: str, into: _Command) -> None:
    """Add what a help lists: a line that begins an option or an argument is its form, two spaces
    and what it is for; further lines are indented deeper."""
    panel = ""
    for line in help_text.splitlines():
        panel = title[1] if (title := re.match(r"╭─ (.*?) ─", line)) else panel
        form = re.match(r"│? {1,2}(\S.*?)(?:  |│|$)", line)
        if form is None:
            continue
        flags = re.findall(r"(?:^|, )(--[a-zA-Z0-9][a-zA-Z0-9._-]*)", form[1])
        value = re.sub(r"(?:^|, )--?[a-zA-Z0-9][a-zA-Z0-9._-]*", "", form[1]).strip()
        listed = [
            name for names in re.findall(r"\{([\w,-]+)\}", value) for name in names.split(",")
        ]
        listed = [] if set(listed) == {"None"} else list(dict.fromkeys(listed))
        for flag in flags:
            known = into.options.get(flag)
            if flag not in into.options:
                into.options[flag] = listed if value else None
            elif known:  # of another kind of model; where it may be any there, no list is whole
                into.options[flag] = list(dict.fromkeys(known + listed)) if listed else []
            if "..." in value:
                into.several.add(flag)
        if not flags and panel == "positional arguments":
            into.arguments = [*(into.arguments or []), *listed]


def completion(shell: Annotated[Literal["bash", "zsh"], tyro.conf.Positional]) -> None:
    """Print what completes loopbench's commands, options and their values, for a shell to read at
    its start:

    loopbench completion bash > ~/.loopbench.bash; echo source ~/.loopbench.bash >> ~/.bashrc

    loopbench completion zsh > ~/.loopbench.zsh; echo source ~/.loopbench.zsh >> ~/.zshrc

    Args:
        shell: the shell to print it for.
    """
    runs = {name: import_module(module).main for name, (module, _) in COMMANDS.items()}
    print(script(shell, runs), end="")


def main(words: Sequence[str]) -> int:
    parse(completion, words, "loopbench completion")()
    return 0
