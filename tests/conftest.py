"""Tests run tiny nets: one thread each is fastest, and leaves a second process its core."""

import os
from pathlib import Path

import pytest

import scripts  # noqa: F401 - before torch: how threads wait

import torch  # isort: skip

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of published puzzles that LOOPBENCH_SHARED names; skipped without it."""
    folder = os.environ.get("LOOPBENCH_SHARED")
    if not folder or not Path(folder).is_dir():
        pytest.skip("set LOOPBENCH_SHARED to a folder of published puzzles")
    return Path(folder)
