"""`loopbench completion`: what bash then offers."""

import contextlib
import shutil
import subprocess

import pytest

from scripts.cli import COMMANDS, main


@pytest.fixture(scope="module")
def offered(tmp_path_factory):
    """What bash completes of `loopbench` and these words, the last of them begun."""
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    path = tmp_path_factory.mktemp("completion") / "loopbench.bash"
    with path.open("w") as file, contextlib.redirect_stdout(file):
        assert main(["completion", "bash"]) == 0

    def complete(*words: str) -> set[str]:
        line = " ".join(f"'{word}'" for word in ("loopbench", *words))
        asked = (
            f"source {path}; COMP_WORDS=({line}); COMP_CWORD={len(words)}; _loopbench; "
            'printf "%s\\n" "${COMPREPLY[@]}"'
        )
        done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True)
        return set(done.stdout.split())

    return complete


def test_commands_are_completed(offered):
    assert offered("") == set(COMMANDS)
    assert offered("pre") == {"presets", "pretrain"}


def test_options_of_a_command_are_completed(offered):
    assert offered("train", "--model.sol") >= {"--model.solver.tolerance", "--model.solver.kind"}
    assert {"--preset", "--config", "--resume"} <= offered("train", "--")
    assert "--out" not in offered("solve", "--")
    assert offered("data", "su") == {"sudoku"}


def test_zsh_reads_it_as_bash_does(capsys):
    assert main(["completion", "zsh"]) == 0
    assert capsys.readouterr().out.startswith("autoload -Uz compinit bashcompinit")
    assert main(["completion", "fish"]) == 2
