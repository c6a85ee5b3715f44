"""`loopbench package`: a run's weights, to ship with loopbench; see `scripts.runs.pretrained`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from reasoning.names import Device
from scripts.terminal.choices import WEIGHTS
from scripts.terminal.folders import expect
from scripts.usage import at_least, parse


def package(
    run: Annotated[Path, tyro.conf.Positional],
    data: Path,
    segments: int | None = None,
    out: Path = WEIGHTS,
    device: Device = "auto",
    replace: bool = False,
) -> None:
    """Round a run's averaged weights to bf16, score them as they will ship, and write both files.

    Args:
        run: folder of a trained run.
        data: folder of the held-out puzzles, of the size that the weights are to serve; its record
            says how they were made.
        segments: segments of the score; none: as the run was configured.
        out: folder to write to; none: where loopbench looks for weights.
        device: where to score; auto: the best present.
        replace: put the weights in the place of those that are there for the puzzles' size.
    """
    at_least(1, segments=segments)
    expect(run, "puzzle run")
    expect(data, "data")

    from scripts.runs import pretrained

    pretrained.package(run, data, segments, out, device, replace)


def main(words: Sequence[str]) -> int:
    parse(package, words, "loopbench package")()
    return 0
