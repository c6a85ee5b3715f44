"""Puzzles of others: what `loopbench data import` reads; see `puzzles.built`."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from puzzles.built import (
    Built,
    child_seed,
    composition_of,
    finish,
    hashes_of,
    mix_fractions,
    sudoku_set,
)
from puzzles.dataset import Record
from puzzles.errors import DataError, InputError
from puzzles.overlap import split_groups
from puzzles.parallel import Progress, StageProgress
from puzzles.published import open_source
from puzzles.puzzle_set import PuzzleSet
from puzzles.sudoku import rules
from puzzles.sudoku.mix import Mix, build_mix
from puzzles.sudoku.neighbours import check_each
from puzzles.sudoku.neighbours import neighbours as find_neighbours

HUB_SETS = {
    "sudoku-extreme": "sapientinc/sudoku-extreme",
    "maze-hard": "sapientinc/maze-30x30-hard-1k",
}


def import_path(
    path: str | Path,
    *,
    seed: int = 0,
    subsample: int | None = None,
    test: int | Literal["all"] | None = None,
    test_hard: Sequence[Path] = (),
    test_seventeen: Path | None = None,
    neighbours: int | None = None,
    progress: StageProgress | None = None,
) -> Built:
    """Import a CSV file, a folder with train.csv and test.csv, a dataset or a folder of arrays.

    path: of the source.
    seed: of the rows drawn. subsample: training puzzles, drawn uniformly; None keeps all.
    test: test puzzles. A source with a test split of its own gives so many of it ("all" or None:
        all); otherwise they are split off the puzzles, see `puzzles.overlap.split_groups`, or are
        "all" of them, which leaves no training puzzles.
    test_hard, test_seventeen: build the test puzzles as a 9x9 mix of these lists instead, as
        `sudoku` does, on no solution grid of the training puzzles.
    neighbours: so many more training puzzles for each that is there (9x9 sudoku), in its group and
        on no solution grid of the test puzzles: see `puzzles.sudoku.neighbours`.
    progress: told of a stage's name, rows done and all rows; None: nobody is.

    Every row kept is solved to check its answer. Raises DataError at the first wrong one,
    ValueError for arguments that do not fit.
    """
    if seed < 0:
        raise InputError(f"seed is {seed}, expected 0 or more")
    if neighbours is not None:
        check_each(neighbours)
    path = Path(path)
    whole, held_out = open_source(path)
    if neighbours is not None:
        _check_9x9(whole.puzzles, "only 9x9 sudokus have neighbours")
    lists = [*test_hard, *([] if test_seventeen is None else [test_seventeen])]
    _check_test(path, held_out is not None, test, lists, subsample, neighbours)
    rng = np.random.default_rng(child_seed(seed, 0))
    composition: dict[str, dict[str, int]] = {}
    train_groups, test_groups = np.arange(whole.puzzles.groups), None
    if held_out is not None:
        wanted = None if test == "all" else test
        test_groups = _draw(np.arange(held_out.puzzles.groups), wanted, rng, "test", path)
    elif test == "all":
        train_groups, test_groups = train_groups[:0], train_groups
    elif not lists:
        train_groups, test_groups = split_groups(whole.puzzles, test, child_seed(seed, 1))
    train_groups = _draw(train_groups, subsample, rng, "training", path)
    train_set = whole.select(train_groups, "checking train", progress)
    if lists:
        mix = _test_mix(train_set, test, test_hard, test_seventeen, child_seed(seed, 1))
        test_set = sudoku_set(mix.puzzles, mix.solutions)
        composition["test"] = composition_of(mix)
    else:
        test_set = (held_out or whole).select(test_groups, "checking test", progress)
    if neighbours is not None:
        tell = partial(progress, "neighbours") if progress else None
        draw = child_seed(seed, 3)
        train_set, composition["train"] = _neighboured(train_set, test_set, neighbours, draw, tell)
    options = {
        "source": path.name,
        "subsample": subsample,
        "test": test,
        "test_hard": [Path(name).name for name in test_hard],
        "test_seventeen": None if test_seventeen is None else Path(test_seventeen).name,
        "neighbours": neighbours,
    }
    files = [*whole.files, *([] if held_out is None else held_out.files), *lists]
    record = Record("import", seed, options, hashes_of(files, path), composition=composition)
    return finish([train_set, test_set], record, progress)


def _check_test(
    path: Path,
    has_split: bool,
    test: int | Literal["all"] | None,
    lists: Sequence[Path],
    subsample: int | None,
    neighbours: int | None,
) -> None:
    """InputError where what is asked of the test puzzles does not fit the source or the rest."""
    if has_split and lists:
        raise InputError(f"{path} has a test split of its own; leave the lists of test puzzles out")
    if test == "all" and lists:
        raise InputError("--test all takes no lists of test puzzles; give their number, --test N")
    if has_split:
        return
    if test is None or (test != "all" and test < 1):
        raise InputError(
            f"{path} has no test split; give the number of test puzzles, --test N, or --test all"
        )
    if test == "all" and subsample is not None:
        raise InputError("--test all leaves no training puzzles to draw; give --test N")
    if test == "all" and neighbours is not None:
        raise InputError("--test all leaves no training puzzles for neighbours; give --test N")


def import_hub(
    name: str,
    *,
    seed: int = 0,
    subsample: int | None = None,
    test: int | Literal["all"] | None = None,
    neighbours: int | None = None,
    progress: StageProgress | None = None,
) -> Built:
    """Download a published set from the Hugging Face hub and import it.

    name: "sudoku-extreme" or "maze-hard" (or the repository's full name). seed, subsample, test,
    neighbours, progress: as in `import_path`. Raises DataError if huggingface_hub is not installed
    or the hub not reached.
    """
    if neighbours is not None:
        check_each(neighbours)
    repository = HUB_SETS.get(name, name)
    if repository not in HUB_SETS.values():
        raise InputError(f'no hub set "{name}"; there are {", ".join(HUB_SETS)}')
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError
    except ImportError as error:
        raise DataError("downloading needs huggingface_hub: pip install huggingface_hub") from error
    try:
        files = [
            Path(hf_hub_download(repository, f"{split}.csv", repo_type="dataset"))
            for split in ("train", "test")
        ]
    except (OSError, HfHubHTTPError) as error:
        reason = " ".join(str(error).split("\n")[0].split()).rstrip(".") or type(error).__name__
        raise DataError(
            f"{repository}: cannot be downloaded ({reason}). Check the network, or download its "
            "train.csv and test.csv elsewhere and import their folder"
        ) from error
    built = import_path(
        files[0].parent,
        seed=seed,
        subsample=subsample,
        test=test,
        neighbours=neighbours,
        progress=progress,
    )
    options = {**built.record.options, "source": repository}
    return built._replace(record=replace(built.record, options=options))


def _test_mix(
    train: PuzzleSet, test: int, hard: Sequence[Path], seventeen: Path | None, seed: int
) -> Mix:
    _check_9x9(train, "lists of test puzzles need 9x9 sudokus")
    if not hard:
        raise InputError("a list of 17-clue test puzzles goes with lists of hard ones; give both")
    solutions = rules.from_tokens(train.labels)
    return build_mix(list(hard), seventeen, test, seed, mix_fractions(seventeen), solutions)


def _check_9x9(puzzles: PuzzleSet, told: str) -> None:
    if puzzles.kind != "sudoku" or puzzles.size != 9:
        raise InputError(f"{told}, not a {puzzles.kind} {puzzles.size}")


def _neighboured(
    train: PuzzleSet, test: PuzzleSet, each: int, seed: int, progress: Progress | None
) -> tuple[PuzzleSet, dict[str, int]]:
    """The training puzzles, each with its neighbours after it in its group, and their counts."""
    new = find_neighbours(
        rules.from_tokens(train.inputs),
        each,
        seed,
        exclude_solutions=rules.from_tokens(test.labels),
        progress=progress,
    )
    parents = np.concatenate([np.arange(len(train)), new.parents])
    order = np.argsort(parents, kind="stable")  # a puzzle, then its neighbours
    before = np.searchsorted(parents[order], train.group_offsets)
    inputs, labels = (
        np.concatenate([there, rules.to_tokens(more)])[order]
        for there, more in ((train.inputs, new.puzzles), (train.labels, new.solutions))
    )
    ids = train.puzzle_ids[parents[order]]
    both = PuzzleSet(train.kind, train.size, inputs, labels, ids, before.astype(np.int64))
    return both, {"source": len(train), "neighbours": len(new.parents)}


def _draw(
    groups: np.ndarray, wanted: int | None, rng: np.random.Generator, name: str, path: Path
) -> np.ndarray:
    """`wanted` of the groups, uniformly and in their old order; all of them if None."""
    if wanted is None:
        return groups
    if not 0 < wanted <= len(groups):
        raise DataError(
            f"{path}: {wanted} {name} puzzles asked for, {len(groups)} there. "
            f"Ask for 1 to {len(groups)}"
        )
    return np.sort(rng.choice(groups, wanted, replace=False))
