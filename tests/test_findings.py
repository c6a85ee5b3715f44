"""The scripts in findings/: not run here, but sound, self-explaining and listed."""

import re
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "findings"
SCRIPTS = sorted(FOLDER.glob("*.sh"))


def test_the_page_lists_every_script_with_the_versions_that_it_installs():
    rows = dict(
        re.findall(r"^\| `(\S+\.sh)` \| (.+?) \|", (FOLDER / "README.md").read_text(), re.M)
    )
    assert rows.keys() == {path.name for path in SCRIPTS}
    for name, seen in rows.items():
        text = (FOLDER / name).read_text()
        for package in seen.split(", "):
            assert package.replace(" ", "==") in text, f"{name}: does not install {package}"


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_is_sound_and_its_head_says_what_was_guessed_seen_and_matters(path):
    subprocess.run(["bash", "-n", str(path)], check=True)
    head = path.read_text().split("\nset -euo pipefail\n")[0].splitlines()
    assert head[0] == "#!/usr/bin/env bash"
    assert all(line.startswith("#") for line in head)
    for word in ("Guess: ", "Seen with ", "Matters "):
        assert any(line.startswith(f"# {word}") for line in head), word
