"""The quickstart and the set-up scripts, at toy size."""

import json
import subprocess
from pathlib import Path

import pytest

from scripts.cli import main
from scripts.studies.quickstart import PRESETS

ROOT = Path(__file__).parent.parent.parent


def test_quickstart_leaves_a_table_curves_and_a_picture_and_reuses_them(tmp_path, capsys):
    words = ["quickstart", "--out", str(tmp_path / "q"), "--size", "4"]
    words += ["--steps", "20", "--test", "40"]
    assert main(words) == 0
    out = tmp_path / "q"
    groups = json.loads((out / "comparison.json").read_text())
    assert tuple(groups) == PRESETS
    assert all(group["puzzles"] == 40 for group in groups.values())
    sizes = {group["parameters"] for group in groups.values()}
    assert len(sizes) == 1, "the three models are compared at equal parameters"
    for name in ("curves.png", "solving.png"):
        assert (out / name).read_bytes()[:4] == b"\x89PNG"
    assert (out / "comparison.md").read_text().count("\n| ") >= 7
    before = {p: p.stat().st_mtime_ns for p in out.rglob("manifest.json")}
    assert main(words) == 0
    assert before == {p: p.stat().st_mtime_ns for p in out.rglob("manifest.json")}
    assert "minutes" in capsys.readouterr().out


@pytest.mark.parametrize("script", ["quickstart", "setup", "test"])
def test_scripts_are_sound_shell_and_executable(script):
    path = ROOT / "scripts" / script
    assert path.stat().st_mode & 0o111
    subprocess.run(["bash", "-n", str(path)], check=True)
