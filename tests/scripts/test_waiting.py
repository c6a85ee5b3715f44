"""How threads wait: what OpenMP itself says that it took."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from reasoning.training.runs import environment
from scripts.terminal.waiting import SETTINGS, SPINS, spin_briefly

ROOT = Path(__file__).parent.parent.parent
# Loads torch's own OpenMP library, which then prints its settings.
_LOAD = """
import ctypes, sys
import scripts
ctypes.CDLL(sys.argv[1])
"""


def gnu_openmp() -> Path:
    """The library of torch's wheels for Linux; skipped without it."""
    folder = Path(find_spec("torch").origin).parent / "lib"
    found = sorted(folder.glob("libgomp*.so*"))
    if not found:
        pytest.skip("this torch does not bring GNU's OpenMP")
    return found[0]


def settings_taken(**given: str) -> str:
    """What OpenMP reports in a process that has these variables and loads `scripts` first."""
    own = {k: v for k, v in os.environ.items() if k not in SETTINGS}
    done = subprocess.run(
        [sys.executable, "-c", _LOAD, str(gnu_openmp())],
        env={**own, "OMP_DISPLAY_ENV": "VERBOSE", **given},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stderr


def test_threads_spin_briefly_unless_the_user_says_otherwise():
    assert f"GOMP_SPINCOUNT = '{SPINS}'" in settings_taken()
    assert f"GOMP_SPINCOUNT = '{SPINS}'" in settings_taken(OMP_NUM_THREADS="2")
    assert "GOMP_SPINCOUNT = '0'" in settings_taken(OMP_WAIT_POLICY="PASSIVE")
    assert "OMP_WAIT_POLICY = 'ACTIVE'" in settings_taken(OMP_WAIT_POLICY="ACTIVE")
    assert "GOMP_SPINCOUNT = '1234'" in settings_taken(GOMP_SPINCOUNT="1234")


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_of_the_users_stays(name, monkeypatch):
    for other in SETTINGS:
        monkeypatch.delenv(other, raising=False)
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setenv(name, "1")
    before = dict(os.environ)
    assert not spin_briefly()
    assert dict(os.environ) == before


def test_nothing_is_asked_for_once_torch_is_loaded(monkeypatch):
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    assert not spin_briefly()  # it would not be heard, and the record would say that it was
    assert "GOMP_SPINCOUNT" not in environment()["openmp"]


def test_a_record_says_how_threads_wait(monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    monkeypatch.setenv("KMP_BLOCKTIME", "7")
    recorded = environment()["openmp"]
    assert recorded["OMP_WAIT_POLICY"] == "PASSIVE"
    assert recorded["KMP_BLOCKTIME"] == "7"
