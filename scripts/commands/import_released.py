"""`loopbench import-released`: the weights of a publication as a run; see
`scripts.runs.import_released`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from baselines.released_settings import ReleasedError, System, Unstated
from reasoning.training.runs import RunError
from scripts.terminal.choices import ReleasedKind
from scripts.terminal.folders import keep_apart
from scripts.usage import parse


def import_released(
    file: Annotated[Path, tyro.conf.Positional],
    model: System,
    out: Path,
    kind: ReleasedKind | None = None,
    unstated: Annotated[Unstated, tyro.conf.arg(name="")] = Unstated(),  # noqa: B008, frozen
) -> None:
    """Turn a state dict that HRM's, TRM's or EqR's authors release, or a checkpoint of EqR's, into
    a run.

    The all_config.yaml that they save beside it is read where it lies there; options go before it.

    Args:
        file: the released file; loaded as tensors only, no code in it is run.
        model: whose release it is.
        out: folder to write the run to; it must not hold one already.
        kind: puzzles it answers; none: by vocabulary and cells.
        unstated: what the file's tensors do not say. None: by all_config.yaml, or as published.
    """
    if (out / "config.json").exists():
        raise RunError(f"{out}: already holds a run; choose another --out")
    keep_apart(out, "puzzle run")
    try:
        file.open("rb").close()
    except OSError as error:
        raise ReleasedError(f"{file}: cannot be read ({error.strerror})") from error

    from scripts.runs.import_released import bring_in

    bring_in(file, model, out, kind, unstated)


def main(words: Sequence[str]) -> int:
    parse(import_released, words, "loopbench import-released")()
    return 0
