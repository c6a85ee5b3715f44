"""What comes back from a GPU machine: at most eight flat files, brought up to date as it runs.

results.json    everything measured: tasks, checks, rates, the speedrun's curve and scores
summary.md      the same for people, targets first
log.txt         what the tasks printed
curves.png      held-out accuracy against minutes and FLOPs
sudoku-9.safetensors, sudoku-9.json    the speedrun's weights in bf16 and their card
"""

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reasoning.training.logs import RunLog
from reasoning.training.runs import write_json
from scripts.reports.numbers import accuracy, grid, percent
from scripts.reports.pictures import finish, new_figure
from scripts.usage import UsageError

FORMAT = 1
MOST_FILES, MOST_BYTES = 8, 16 * 2**20
LOG_BYTES = 2**20  # of log.txt, of each of its ends
_PARTS = ("checks", "processes", "rates", "finish")
PARTS_OF_SUMMARY = {
    "correctness": "### The device against the CPU",
    "rates": "### Rates",
    "speedrun": "### The speedrun",
}
PUZZLE_RATE, TEXT_RATE = 0.40, 0.45  # targets: shares of the matmul rate, compiled

Record = dict[str, Any]


def curve(run: Path) -> list[Record]:
    """Held-out accuracy of a run against its training minutes, evaluation apart, against minutes
    with it, and against FLOPs as executed."""
    log = RunLog(run)
    exact = {r["step"]: r for r in log.learned("test")}
    points, training, evaluating, flops = [], 0.0, 0.0, 0.0
    for line in log.took(None):
        if line["split"] == "train":
            training += line["seconds"]
            flops += line["flops"]
            continue
        evaluating += line["seconds"]
        if line["step"] not in exact:  # its metrics are being written
            continue
        points.append(
            {"step": line["step"], "training_minutes": training / 60, "flops": flops}
            | {"minutes": (training + evaluating) / 60}
            | {name: exact[line["step"]][name] for name in ("exact", "cell")}
        )
    return points


def collect(record: Record, work: Path) -> Record:
    """`record` with all that the tasks have written to `work` so far."""
    parts = {}
    for name in _PARTS:
        path = work / f"{name}.json"
        if path.exists():
            parts[name] = json.loads(path.read_text())
    environments = [part["environment"] for part in parts.values() if "environment" in part]
    if environments:
        parts["environment"] = environments[0]
    run = work / "run"
    if RunLog(run).is_whole:
        parts["curve"] = curve(run)
        parts["run"] = json.loads((run / "config.json").read_text())
    whole = record | parts
    return whole | {"targets": targets(whole)}


def targets(record: Record) -> list[Record]:
    """Every target that a GPU is to meet: its value, None where it was not measured, and whether
    it is met."""
    rates = record.get("rates", {})

    def share(part: str, model: str) -> float | None:
        rows = [r for r in rates.get(part, ()) if r["preset"] == model and r["mode"] == "compiled"]
        return rows[0]["of_matmul_rate"] if rows else None

    checks = [c for part in ("checks", "processes") for c in record.get(part, {}).get("checks", ())]
    failed = sum(not c["passed"] for c in checks) if checks else None
    rows = [("checks that failed", failed, "<=", 0)]
    for model in ("trm-7m", "trm-mlp-7m", "attractor-7m", "attractor-27m"):
        rows.append((f"{model}: of the matmul rate", share("training", model), ">=", PUZZLE_RATE))
    rows.append(("transformer-140m: MFU", share("language", "transformer-140m"), ">=", TEXT_RATE))
    profiled = rates.get("gaps")
    waits = profiled[0]["waits_in_a_segment"] if profiled else None
    rows.append(("waits for a number in a segment", waits, "<=", 0))
    once = record.get("finish", {}).get("one pass")
    exact = 100 * once["metrics"]["exact"]["mean"] if once else None
    rows.append(("speedrun, one pass: exact %", exact, ">=", record["recipe"]["target"]))
    return [
        {"name": name, "value": value, "limit": f"{sign} {limit:g}"}
        | {"met": None if value is None else value >= limit if sign == ">=" else value <= limit}
        for name, value, sign, limit in rows
    ]


def publish(record: Record, work: Path, out: Path) -> Record:
    """Bring OUT up to date; every file is replaced whole."""
    whole = collect(record, work)
    write_json(out / "results.json", whole)
    partial = out / ".summary.md.partial"
    partial.write_text(summary(whole))
    partial.replace(out / "summary.md")
    _shorten(out / "log.txt")
    weights = whole.get("finish", {}).get("weights")
    for suffix in (".safetensors", ".json") if weights else ():
        source, target = work / f"{weights}{suffix}", out / f"{weights}{suffix}"
        if source.exists() and not target.exists():
            partial = out / f".{source.name}.partial"
            shutil.copy(source, partial)
            partial.replace(target)
    return whole


def _shorten(log: Path) -> None:
    """Cut the middle out of a log that is too long to travel; tasks append to it."""
    if not log.exists() or log.stat().st_size <= 4 * LOG_BYTES:
        return
    text = log.read_bytes()
    cut = b"\n... %d bytes left out ...\n" % (len(text) - 2 * LOG_BYTES)
    log.write_bytes(text[:LOG_BYTES] + cut + text[-LOG_BYTES:])


def summary(record: Record) -> str:
    """The record as a page: targets, tasks, then every part."""
    where = record["environment"]
    machine = where["gpu"] or where["cpu"]
    kind = "a rehearsal at toy size on" if record["toy"] else "on"
    lines = [f"# {record['minutes']:g} minutes, {kind} {machine}", ""]
    lines += [f"Commit {record['commit']}; `{' '.join(record['command'])}`", ""]
    rows = [
        (t["name"], _value(t["value"]), t["limit"], _verdict(t["met"])) for t in record["targets"]
    ]
    lines += _table(("target", "found", "limit", ""), rows)
    rows = [
        (t["name"], t["status"], f"{t['seconds']:.0f} of {t['allowed']:.0f}")
        for t in record["tasks"]
    ]
    lines += _table(("task", "status", "seconds"), rows)
    for part, heading in PARTS_OF_SUMMARY.items():
        body = page(part, record)
        lines += [heading, "", *body] if body else []
    return "\n".join(lines).rstrip() + "\n"


def page(part: str, record: Record) -> list[str]:
    """Lines of one part's figures, [] where there are none yet."""
    make = {"correctness": _checks, "rates": _rates, "speedrun": _speedrun}[part]
    return make(record)


def _checks(record: Record) -> list[str]:
    lines = []
    for part in ("checks", "processes"):
        results = record.get(part, {})
        checks = results.get("checks", ())
        for group in dict.fromkeys(c["group"] for c in checks):
            rows = [c for c in checks if c["group"] == group]
            errors = [c["error"] / c["limit"] for c in rows if c["error"] and c["limit"]]
            worst = f"{max(errors):.2g}" if errors else "0"
            passed = f"{sum(c['passed'] for c in rows)} of {len(rows)}"
            lines.append((group, passed, worst))
    lines = _table(("checks", "passed", "largest error over its limit"), lines)
    for part in ("checks", "processes"):
        for c in record.get(part, {}).get("checks", ()):
            if not c["passed"]:
                error = "no number" if c["error"] is None else f"{c['error']:.1e}"
                lines.append(f"* FAILED: {c['name']}: {error}, limit {c['limit']:.1e}")
    if record.get("checks", {}).get("complete") is False:
        lines.append("* not every check was reached")
    for name, results in record.get("processes", {}).get("resume", {}).items():
        step = results["first_step"]
        where = "the same bits" if step is None else f"differs from step {step}"
        lines.append(f"* training {name}: {where}, of {results['steps']} steps")
    return [*lines, ""] if lines else []


def _rates(record: Record) -> list[str]:
    rates = record.get("rates", {})
    lines: list[str] = []
    for row in rates.get("matmul", ()):
        speed = row["flops_per_second"] / 1e12
        lines += [f"Matrix products in {row['precision']}: {speed:.3g} TFLOP/s", ""]
    rows = [r for part in ("training", "language") for r in rates.get(part, ())]
    steps = [
        (
            r["preset"],
            r["mode"],
            f"{1e3 * r['seconds_per_step']:.1f}",
            f"{r.get('tokens_per_second', r.get('segments_per_second')):,.0f}",
            percent(r["of_matmul_rate"]),
            f"{r['peak_bytes'] / 2**30:.1f}" if "peak_bytes" in r else "",
        )
        for r in rows
    ]
    heads = ("step of", "mode", "ms", "segments or tokens a second", "% of matmul rate", "GiB")
    lines += _table(heads, steps)
    for profiled in rates.get("gaps", ()):
        idle = percent(profiled["idle_share"])
        lines += [f"In a step of {profiled['preset']} the device is idle {idle} %.", ""]
        rows = [(f"{g['microseconds']:.0f}", g["host"]) for g in profiled["longest"]]
        lines += _table(("profiled: idle for, microseconds", "while the host was in"), rows)
        waits = Counter(profiled.get("waits", ()))
        lines += [f"* {n} waits in a segment: {what}" for what, n in waits.items()]
    kept = [
        (str(r["evaluations"]), f"{r['saved_bytes'] / 2**20:.1f}") for r in rates.get("memory", ())
    ]
    lines += _table(("solver evaluations", "MiB kept for the backward pass"), kept)
    for name, why in rates.get("failed", {}).items():
        lines.append(f"* FAILED: {name}: {why}")
    if rates.get("left_out"):
        lines.append(f"* no time for {', '.join(rates['left_out'])}")
    return [*lines, ""] if lines else []


def _speedrun(record: Record) -> list[str]:
    points = _thinned(record.get("curve", []))
    recipe = record["recipe"]
    rows = [
        (f"{p['step']:,}", f"{p['minutes']:.2f}", f"{p['flops']:.3g}", accuracy(p["exact"]))
        for p in points
    ]
    if not rows:
        return []
    scores = record.get("finish", {})
    lines = [f"`loopbench train {recipe['train']} {recipe['card']}`:", ""]
    lines += _table(("step", "minutes", "FLOPs", "exact %, held-out"), rows)
    for name, what in (("one pass", "trained depth"), ("deep", "deep"), ("shipped", "what ships")):
        if name in scores:
            exact, segments = scores[name]["metrics"]["exact"], scores[name]["segments"]
            lines.append(f"* {what}: {accuracy(exact)} % of {exact['n']:,.0f}, {segments} segments")
    return [*lines, ""]


def _thinned(points: list[Record]) -> list[Record]:
    """Some twenty of them, the last included."""
    every = max(1, len(points) // 20)
    return points[::-1][::every][::-1]


def _value(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.3g}"


def _verdict(met: bool | None) -> str:
    return {None: "", True: "met", False: "MISSED"}[met]


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    return [*grid(heads, rows), ""] if rows else []


def draw(record: Record, path: Path) -> None:
    """Accuracy against minutes and against FLOPs; nothing where there is no curve."""
    points = record.get("curve")
    if not points:
        return
    exact = [100 * p["exact"]["mean"] for p in points]
    figure = new_figure(9, 3.5)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, name in zip(panels, ("minutes", "flops"), strict=True):
        axes.plot([p[name] for p in points], exact, marker=".")
        axes.set(xlabel="minutes, evaluations among them" if name == "minutes" else "FLOPs")
    panels[0].set(ylabel="exact %, held-out")
    finish(panels, figure, path)


def outgoing(folder: Path) -> list[Path]:
    """The files of a results folder. ValueError if they are more or larger than may come back."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    too_large = [path for path in files if path.stat().st_size >= MOST_BYTES]
    nested = [path for path in files if path.parent != folder]
    if len(files) > MOST_FILES or too_large or nested:
        raise UsageError(
            f"{folder}: {len(files)} files, {len(too_large)} of 16 MiB or more, {len(nested)} in "
            f"folders; {MOST_FILES} flat ones under 16 MiB may come back"
        )
    return files
