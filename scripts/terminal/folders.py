"""What a folder is, so that one given to the wrong command is told by its name."""

import json
from pathlib import Path
from typing import Literal

from reasoning.names import MANIFEST_FILE, PLAN_FILE, TOKENIZER_FILE
from scripts.terminal.choices import PACKAGED
from scripts.usage import UsageError

Kind = Literal["puzzle run", "language run", "data", "corpus", "tokenizer", "comparison"]
_HUB = "hub:"  # before a name on the Hugging Face hub
_IS: dict[Kind, str] = {
    "puzzle run": "a run on puzzles",
    "language run": "a pretraining run",
    "data": "a folder of puzzles",
    "corpus": "a corpus of text",
    "tokenizer": "a tokenizer",
    "comparison": "a comparison",
}
_TAKEN_BY: dict[Kind, str] = {
    "puzzle run": "`evaluate`, `compare`, `solve` and `train --resume` take it",
    "language run": "`evaluate-lm`, `generate` and `pretrain --resume` take it",
    "data": "`train --data` and `evaluate --data` take it",
    "corpus": "`pretrain --corpus` and `evaluate-lm --corpus` take it",
    "tokenizer": "`corpus build --tokenizer` takes it",
    "comparison": "the folders in it are its runs",
}
_MADE_BY: dict[Kind, str] = {
    "puzzle run": "`loopbench train` makes a run",
    "language run": "`loopbench pretrain` makes a run",
    "data": "`loopbench data` makes one",
    "corpus": "`loopbench corpus build` makes one",
}


def kind_of(folder: Path) -> Kind | None:
    """What a folder is; None if that cannot be told."""
    if (folder / "config.json").is_file():
        return _kind_of_run(folder / "config.json")
    if any((folder / split / "dataset.json").is_file() for split in ("train", "test")):
        return "data"
    if any((folder / name).is_file() for name in (MANIFEST_FILE, PLAN_FILE)):
        return "corpus"
    if (folder / TOKENIZER_FILE).is_file():
        return "tokenizer"
    return "comparison" if (folder / "comparison.json").is_file() else None


def _kind_of_run(path: Path) -> Kind | None:
    try:
        record = json.loads(path.read_text())
    except (OSError, ValueError):
        return None  # whoever reads it says what is wrong
    if not isinstance(record, dict):
        return None
    if "grid" in record:
        return "puzzle run"
    return "language run" if {"tokenizer", "corpus"} <= record.keys() else None


def keep_apart(out: Path, wanted: Kind) -> None:
    """UsageError if `out` is a folder of another kind than is to be written there: a run's
    config.json among puzzles, say, and no command would take them for puzzles any more."""
    kind = kind_of(out)
    if kind not in (None, wanted):
        raise UsageError(f"{out}: is {_IS[kind]}; choose another --out")


def expect(folder: str | Path, wanted: Kind) -> None:
    """UsageError if there is no such folder, or it is of another kind than wanted."""
    folder = Path(folder)
    if wanted == "data" and str(folder).startswith(_HUB):
        name = str(folder).removeprefix(_HUB)
        raise UsageError(f"{folder}: fetch it by `loopbench data pull {name} --out DIR`, give DIR")
    if not folder.is_dir():
        what = "not a folder" if folder.exists() else "no such folder"
        raise UsageError(f"{folder}: {what}; {_MADE_BY[wanted]}")
    kind = kind_of(folder)
    if kind not in (None, wanted):
        raise UsageError(f"{folder}: is {_IS[kind]}, not {_IS[wanted]}; {_TAKEN_BY[kind]}")
    if wanted.endswith("run") and not (folder / "config.json").is_file():
        raise UsageError(f"{folder}: is not a run's folder (no config.json); {_MADE_BY[wanted]}")


def expect_weights_of(run: Path) -> None:
    """UsageError if this is neither a puzzle run's folder nor a file that `package` wrote."""
    if run.suffix != PACKAGED:
        expect(run, "puzzle run")
    elif not (run.is_file() and run.with_suffix(".json").is_file()):
        lacks = "no card (.json) beside it" if run.is_file() else "no such file"
        raise UsageError(f"{run}: {lacks}; `loopbench package` makes both of a run")
