"""`loopbench export`: a run as ONNX or torch.export files; see `scripts.exchange.export`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from scripts.terminal.choices import Target
from scripts.terminal.extras import need
from scripts.terminal.folders import expect, keep_apart
from scripts.usage import parse


def export(
    run: Annotated[Path, tyro.conf.Positional],
    to: Target,
    out: Path | None = None,
) -> int:
    """Write a run's averaged weights as programs that need no loopbench: its map (one cycle), its
    heads, and the whole solve with its loop of segments; each is compared with the run first.

    Args:
        run: folder of a trained run on puzzles.
        to: onnx: for onnxruntime, needs the extra `export`; torch: for torch.export.load.
        out: folder to write to; none: RUN/onnx or RUN/torch.
    """
    expect(run, "puzzle run")
    if out is not None:
        keep_apart(out, "puzzle run")
    if to == "onnx":
        need("export --to onnx", "export", "onnx", "onnxscript", "onnxruntime")

    from scripts.exchange import export as exporting

    return exporting.export(run, to, out)


def main(words: Sequence[str]) -> int:
    return parse(export, words, "loopbench export")()
