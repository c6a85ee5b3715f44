"""`loopbench completion`: what bash and zsh then do when Tab is pressed."""

import contextlib
import os
import pty
import re
import select
import shutil
import subprocess
import time

import pytest

from scripts.cli import COMMANDS, main
from scripts.models.presets import preset_names
from scripts.terminal.choices import PARTS

_PROMPT = "ready> "
# In place of the command, what it would be called with; and a prompt with nothing behind it.
_START = {
    "bash": "bind 'set enable-bracketed-paste off'; bind 'set bell-style none'; "
    "bind 'set completion-query-items 0'; bind 'set page-completions off'; ",
    "zsh": "unset zle_bracketed_paste; unsetopt prompt_sp prompt_cr; ",
}
_SAY = f"loopbench() {{ printf '<%s>\\n' \"$@\"; }}; PS1='{_PROMPT}'"
_BARE = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"]}


class Terminal:
    """A shell that has read its script, on a terminal of its own."""

    def __init__(self, shell, script, folder):
        self._ours, theirs = pty.openpty()
        self._shell = subprocess.Popen(
            _BARE[shell],
            **dict.fromkeys(("stdin", "stdout", "stderr"), theirs),
            cwd=folder,
            start_new_session=True,
            env={"PATH": os.environ["PATH"], "HOME": str(folder), "TERM": "dumb"},
        )
        os.close(theirs)
        self.said = self._send(f"{_START[shell]}source {script}; {_SAY}\n")

    def typed(self, keys):
        """The words of the command that a line comes to."""
        return re.findall(r"<(.*)>\r?$", self._send(f"{keys}\n"), re.MULTILINE)

    def listed(self, keys):
        """What a second Tab lists."""
        shown = self._send(f"{keys}\t\t", keys)
        self._send("\x15\n")  # the line is emptied
        return set(shown.partition("\n")[2].rpartition("\n")[0].split())

    def _send(self, keys, begun=""):
        """Press keys and read what is shown up to a prompt with so much behind it."""
        end = f"\n{_PROMPT}{begun}"
        os.write(self._ours, keys.encode())
        shown, last = "", time.monotonic() + 60
        while not shown.endswith(end):
            ready, _, _ = select.select([self._ours], [], [], max(0, last - time.monotonic()))
            assert ready, f"no {end!r} after {shown!r}"
            shown += os.read(self._ours, 4096).decode().replace("\r\n", "\n")
        return shown

    def close(self):
        os.close(self._ours)
        self._shell.kill()
        self._shell.wait()


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    """The terminal of a shell."""
    opened = {}

    def of(shell):
        if shutil.which(shell) is None:
            pytest.skip(f"{shell} is not installed")
        if shell not in opened:
            folder = tmp_path_factory.mktemp(shell)
            script = folder / "completion"
            with script.open("w") as file, contextlib.redirect_stdout(file):
                assert main(["completion", shell]) == 0
            (folder / "runs" / "mine").mkdir(parents=True)
            opened[shell] = Terminal(shell, script, folder)
        return opened[shell]

    yield of
    for terminal in opened.values():
        terminal.close()


_LINES = {
    "compl\tb\t": "completion bash",
    "data sud\t--si\t9": "data sudoku --size 9",
    "reproduce fig\t7 --sc\tm\t": "reproduce fig7 --scale mini",
    "train --preset attractor-c\t--model.solver.k\tp\t": (
        "train --preset attractor-cpu --model.solver.kind picard"
    ),
    "train --preset hrm-c\t--model.cy\t2": "train --preset hrm-cpu --model.cycles 2",
    "train --device=a\t--out r\tm\t": "train --device=auto --out runs/mine",
    "bench --parts training sc\t": "bench --parts training scaling",
    "solve r\tm\t --pret\ts\t": "solve runs/mine --pretrained sudoku",
    # What is told of in a help's prose, no option of it, is not offered.
    "push r\tm\t me/it --pret\t": "push runs/mine me/it --pret",
}


@pytest.mark.parametrize("shell", ["bash", "zsh"])
@pytest.mark.parametrize(("keys", "words"), _LINES.items(), ids=_LINES.values())
def test_what_is_begun_is_completed(live, shell, keys, words):
    typed = live(shell).typed(f"loopbench {keys}")
    # zsh takes a folder's slash away again where another word follows.
    assert [word.rstrip("/") for word in typed] == words.split()


def test_a_second_tab_lists_what_may_follow(live):
    listed = live("bash").listed
    assert listed("loopbench ") == set(COMMANDS)
    assert listed("loopbench presets ") >= set(preset_names())
    assert listed("loopbench bench --parts ") == {*PARTS, "peers"}
    assert listed("loopbench corpus ") == {"build", "check"}
    assert listed("loopbench evaluate --split=t") == {"test", "train"}
    assert {"--preset", "--config", "--resume", "--loss.cells"} <= listed("loopbench train --")
    assert "--out" not in listed("loopbench solve --")


def test_files_are_listed_where_one_is_asked_for(live):
    for words in ("solve ", "train --out ", "train --tensorboard --resume ", "data check "):
        assert live("bash").listed(f"loopbench {words}") == {"completion", "runs/"}


def test_neither_shell_says_anything_at_its_start(live):
    for shell in ("bash", "zsh"):
        assert re.search(rf"'{_PROMPT}'[^\n]*\n{_PROMPT}$", live(shell).said)


def test_no_other_shell_is_known():
    assert main(["completion", "fish"]) == 2
