"""`loopbench bench`: how fast things are on this machine; see `scripts.timing.bench`."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from reasoning.names import Device
from scripts.models.lm_presets import language_preset
from scripts.models.presets import preset
from scripts.terminal.choices import PARTS, Mode, Part, Precision
from scripts.terminal.folders import expect
from scripts.usage import UsageError, at_least, parse


def bench(
    quick: bool = False,
    json: Path | None = None,
    device: Device = "auto",
    parts: tuple[Part, ...] = PARTS,
    presets: tuple[str, ...] | None = None,
    lm_presets: tuple[str, ...] | None = None,
    precisions: tuple[Precision, ...] = ("fp32", "bf16"),
    modes: tuple[Mode, ...] = ("eager", "compiled"),
    runs: tuple[Path, ...] = (),
    peers: Path | None = None,
    batch: int | None = None,
    micro_batch: int | None = None,
    rows: int | None = None,
    seconds: float | None = None,
) -> None:
    """Time training, the solver, a step's parts, evaluation and language models; memory; scaling.

    Medians after a warm-up, rivals by turns, beside the matrix product rate of the same run. A
    curriculum is left out: every step is at full depth.

    Args:
        quick: presets of the small scales, small batches and few repetitions, for a CPU.
        json: file for the figures; STEM-scaling.png is drawn beside it.
        device: where to run; auto: the best present.
        parts: what to measure; all but peers (fixed-point solvers of torchdeq and optimistix beside
            ours), for which pip must be able to install these.
        presets: puzzle presets; none: every one of 7m and 27m, or of cpu with --quick, and for all
            but training the Attractor and TRM of the smallest.
        lm_presets: language presets; none: by --quick.
        precisions: activations.
        modes: how the nets run; compiled needs a C++ compiler on a CPU.
        runs: folders of trained runs to evaluate too, on their own held-out puzzles.
        peers: a folder that pip installed torchdeq and optimistix into with --target; a new one is
            filled; none: a temporary one. Only with --parts peers.
        batch: slots of a puzzle step (scaling has its own); none: the preset's, or 8 for training
            with --quick.
        micro_batch: slots of a forward pass of a puzzle step; none: all at once, or 192 where
            the nets have eight layers.
        rows: rows of a language step; none: the preset's, or 2 with --quick.
        seconds: how long every figure is measured; none: 1, or 0.2 with --quick.
    """
    at_least(1, batch=batch, micro_batch=micro_batch, rows=rows)
    if seconds is not None and not seconds > 0:
        raise UsageError(f"--seconds: must be above 0 (got {seconds})")
    for name in presets or ():
        preset(name)
    for name in lm_presets or ():
        language_preset(name)
    if json is not None and not json.parent.is_dir():
        raise UsageError(f"--json: there is no folder {json.parent}; make it first")
    for folder in runs:
        expect(folder, "puzzle run")
    if peers is not None and "peers" not in parts:
        raise UsageError("--peers: is for --parts peers; add peers to --parts or drop it")

    from reasoning.training.distribution import choose_device
    from reasoning.training.runs import environment, write_json
    from scripts.reports.bench_report import plot_scaling, table
    from scripts.runs.session import load_config
    from scripts.terminal.console import Console
    from scripts.timing import peer_folder
    from scripts.timing.bench import FULL, MATMUL, QUICK, Bench
    from scripts.timing.clocks import Clock, Yardstick
    from scripts.timing.growth import exponents

    sizes = QUICK if quick else FULL
    given = {
        "presets": presets,
        "few": presets,
        "lm_presets": lm_presets,
        "batch": batch,
        "micro_batch": micro_batch,
        "rows": rows,
    }
    sizes = replace(sizes, **{name: value for name, value in given.items() if value is not None})
    for folder in runs:
        load_config(folder)
    length = (0.2 if quick else 1.0) if seconds is None else seconds
    clock = Clock(choose_device(device), length, least=2 if quick else 3)
    console = Console(width=max(144, Console().width))
    yardstick = Yardstick(MATMUL[clock.device.type])
    products = ", ".join(f"{size} in {name}" for name, size in yardstick.sizes.items())
    console.print(f"{clock.device}; shares and ratios are of matrix products of {products}")
    record = {
        "environment": environment(),
        "device": str(clock.device),
        "matmul_sizes": yardstick.sizes,
    }
    with ExitStack() as stack:
        rivals = None
        if "peers" in parts:
            rivals = stack.enter_context(peer_folder.peers(peers))
            record["peer_versions"], record["peers_missing"] = rivals.versions, rivals.missing
            for name, why in rivals.missing.items():
                console.print(f"peers: without {name}: {why}")
        measured = Bench(sizes, clock, yardstick, precisions, modes, runs, rivals)
        for part in parts:  # each printed and written as soon as it is done
            record[part] = list(getattr(measured, part)())
            console.print(table(part, record[part]))
            if part == "scaling":
                record["exponents"] = exponents(record[part])
                console.print(table("exponents", record["exponents"]))
            if json is not None:
                write_json(json, record)
    if json is not None and "scaling" in record:
        plot_scaling(record["scaling"], json.with_name(f"{json.stem}-scaling.png"))


def main(words: Sequence[str]) -> int:
    parse(bench, words, "loopbench bench")()
    return 0
