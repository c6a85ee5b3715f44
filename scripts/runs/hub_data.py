"""Data sets on the Hugging Face hub: `loopbench data push` and `loopbench data pull`.

A repository of type dataset holds the folder as it is (`puzzles.dataset`), and README.md, the card
made of what is recorded there. Every row is checked before it is pushed, and again once pulled.
"""

import os
import shutil
import tempfile
from pathlib import Path

from puzzles.check import CheckReport, check_dataset
from puzzles.dataset import (
    RECORD_FILE,
    SPLITS,
    check_output,
    difficulty_summary,
    read_record,
    read_split,
)
from puzzles.errors import DataError
from puzzles.parallel import StageProgress
from scripts.runs.hub_cards import render_card, told_options
from scripts.runs.hub_names import PREFIX, told

FILES = (
    *("identifiers.json", RECORD_FILE),
    *(f"{split}/{name}" for split in SPLITS for name in ("dataset.json", "all__*.npy")),
)


def card(folder: Path, name: str, report: CheckReport) -> str:
    """The dataset card of a folder that was checked, for a repository's name."""
    record = read_record(folder) or {}
    splits = []
    for split in SPLITS:
        part = read_split(folder, split, may_be_empty=True)
        summary = difficulty_summary(part)
        splits.append(
            {"name": split, "puzzles": len(part), "groups": part.groups} | (summary or {})
        )
    return render_card(
        "hub_data_card.md.j2",
        name=name,
        place=name.partition("/")[2],
        kind=report.kind,
        size=report.size,
        cells=report.size**2,
        splits=splits,
        size_category=_size_category(sum(report.puzzles.values())),
        difficulty=record.get("difficulty", {}).get("name"),
        first_paths=report.first_paths,
        overlap=report.overlap,
        command=record.get("command"),
        seed=record.get("seed"),
        options=told_options(record),
        sources=record.get("sources", {}),
    )


def _size_category(puzzles: int) -> str:
    """The hub's own words for how large a set is, up to ten million."""
    edges = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"))
    edges += ((1_000_000, "100K<n<1M"), (10_000_000, "1M<n<10M"))
    return next((category for most, category in edges if puzzles < most), "n>10M")


def push_data(folder: Path, name: str, private: bool, progress: StageProgress) -> None:
    """Upload a data folder. DataError, nothing sent, if a row of it is wrong; RunError if the hub
    refuses.

    name: the repository, USER/NAME, made if it is not there; private: whether one that is made then
    is its owner's alone to see; progress: told how far the check of the rows is.
    """
    from huggingface_hub import HfApi

    report = check_dataset(folder, progress)
    with tempfile.TemporaryDirectory() as place:
        _copy(folder, Path(place))
        (Path(place) / "README.md").write_text(card(folder, name, report), encoding="utf-8")
        with told(name):
            api = HfApi()
            api.create_repo(name, repo_type="dataset", private=private, exist_ok=True)
            api.upload_folder(
                repo_id=name,
                repo_type="dataset",
                folder_path=place,
                commit_message="A loopbench data set",
            )


def pull_data(name: str, out: Path, progress: StageProgress) -> None:
    """Download a data set that was pushed into a new folder, all of it or nothing.

    DataError if it is none, or not whole, or a row of it is wrong; RunError if the hub refuses.
    """
    from huggingface_hub import snapshot_download

    check_output(out)
    with told(name):
        snapshot = Path(snapshot_download(name, repo_type="dataset", allow_patterns=list(FILES)))
    if not (snapshot / "train" / "dataset.json").is_file():
        raise DataError(f"{PREFIX}{name}: is not a data set that loopbench pushed")
    # What a stranger wrote does not choose a module to import here.
    if ":" in str((read_record(snapshot) or {}).get("kind", "")):
        raise DataError(
            f"{PREFIX}{name}: its puzzles are of a kind of their own: look at what it is, and "
            "download its files with `hf download --repo-type dataset`"
        )
    check_dataset(snapshot, progress)
    out = out.absolute()
    temporary = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        temporary.mkdir(parents=True)
        _copy(snapshot, temporary)
        os.replace(temporary, out)
    except OSError as error:
        raise DataError(
            f"{out}: cannot write the data set ({error.strerror}); free space or choose another "
            "--out; nothing was kept"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # gone already when all went well


def _copy(folder: Path, to: Path) -> None:
    """The files of a data set, and nothing that lies beside them."""
    for pattern in FILES:
        for path in folder.glob(pattern):
            target = to / path.relative_to(folder)
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(path, target)  # what a link of the hub's cache points to
