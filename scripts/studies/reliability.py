"""Do runs survive what machines do? Minutes of a core: `python -m scripts.studies.reliability`.

    puzzle, language  SIGKILL at random moments of a training, which then goes on and must end in
                      the bytes of an unbroken one: weights, optimiser, average, carry, position in
                      the data, metrics, files
    disk              the disk full in the middle of a checkpoint, of metrics, of a shard: what was
                      whole stays whole, one line says what to do, and with room again the result is
                      the unbroken one
    processes         1, 2 and 3 processes give one loss curve

Every trial is the command a user gives, in a forked process. OUT/results.json is written after
each trial, and the same command goes on from there; what a trial that did not hold left stays in
OUT, with the log of what was said.
"""

import json
import random
import shutil
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from reasoning.records import sha256_of
from reasoning.training.checkpoints import (
    CheckpointError,
    list_checkpoints,
    read_manifest,
    verified,
)
from reasoning.training.runs import RunError, make_folder, read_jsonl, write_json
from scripts.reports.numbers import grid
from scripts.studies.forked import finished, start, wait
from scripts.studies.run_contents import differing
from scripts.studies.small_disk import AMPLE, Tmpfs, bytes_in, small_disk
from scripts.terminal.guard import run_guarded
from scripts.usage import UsageError, parse

Part = Literal["puzzle", "language", "disk", "processes"]
PARTS: tuple[Part, ...] = ("puzzle", "language", "disk", "processes")
WORLDS = (1, 2, 3)
CURVE = 1e-2  # how far apart, relatively, losses may be whose sums were taken in another order
_FIRST = 1e-4  # and the first of them
_CURVE_STEPS = 60  # rounding grows as training goes on

# Batches divide over 1, 2 and 3 processes.
_ALL = "--batch 12 --device cpu"
_WORDS = {
    "puzzle": "train --preset attractor-speed-mini --data {data} --evaluate-every 50",
    "language": "pretrain --preset attractor-mini --corpus {corpus} --context 32 --lanes 6 "
    "--jacobian-every 0 --model.width 32 --model.head-width 16 --validation.rows 12",
}


class Place:
    """OUT: the data that runs train on, unbroken runs to compare with, and the results."""

    def __init__(self, out: Path, steps: int):
        make_folder(out)
        self.out, self.steps = out, steps
        path = out / "results.json"
        self.results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        if self.results.setdefault("steps", steps) != steps:
            raise UsageError(f"{path}: is of --steps {self.results['steps']}; take another --out")
        self.data, self.text = out / "data", out / "text.txt"

    def prepare(self, parts: Sequence[Part]) -> None:
        """Puzzles, and a corpus of made-up text where it is needed, unless they are there."""
        if not self.data.exists():
            words = "data sudoku --size 4 --train 100 --test 24 --seed 0 --out {data}"
            self.must(words.format(data=self.data).split())
        if set(parts) == {"puzzle"}:
            return
        if not self.text.exists():
            draw = random.Random(0)
            known = ["".join(draw.choices("aeiknorst", k=draw.randint(2, 7))) for _ in range(300)]
            text = [" ".join(draw.choices(known, k=draw.randint(20, 200))) for _ in range(600)]
            self.text.write_text("\n\n".join(text))
        self.must(self.build(self.out / "corpus"))

    def build(self, folder: Path) -> list[str]:
        """The command that makes the corpus."""
        words = f"corpus build {self.text} --tokenizer bytes --split-on \\n\\n --held-out 0.1"
        return [*words.split(), "--shards", "6", "--out", str(folder)]

    def train(
        self, kind: str, run: Path, log: int = 5, checkpoint: int = 10, steps: int | None = None
    ) -> list[str]:
        """The command of a run; checkpoints are frequent, so that kills meet them.

        kind: puzzle or language; run: the folder to write it to; log, checkpoint: steps from a line
        of metrics, or a checkpoint, to the next; steps: of the run, None: those of all trials.
        """
        words = _WORDS[kind].format(data=self.data, corpus=self.out / "corpus")
        every = f"--log-every {log} --checkpoint-every {checkpoint}"
        every += f" --steps {steps or self.steps}"
        return [*words.split(), *_ALL.split(), *every.split(), "--out", str(run)]

    def must(self, words: Sequence[str]) -> None:
        """Run a command. RunError if it failed."""
        if code := finished(start(words, self.out / "log.txt")):
            raise RunError(f"loopbench {words[0]} ended with {code}: see {self.out}/log.txt")

    def whole(self, kind: str, **often: int) -> Path:
        """An unbroken run to compare with, made once."""
        run = self.out / "-".join(["whole", kind, *often])
        saved = list_checkpoints(run)
        if not saved or read_manifest(saved[-1])["step"] != self.steps:
            shutil.rmtree(run, ignore_errors=True)
            self.must(self.train(kind, run, **often))
        return run

    def fresh_log(self, name: str) -> Path:
        """What a trial's commands say."""
        log = self.out / f"{name}.log"
        log.unlink(missing_ok=True)
        return log

    def trial(self, part: str, name: str, make: Callable[[], dict[str, Any]]) -> None:
        """Make a trial and record it, unless it is on record as one that held."""
        known = self.results.setdefault(part, {})
        if not known.get(name, {}).get("held"):
            known[name] = make()
            write_json(self.out / "results.json", self.results)
            verdict = "held" if known[name]["held"] else "DID NOT HOLD"
            print(f"{part}, {name}: {verdict}", flush=True)  # else a fork would say it again


def go_on(run: Path, words: Sequence[str], log: Path) -> int:
    """What a user does with a broken run: resume it, or begin it where it is not there yet."""
    if (run / "config.json").exists():
        words = [words[0], "--resume", str(run)]
    return finished(start(words, log))


# SIGKILL


def killed(place: Place, kind: str, number: int) -> dict[str, Any]:
    """Kill a run at a random moment, go on with it, compare it with the unbroken one."""
    whole, run = place.whole(kind), place.out / f"{kind}-{number}"
    log = place.fresh_log(run.name)
    draw = random.Random(f"{kind} {number}")
    words = place.train(kind, run)
    while True:  # until it is still alive at that moment
        shutil.rmtree(run, ignore_errors=True)
        process = start(words, log)
        alive = wait(
            process, run / "metrics.jsonl", draw.randrange(place.steps // 5), draw.random()
        )
        process.kill()
        process.join()
        if alive:
            break
    metrics = run / "metrics.jsonl"
    lines = read_jsonl(metrics) if metrics.exists() else []
    record = {
        "step": lines[-1]["step"] if lines else 0,
        "checkpoints": len(list_checkpoints(run)),
        "in_a_checkpoint": any(run.glob("checkpoints/.partial-*")),
        "exit": go_on(run, words, log),
    }
    record["differing"] = differing(kind, run, whole) if record["exit"] == 0 else ["all"]
    record["held"] = not record["differing"]
    _tidy(record["held"], run, log)
    return record


def _tidy(held: bool, run: Path, log: Path) -> None:
    if held:
        shutil.rmtree(run)
        log.unlink()


# The full disk


def filled_run(place: Place, kind: str, what: str) -> dict[str, Any]:
    """Fill the disk under a run in the middle of a checkpoint or of metrics; make room, go on."""
    rare = {} if what == "checkpoint" else {"log": 1, "checkpoint": place.steps // 2}
    whole, log = place.whole(kind, **rare), place.fresh_log(f"full-{kind}-{what}")
    with small_disk(place.out / "small") as disk:
        run = place.out / "small" / "run"
        words = place.train(kind, run, **rare)
        process, least = start(words, log), 2 if what == "checkpoint" else 1
        while process.is_alive() and len(list_checkpoints(run)) < least:
            time.sleep(0.002)
        newest = list_checkpoints(run)[-1]
        while process.is_alive() and not disk.choke(process, run, what):
            time.sleep(0.002)
        record = {"disk": disk.how, "exit": finished(process), "said": _last_line(log)}
        kept = list_checkpoints(run)
        checkpoints = len(kept) >= least and kept[-1] >= newest and all(map(_whole, kept))
        written, wanted = (r.joinpath("metrics.jsonl").read_bytes() for r in (run, whole))
        metrics = wanted.startswith(written[: written.rfind(b"\n") + 1])
        held = {"checkpoints": checkpoints, "metrics": metrics}
        record["lost"] = [name for name, kept in held.items() if not kept]
        disk.resize(AMPLE)
        record["exit_with_room"] = go_on(run, words, log)
        done = record["exit_with_room"] == 0
        record["differing"] = differing(kind, run, whole) if done else ["all"]
    return _judged(record, log)


def filled_build(place: Place) -> dict[str, Any]:
    """Fill the disk under a corpus build in the middle of a shard; make room, build again."""
    whole, log = place.out / "corpus", place.fresh_log("full-shard")
    with small_disk(place.out / "small") as disk:
        folder = place.out / "small" / "corpus"
        if isinstance(disk, Tmpfs):
            disk.resize(bytes_in(whole) // 2)
        most = max(path.stat().st_size for path in whole.iterdir()) - 1
        process = start(place.build(folder), log, limit=None if disk.how == "tmpfs" else most)
        record = {"disk": disk.how, "exit": finished(process), "said": _last_line(log)}
        shards = {path.name: _identity(path) for path in folder.glob("*.npy")}
        disk.resize(AMPLE)
        record["shard_files_kept"] = len(shards)
        record["exit_with_room"] = finished(start(place.build(folder), log))
        record["lost"] = [name for name, was in shards.items() if _identity(folder / name) != was]
        ours, theirs = ({p.name: p.read_bytes() for p in f.iterdir()} for f in (folder, whole))
        record["differing"] = [name for name in theirs if ours.get(name) != theirs[name]]
        record["differing"] += sorted(ours.keys() - theirs.keys())
    return _judged(record, log)


def _judged(record: dict[str, Any], log: Path) -> dict[str, Any]:
    """The trial held if it was refused in a line that names a place, and nothing was lost."""
    told = record["said"].startswith("loopbench: ") and "/small/" in record["said"]
    refused = record["exit"] > 0 and told and "Traceback" not in log.read_text()
    kept = not record["lost"] and not record["differing"]
    held = refused and kept and record["exit_with_room"] == 0
    if held:
        log.unlink()
    return record | {"held": held}


def _last_line(log: Path) -> str:
    lines = log.read_text().strip().splitlines()
    return lines[-1] if lines else ""


def _whole(checkpoint: Path) -> bool:
    try:
        verified(checkpoint)
    except CheckpointError:
        return False
    return True


def _identity(path: Path) -> tuple[int, str]:
    """When a file was written, and what."""
    return path.stat().st_mtime_ns, sha256_of(path)


# Several processes


def curves(place: Place, kind: str) -> dict[str, Any]:
    """Losses of a run by 1, 2 and 3 processes, the global batch the same; and, to know what another
    order of the same sums does, by one in micro-batches."""
    losses = {str(count): _losses(place, kind, count) for count in WORLDS}
    losses["1, micro-batches"] = _losses(place, kind, 1, "--micro-batch", "4")
    apart = {
        name: [abs(a / b - 1) for a, b in zip(losses_of, losses["1"], strict=True)]
        for name, losses_of in losses.items()
    }
    worst = {name: max(losses_of) for name, losses_of in apart.items()}
    first = max(apart[str(count)][0] for count in WORLDS)
    held = max(worst.values()) < CURVE and first < _FIRST
    return {"losses": losses, "apart": worst, "first_apart": first, "held": held}


def _losses(place: Place, kind: str, count: int, *more: str) -> list[float]:
    run = place.out / f"{kind}-by-{count}"
    log = place.fresh_log(run.name)
    shutil.rmtree(run, ignore_errors=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        world = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(probe.getsockname()[1])}
    world |= {"WORLD_SIZE": str(count)}
    words = [*place.train(kind, run, steps=min(place.steps, _CURVE_STEPS)), *more]
    processes = [
        start(words, log, world | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(count)
    ]
    if any([finished(process) for process in processes]):
        raise RunError(f"{count} processes failed: see {log}")
    records = read_jsonl(run / "metrics.jsonl")
    _tidy(True, run, log)
    return [r["loss"] for r in records if r["split"] == "train"]


# The command


def table(results: Mapping[str, Any]) -> str:
    """What was tried and what held, as Markdown."""
    rows: list[tuple[str, str, str]] = []

    def row(trial: str, tried: Sequence[Mapping[str, Any]], what: str) -> None:
        held = sum(record["held"] for record in tried)
        rows.append((trial, f"{held} of {len(tried)}", what))

    for kind in ("puzzle", "language"):
        tried = list(results.get(kind, {}).values())
        if tried:
            steps = [record["step"] for record in tried]
            early = sum(not record["checkpoints"] for record in tried)
            within = sum(record["in_a_checkpoint"] for record in tried)
            what = f"at steps {min(steps)} to {max(steps)} of {results['steps']}, {early} before "
            what += f"the first checkpoint, {within} while one was written"
            row(f"{kind} run killed (SIGKILL) and resumed, equal byte for byte", tried, what)
    for name, record in results.get("disk", {}).items():
        what = f"{record['disk']}; exit code {record['exit']} and one line"
        row(f"disk full in the middle of {name}: nothing lost, then as unbroken", [record], what)
    for name, record in results.get("processes", {}).items():
        apart = dict(record["apart"])
        alone = apart.pop("1, micro-batches")
        what = f"losses {max(apart.values()):.1e} apart at most, relative; the first "
        what += f"{record['first_apart']:.1e}; of one process in micro-batches {alone:.1e}"
        row(f"{name} run by 1, 2 and 3 processes: one curve", [record], what)
    return "\n".join(grid(("trial", "held", "of these"), rows)) + "\n"


def reliability(
    out: Path, kills: int = 20, parts: tuple[Part, ...] = PARTS, steps: int = 50
) -> bool:
    """Try to break runs, and see whether they go on as if nothing had been. Resumable.

    Args:
        out: folder for the runs and results.json.
        kills: SIGKILLs of a puzzle and of a language run each.
        parts: what to try.
        steps: optimiser steps of a run, a multiple of 10.
    """
    if kills < 1 or steps < 20 or steps % 10:
        raise UsageError("--kills: 1 or more; --steps: a multiple of 10, 20 or more")
    torch.set_num_threads(1)  # a fork does not take the others along
    place = Place(out, steps)
    place.prepare(parts)
    for kind in ("puzzle", "language"):
        if kind in parts:
            for number in range(kills):
                place.trial(kind, str(number), partial(killed, place, kind, number))
    if "disk" in parts:
        for kind in ("puzzle", "language"):
            for what, name in (("checkpoint", "a checkpoint"), ("metrics", "metrics")):
                make = partial(filled_run, place, kind, what)
                place.trial("disk", f"{name} of a {kind} run", make)
        place.trial("disk", "a shard", partial(filled_build, place))
    if "processes" in parts:
        for kind in ("puzzle", "language"):
            place.trial("processes", kind, partial(curves, place, kind))
    print(table(place.results))
    tried = [record for part in PARTS for record in place.results.get(part, {}).values()]
    return all(record["held"] for record in tried)


def main(words: Sequence[str]) -> int:
    """The command. 0 if everything held, else 1."""
    return 0 if parse(reliability, words, "python -m scripts.studies.reliability")() else 1


if __name__ == "__main__":
    sys.exit(run_guarded(main, sys.argv[1:]))
