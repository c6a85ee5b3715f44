"""`loopbench completion`: a script that completes commands and their options in bash and zsh.

The options are read from every command's own help, so they are those of the version at hand.
"""

import contextlib
import io
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import Annotated, Literal

import tyro

from scripts.commands import COMMANDS
from scripts.usage import UsageError, parse

# What runs a command's words, or raises SystemExit where these ask for help.
Run = Callable[[Sequence[str]], object]

_SCRIPT = """_loopbench() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" words=""
    if [ "$COMP_CWORD" -eq 1 ]; then
        words={commands}
    else
        case "${{COMP_WORDS[1]}}" in
{cases}
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o bashdefault -o default -F _loopbench loopbench
"""


def script(shell: str, commands: Mapping[str, Run]) -> str:
    """The script for a shell."""
    cases = [
        f"            {name}) words={shlex.quote(' '.join(_options(run)))} ;;"
        for name, run in commands.items()
    ]
    text = _SCRIPT.format(commands=shlex.quote(" ".join(commands)), cases="\n".join(cases))
    start = "autoload -Uz compinit bashcompinit && compinit && bashcompinit\n"
    return start + text if shell == "zsh" else text


def _options(run: Run) -> Iterator[str]:
    """Options, or the names of a group's commands, in the order of a command's help."""
    help_text = io.StringIO()
    # A command of a package that is not installed has no help, and completes nothing.
    with contextlib.redirect_stdout(help_text), contextlib.suppress(SystemExit, UsageError):
        run(["--help"])
    text = re.sub(r"\x1b\[[0-9;]*m", "", help_text.getvalue())
    listed = re.search(r" COMMAND, one of: (.*)", text)
    options = (
        listed[1].split(", ")
        if listed
        else re.findall(r"--[a-z0-9][a-zA-Z0-9._-]*[a-zA-Z0-9]", text)
    )
    yield from dict.fromkeys(options)


def completion(shell: Annotated[Literal["bash", "zsh"], tyro.conf.Positional]) -> None:
    """Print what completes loopbench's commands and options, for a shell to read at its start:

    loopbench completion bash > ~/.local/share/bash-completion/completions/loopbench
    loopbench completion zsh > ~/.loopbench.zsh; echo source ~/.loopbench.zsh >> ~/.zshrc

    Args:
        shell: the shell to print it for.
    """
    runs = {name: import_module(module).main for name, (module, _) in COMMANDS.items()}
    print(script(shell, runs), end="")


def main(words: Sequence[str]) -> int:
    parse(completion, words, "loopbench completion")()
    return 0
