"""A small sudoku set, a small maze set and one trained run, made once; and a sudden death."""

import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest

from puzzles import sources
from puzzles.dataset import write_dataset
from scripts.cli import main


@pytest.fixture(scope="session")
def sudokus(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "sudoku4"
    write_dataset(folder, *sources.sudoku(4, train=48, test=20, seed=0))
    return folder


@pytest.fixture(scope="session")
def mazes(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "maze7"
    write_dataset(folder, *sources.maze("unique", 7, train=32, test=12, seed=0))
    return folder


@pytest.fixture(scope="session")
def trained(sudokus, tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "attractor"
    words = ["train", "--preset", "attractor-mini", "--data", str(sudokus), "--out", str(run)]
    assert main([*words, "--steps", "20", "--device", "cpu"]) == 0
    return run


@pytest.fixture
def dies_at(monkeypatch):
    """`with dies_at(Trainer, 5):` ends what runs inside at step 5, as a kill would."""

    @contextmanager
    def within(trainer: type, step: int):
        steps = trainer.step

        def until(self):
            if self.done == step:
                raise SystemExit  # no command catches it
            return steps(self)

        with monkeypatch.context() as patch:
            patch.setattr(trainer, "step", until)
            with pytest.raises(SystemExit):
                yield

    return within


@pytest.fixture(scope="session")
def chromium():
    """A real Chromium, driven by Playwright."""
    driver = pytest.importorskip("playwright.sync_api", reason="needs the extra `test`: playwright")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    if program is None:
        pytest.skip("needs Chromium (Debian's package `chromium`)")
    with driver.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()
