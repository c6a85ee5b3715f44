"""What `loopbench bench` is asked for: read, and refused, before torch is loaded."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reasoning.names import Device
from scripts.models.lm_presets import language_preset
from scripts.models.presets import preset
from scripts.terminal.choices import PARTS, Mode, Part, Precision
from scripts.terminal.folders import expect
from scripts.usage import UsageError, above_0, at_least


@dataclass(frozen=True)
class BenchAsked:
    """What to time, and how."""

    quick: bool = False
    """presets of the small scales, small batches and few repetitions, for a CPU."""
    json: Path | None = None
    """file for the figures; STEM-scaling.png is drawn beside it."""
    device: Device = "auto"
    """where to run; auto: the best present."""
    parts: tuple[Part, ...] = PARTS
    """what to measure; all but peers (fixed-point solvers of torchdeq and optimistix beside ours),
    for which pip must be able to install these."""
    presets: tuple[str, ...] | None = None
    """puzzle presets; none: every one of 7m and 27m, or of cpu with --quick, and for all but
    training the Attractor and TRM of the smallest."""
    lm_presets: tuple[str, ...] | None = None
    """language presets; none: by --quick."""
    precisions: tuple[Precision, ...] = ("fp32", "bf16")
    """activations."""
    modes: tuple[Mode, ...] = ("eager", "compiled")
    """how the nets run; compiled needs a C++ compiler on a CPU."""
    runs: tuple[Path, ...] = ()
    """folders of trained runs to evaluate too, on their own held-out puzzles."""
    peers: Path | None = None
    """a folder that pip installed torchdeq and optimistix into with --target; a new one is filled;
    none: a temporary one. Only with --parts peers."""
    batch: int | None = None
    """slots of a puzzle step (scaling has its own); none: the preset's, or 8 for training with
    --quick."""
    micro_batch: int | None = None
    """slots of a forward pass of a puzzle step; none: all at once, or 192 where the nets have eight
    layers."""
    rows: int | None = None
    """rows of a language step; none: the preset's, or 2 with --quick."""
    seconds: float | None = None
    """how long every figure is measured; none: 1, or 0.2 with --quick."""

    def check(self) -> None:
        """UsageError for what cannot be asked for."""
        at_least(1, batch=self.batch, micro_batch=self.micro_batch, rows=self.rows)
        above_0(seconds=self.seconds)
        for name in self.presets or ():
            preset(name)
        for name in self.lm_presets or ():
            language_preset(name)
        if self.json is not None and not self.json.parent.is_dir():
            raise UsageError(f"--json: there is no folder {self.json.parent}; make it first")
        for folder in self.runs:
            expect(folder, "puzzle run")
        if self.peers is not None and "peers" not in self.parts:
            raise UsageError("--peers: is for --parts peers; add peers to --parts or drop it")

    def sizes(self) -> dict[str, Any]:
        """What takes the place of `Sizes` that are so by default."""
        names = ("presets", "lm_presets", "batch", "micro_batch", "rows")
        given = {name: getattr(self, name) for name in names} | {"few": self.presets}
        return {name: value for name, value in given.items() if value is not None}
