"""A run's folder: what made it, what it measured, where it stands.

RUN/config.json        the whole configuration
RUN/environment.json   date, commit, versions, machine, command line
RUN/metrics.jsonl      one JSON object a line; a function of the configuration alone, so that
                       a resumed run writes the same bytes as an unbroken one
RUN/timing.jsonl       the same steps' wall-clock times and rates, which differ from run to run
RUN/checkpoints/       see checkpoints.py
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from reasoning.errors import InputError

_OPENMP = ("OMP_", "GOMP_", "KMP_")  # variables that its libraries read
_PACKAGES = ("torch", "numpy", "numba", "pydantic", "safetensors")


class RunError(InputError):
    """A run's folder cannot be used; one line with the path and the remedy."""


class TrainingError(RuntimeError):
    """Training cannot go on; one line with the step and the remedy."""


def _git(*arguments: str) -> str | None:
    """Output of git in this source tree, None outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def environment() -> dict[str, Any]:
    """Commit, versions and machine, as a record of what ran.

    Where LOOPBENCH_COMMIT is set, the commit is what it says, and changes to it are not known: a
    copy elsewhere may have no git folder, or that of another commit.
    """
    import torch  # here: whoever reads a run's records need not load it

    stated = os.environ.get("LOOPBENCH_COMMIT")
    # A checkout of something else may hold this package: in an environment's folder, say.
    tracked = ("ls-files", "--error-unmatch", Path(__file__).name)
    ours = stated is None and _git(*tracked) is not None
    commit = _git("rev-parse", "HEAD") if ours else stated
    changes = _git("status", "--porcelain") if ours else None
    return {
        "commit": commit,
        "uncommitted_changes": None if changes is None else bool(changes),
        "command": sys.argv,
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in _PACKAGES},
        "machine": platform.machine(),
        "system": platform.platform(),
        "cpu_threads": torch.get_num_threads(),
        "openmp": {k: v for k, v in sorted(os.environ.items()) if k.startswith(_OPENMP)},
        "cpu": _cpu_name(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{os.cpu_count()} x {names[0]}" if names else platform.processor()


def write_json(path: Path, value: Any, indent: int | None = 2) -> None:
    """Write JSON, see `write_whole`."""
    write_whole(path, json.dumps(value, indent=indent, allow_nan=False) + "\n")


def write_whole(path: Path, text: str) -> None:
    """Write a text whole or not at all, whoever else writes it. OSError, with the path, if the disk
    refuses."""
    partial = path.with_name(f".{path.name}.{platform.node()}-{os.getpid()}.partial")
    try:
        partial.write_text(text)
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error


def make_folder(folder: Path, option: str = "--out") -> None:
    """Make a folder for results, which an option names, unless it is there. RunError if it cannot
    be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _unwritable(folder, error, option) from error


def _unwritable(folder: Path, error: OSError, option: str = "--out") -> RunError:
    return RunError(f"{folder}: cannot be written ({error.strerror}); choose another {option}")


def create_run(folder: Path, config: dict[str, Any]) -> None:
    """Make a run's folder with its records. RunError if it already holds a run."""
    refuse_begun(folder)
    make_folder(folder)
    try:
        write_json(folder / "config.json", config)
        _record_environment(folder)
    except OSError as error:
        raise _unwritable(folder, error) from error


def _record_environment(folder: Path) -> None:
    """What a run is made by and on, and when it begins (UTC)."""
    began = {"date": datetime.now(UTC).isoformat(timespec="seconds")}
    write_json(folder / "environment.json", began | environment())


def refuse_begun(folder: Path) -> None:
    """RunError for a folder that holds a run, where a new one was to begin."""
    if (folder / "config.json").exists():
        raise RunError(
            f"{folder}: already holds a run; go on with --resume {folder} or choose another"
        )


def begun_with(folder: Path) -> tuple[Path, int] | None:
    """The run, or the file of packaged weights, that this one began with, and the step they are
    of; None: it began afresh.

    It is kept as it was named, so a relative name is sought from the run's folder upwards (both
    may have moved together), then from here. RunError where it is not there.
    """
    record = read_config(folder).get("started_from")
    if record is None:
        return None
    named, here = Path(record["run"]), folder.resolve()
    places = [] if named.is_absolute() else [parent / named for parent in here.parents]
    for place in (*places, named):
        there = (place / "config.json").is_file() or place.is_file()
        if there and place.resolve() != here:
            return place, record["step"]
    raise RunError(f"{folder}: began with {named}, which is no longer there; put it back")


def restart_run(folder: Path) -> str:
    """Record anew what runs: a run that left no checkpoint starts again from step 0. Its logs are
    emptied when training opens them. Returns the line that tells the user."""
    _record_environment(folder)
    return f"{folder}: stopped before its first checkpoint; starts from step 0 again"


def extend_run(folder: Path, done: int, steps: int, write: bool = True) -> str | None:
    """Record in config.json that a run which stands at step `done` is to end at `steps`, and since
    when (`extended`). Returns the line that tells the user; None if it was to end there anyway.

    folder: the run's; write: whether to record it, for one of several processes. RunError if it is
    past that step.
    """
    record = read_config(folder)
    before = record["config"]["steps"]
    if steps < done:
        raise RunError(f"{folder}: is at step {done}; give --steps {done + 1} or more")
    if steps == before:
        return None
    record["config"]["steps"] = steps
    change = {"at_step": done, "steps_before": before, "steps": steps}
    record["extended"] = [*record.get("extended", []), change]
    if write:
        write_json(folder / "config.json", record)
    return f"{folder}: planned for {steps} steps instead of {before}, from step {done} on"


def finished(folder: Path, steps: int) -> str:
    """The line that tells of a run with nothing left to do."""
    return (
        f"{folder}: is finished ({steps} steps); to train it longer: --resume {folder} "
        f"--steps {2 * steps}"
    )


def read_config(folder: Path) -> dict[str, Any]:
    """A run's configuration. RunError if there is none to read."""
    path = folder / "config.json"
    if not path.exists():
        raise RunError(f"{folder}: is not a run's folder (no config.json)")
    return _read(path)


def read_environment(folder: Path) -> dict[str, Any]:
    """What a run was made by and on, {} if it has no record of it. RunError if not readable."""
    path = folder / "environment.json"
    return _read(path) if path.exists() else {}


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: not readable ({error})") from error


class JsonLines:
    """Append-only JSON lines; opening at a step drops the lines that a killed run wrote past it.

    RunError if the disk refuses; of a line that it took in part `read_jsonl` and the next opening
    know.
    """

    def __init__(self, path: Path, resume_step: int | None):
        self.path = path
        if resume_step is not None and path.exists():
            self._cut(resume_step)
        self._file = path.open("a" if resume_step is not None else "w")

    def _cut(self, step: int) -> None:
        kept = []
        for line, record in _records(self.path):
            if record["step"] > step:
                break
            kept.append(line.rstrip(b"\r\n") + b"\n")
        partial = self.path.with_name(f".{self.path.name}.partial")
        try:
            partial.write_bytes(b"".join(kept))
            os.replace(partial, self.path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise self._refused(error) from error

    def write(self, record: dict[str, Any]) -> None:
        line = json.dumps(record, allow_nan=False) + "\n"
        try:
            self._file.write(line)
            self._file.flush()
        except OSError as error:
            raise self._refused(error) from error

    def _refused(self, error: OSError) -> RunError:
        return RunError(
            f"{self.path}: could not be written ({error.strerror}); free some disk space and "
            "resume the run, what was written before is intact"
        )

    def close(self) -> None:
        self._file.close()


def list_checkpoints(run: Path) -> list[Path]:
    """Whole checkpoints of a run, oldest first."""
    return sorted(path.parent for path in (run / "checkpoints").glob("step-*/manifest.json"))


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Every record of a JSON-lines file, but for a last line that a killed run left unfinished.
    RunError, with the line, for one that is none."""
    return [record for _, record in _records(path)]


def _records(path: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """The lines of `read_jsonl`, each with its record."""
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except OSError as error:
        raise RunError(f"{path}: not readable ({error.strerror})") from error
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            whole = isinstance(record, dict) and isinstance(record.get("step"), int)
            reason = "it has no step"
        except ValueError as error:
            whole, reason = False, str(error)
        if whole:
            yield line, record
        elif line.endswith(b"\n"):  # else the run was killed as it wrote this one, the last
            raise RunError(
                f"{path}: line {number} is no record ({reason}); correct or delete that line"
            )
