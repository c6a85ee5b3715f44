"""Commands of `loopbench` in forked processes, which have everything imported and start at once."""

import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch._dynamo  # noqa: F401 - what a training's first step imports, before the fork

from scripts.entry import main as console_script

_FORK = multiprocessing.get_context("fork")


def start(
    words: Sequence[str],
    log: Path,
    environment: Mapping[str, str] | None = None,
    limit: int | None = None,
) -> multiprocessing.Process:
    """Begin a `loopbench` command in a process of its own; what it says is added to the log.

    words: of its command line, after `loopbench`; environment: variables that it gets beside this
    process's, None: none; limit: bytes that its files may have, None: any number.
    """
    process = _FORK.Process(target=_command, args=(words, log, environment or {}, limit))
    process.start()
    return process


def _command(
    words: Sequence[str], log: Path, environment: Mapping[str, str], limit: int | None
) -> None:
    os.environ.update(environment)
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    with log.open("a") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    code = console_script(words)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # of the fork nothing else is to be cleaned up


def finished(process: multiprocessing.Process) -> int:
    """Wait for a process; returns its exit code."""
    process.join()
    return process.exitcode


def wait(process: multiprocessing.Process, log: Path, lines: int, share: float) -> bool:
    """Wait until a log has so many lines, then a share of the time that the last one took (of a
    second where none is waited for). Whether the process is alive then."""
    seen, since, took = 0, time.perf_counter(), 1.0
    while process.is_alive() and seen < lines:
        time.sleep(0.001)
        now = log.read_bytes().count(b"\n") if log.exists() else 0
        if now > seen:
            took, since = time.perf_counter() - since, time.perf_counter()
            seen = now
    process.join(share * took)
    return process.is_alive()
