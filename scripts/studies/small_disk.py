"""A disk that can be made full under a process while it writes a run."""

import contextlib
import multiprocessing
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from reasoning.training.checkpoints import list_checkpoints

AMPLE = 1 << 28  # bytes, where nothing is to be missing


class Tmpfs:
    """A small disk of its own in `folder`, whose size changes while it is in use."""

    how = "tmpfs"

    def __init__(self, folder: Path):
        self.folder = folder

    def choke(self, process: multiprocessing.Process, run: Path, what: str) -> bool:
        """Leave room for half a checkpoint beside two, or for none but the pages begun; False where
        more is taken just now."""
        room = os.statvfs(self.folder)
        size = (room.f_blocks - room.f_bfree) * room.f_frsize
        if what == "checkpoint":
            each = [bytes_in(folder) for folder in list_checkpoints(run)]
            size += 5 * each[-1] // 2 - sum(each)
        return self.resize(size)

    def resize(self, size: int) -> bool:
        words = ["mount", "-o", f"remount,size={size}", str(self.folder)]
        return subprocess.run(words, capture_output=True).returncode == 0


class Limit:
    """Where mounting is not permitted: no file of the process may grow beyond a size."""

    how = "RLIMIT_FSIZE"

    def choke(self, process: multiprocessing.Process, run: Path, what: str) -> bool:
        """Half of a checkpoint's largest file, or of one more line of metrics."""
        if what == "checkpoint":
            most = max(f.stat().st_size for f in list_checkpoints(run)[-1].iterdir()) // 2
        else:
            most = (run / "metrics.jsonl").stat().st_size + 100
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
        return True

    def resize(self, size: int) -> bool:
        """Nothing to do: the limit ended with its process."""
        return True


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Tmpfs | Limit]:
    """An empty folder on a disk that can be made full; what a killed one left there is dropped."""
    if folder.is_mount():
        subprocess.run(["umount", str(folder)], check=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={AMPLE}", "loopbench", str(folder)]
    try:
        mounted = subprocess.run(words, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    try:
        yield Tmpfs(folder) if mounted else Limit()
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)
        shutil.rmtree(folder)


def bytes_in(folder: Path) -> int:
    """Bytes of the files in a folder."""
    return sum(path.stat().st_size for path in folder.iterdir())
