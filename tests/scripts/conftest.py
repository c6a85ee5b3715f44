"""A small sudoku set, a small maze set and one trained run, made once; a sudden death; a browser;
two processes played by threads."""

import shutil
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from puzzles import sources
from puzzles.dataset import write_dataset
from puzzles.kinds import puzzle_of
from reasoning.training.distribution import World
from scripts.cli import main
from scripts.models.registry import Registry


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
def trained(sudokus, tmp_path_factory) -> Iterator[Path]:
    """A run that many tests read: who writes into it, or changes it, takes a copy."""
    run = tmp_path_factory.mktemp("runs") / "attractor"
    words = ["train", "--preset", "attractor-mini", "--data", str(sudokus), "--out", str(run)]
    assert main([*words, "--steps", "20", "--device", "cpu"]) == 0
    made = sorted(run.rglob("*"))
    yield run
    assert sorted(run.rglob("*")) == made


@pytest.fixture(scope="module")
def working_folder(tmp_path_factory) -> Iterator[Path]:
    """An empty folder in which commands run; what was imported from it is forgotten at the end."""
    folder = tmp_path_factory.mktemp("own")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "path", list(sys.path))
        yield folder
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(folder)):
            del sys.modules[name]
    for cached in (Registry.model_class, Registry.config_class, puzzle_of):
        cached.cache_clear()


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


@dataclass(frozen=True, kw_only=True)
class _Paired(World):
    """One of two processes, played by two threads."""

    parts: list
    barrier: threading.Barrier

    def gather_rows(self, rows):
        self.parts[self.rank] = rows
        self.barrier.wait()
        whole = torch.cat(self.parts)
        self.barrier.wait()
        return whole


@pytest.fixture
def by_two():
    """`by_two(work)`: what work(world) returns on each of two processes."""

    def both(work):
        shared = {"parts": [None, None], "barrier": threading.Barrier(2, timeout=60)}
        worlds = [_Paired(rank, 2, torch.device("cpu"), **shared) for rank in range(2)]
        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(work, worlds))

    return both


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


@pytest.fixture
def stand_in(tmp_path, monkeypatch) -> Path:
    """A folder that holds repositories, in place of the hub; what is fetched are links, as in the
    hub's cache, to the files that are asked for."""
    hub = pytest.importorskip("huggingface_hub", reason="needs the extra `hub`")
    remote, cache = tmp_path / "hub", tmp_path / "cache"

    def create_repo(self, name, repo_type="model", private=False, exist_ok=False):
        (remote / repo_type / name).mkdir(parents=True, exist_ok=exist_ok)

    def upload_folder(self, repo_id, folder_path, commit_message, repo_type="model"):
        shutil.copytree(folder_path, remote / repo_type / repo_id, dirs_exist_ok=True)

    def snapshot_download(name, repo_type="model", allow_patterns=None):
        there, here = remote / repo_type / name, cache / repo_type / name
        if not there.is_dir():
            raise hub.errors.LocalEntryNotFoundError("no such repository\nand more")
        shutil.rmtree(here, ignore_errors=True)
        files = [str(p.relative_to(there)) for p in there.rglob("*") if p.is_file()]
        for file in hub.utils.filter_repo_objects(files, allow_patterns=allow_patterns):
            (here / file).parent.mkdir(parents=True, exist_ok=True)
            (here / file).symlink_to(there / file)
        return str(here)

    monkeypatch.setattr(hub.HfApi, "create_repo", create_repo)
    monkeypatch.setattr(hub.HfApi, "upload_folder", upload_folder)
    monkeypatch.setattr(hub, "snapshot_download", snapshot_download)
    return remote
