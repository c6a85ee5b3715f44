"""Where puzzles come from: what the `loopbench data` commands build or import.

Every function returns (train, test, record) for `puzzles.dataset.write_dataset`. Train and test
never share a question; what they share up to symmetry is counted in the record. Sets generated or
split here have no equivalent questions across the two, and at 9x9 no common solution grid.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from puzzles.dataset import Record, read_record, sha256_of, write_dataset
from puzzles.difficulty import with_difficulty
from puzzles.errors import DataError, InputError
from puzzles.kinds import puzzle_of
from puzzles.maze import generator as maze_generator
from puzzles.overlap import class_keys, overlap_of, split_classes, split_groups
from puzzles.parallel import StageProgress, map_rows
from puzzles.published import open_source
from puzzles.puzzle_set import PuzzleSet
from puzzles.rows import row_keys
from puzzles.sudoku import generator, rules
from puzzles.sudoku.mix import FRACTIONS, SOURCES, Mix, build_mix
from puzzles.validate import describe, fault_codes

# Fractions of hard, random minimal and 17-clue puzzles where there is no list of the last.
WITHOUT_SEVENTEEN = (0.75, 0.25, 0.0)

HUB_SETS = {
    "sudoku-extreme": "sapientinc/sudoku-extreme",
    "maze-hard": "sapientinc/maze-30x30-hard-1k",
}

_POOL_SLACK = 1.1  # a searched pool is larger than what is drawn from it: some grids are excluded
_MOST_DRAWN = 64  # give up after drawing so many times the puzzles asked for


class Built(NamedTuple):
    """The arguments of `write_dataset` after the folder."""

    train: PuzzleSet
    test: PuzzleSet
    record: Record


# ------------------------------------------------------------------------------------- generating


def sudoku(
    size: int,
    train: int,
    test: int,
    seed: int,
    *,
    hard: Sequence[Path] = (),
    seventeen: Path | None = None,
    search_rounds: int = 0,
    progress: StageProgress | None = None,
) -> Built:
    """Sudokus with one solution each: random minimal ones, or a 9x9 mix with hard ones.

    size: 4, 6 or 9. train, test: how many puzzles.
    hard, seventeen: CSV lists for the mix of 73 % hard, 25 % random minimal and 2 % 17-clue
        puzzles (75 % and 25 % without a 17-clue list).
    search_rounds: without lists, make the hard 75 % by so many rounds of pool search.

    Raises ValueError for arguments that do not fit, DataError if too few puzzles can be found.
    """
    rules.geometry(size)
    _check_arguments(train, test, seed)
    if size != 9 and (hard or seventeen is not None or search_rounds):
        raise InputError(f"lists of puzzles and pool search need size 9, not {size}")
    if hard and search_rounds:
        raise InputError("give lists of hard puzzles or rounds of pool search, not both")
    if seventeen is not None and not hard:
        raise InputError("a list of 17-clue puzzles goes with lists of hard puzzles; give both")
    there = generator.MINIMAL_PUZZLES.get(size)
    if there is not None and train + test > there:
        raise DataError(
            f"{train + test:,} sudokus of size {size} were asked for, and there are {there:,} "
            "minimal ones (on 288 grids). Ask for fewer, or a larger size"
        )
    composition: dict[str, dict[str, int]] = {}
    if hard or search_rounds:
        mixes: list[Mix] = []
        for split, rows in (("train", train), ("test", test)):
            part_seed = _child(seed, len(mixes))
            _tell(progress, f"{split} puzzles", 0, rows)
            pools: list[Any] = list(hard) or [_searched_pool(rows, search_rounds, part_seed)]
            excluded = mixes[0].solutions if mixes else None
            fractions = _fractions(seventeen)
            mixes.append(build_mix(pools, seventeen, rows, part_seed, fractions, excluded))
            composition[split] = _composition(mixes[-1])
            _tell(progress, f"{split} puzzles", rows, rows)
        sets = [_sudoku_set(mix.puzzles, mix.solutions) for mix in mixes]
    else:
        child = _child(seed, 0)

        def generate(n: int) -> PuzzleSet:
            make = partial(_generated, size, child)
            grids = map_rows(make, n, partial(progress, "puzzles") if progress else None)
            return _sudoku_set(grids[:, 0], grids[:, 1])

        sets = _disjoint(generate, train, test, child)
    options = {
        "size": size,
        "train": train,
        "test": test,
        "hard": [Path(path).name for path in hard],
        "seventeen": None if seventeen is None else Path(seventeen).name,
        "search_rounds": search_rounds,
    }
    sources = _hashes([*hard, *([] if seventeen is None else [seventeen])])
    record = Record("sudoku", seed, options, sources, composition=composition)
    return _finish(sets, record, progress)


def maze(
    kind: Literal["hard", "unique"],
    size: int,
    train: int,
    test: int,
    seed: int,
    *,
    min_path: int | None = None,
    openings: float = 0.0,
    progress: StageProgress | None = None,
) -> Built:
    """Square mazes of one of the two published kinds.

    kind: "hard" as Maze-Hard (random walls, a long shortest path, many of them) or "unique" as the
        EqR set (one shortest path). size: cells a side. train, test: how many mazes.
    min_path: least number of cells of the shortest path, with S and G; hard only; None:
        `puzzles.maze.generator.default_min_path`, 110 at 30.
    openings: probability of opening each interior wall, in [0, 1]; unique only.

    Raises ValueError for arguments that do not fit, DataError if too few mazes can be found.
    """
    _check_arguments(train, test, seed)
    options: dict[str, Any] = {"kind": kind, "size": size, "train": train, "test": test}
    make: Callable[[int], tuple[np.ndarray, np.ndarray]]
    if kind == "hard":
        if openings:
            raise InputError("openings belong to kind unique; leave them out for hard")
        least = maze_generator.default_min_path(size) if min_path is None else min_path
        options["min_path"] = least
        make = partial(maze_generator.generate_hard, size=size, seed=seed, min_path=least)
    elif kind == "unique":
        if min_path is not None:
            raise InputError("min_path belongs to kind hard; leave it out for unique")
        options["openings"] = openings
        make = partial(maze_generator.generate_unique, size=size, seed=seed, openings=openings)
    else:
        raise InputError(f'maze kind is "{kind}", expected "hard" or "unique"')
    _tell(progress, "mazes", 0, train + test)
    sets = _disjoint(lambda n: PuzzleSet.ungrouped("maze", size, *make(n)), train, test, seed)
    _tell(progress, "mazes", train + test, train + test)
    return _finish(sets, Record("maze", seed, options), progress)


def make(
    kind: str,
    size: int,
    train: int,
    test: int,
    seed: int,
    *,
    progress: StageProgress | None = None,
) -> Built:
    """Puzzles of any kind of `puzzles.kinds`, by its own `generate`.

    size: cells a side. train, test: how many puzzles; none is in both, nor equivalent to one.

    Raises ValueError for arguments that do not fit, DataError if too few puzzles can be found or
    one of them breaks the kind's own rules.
    """
    _check_arguments(train, test, seed)
    if size < 1:
        raise InputError(f"size is {size}, expected at least 1")
    puzzle = puzzle_of(kind)

    def generate(n: int) -> PuzzleSet:
        return PuzzleSet.ungrouped(kind, size, *puzzle.generate(size, n, _child(seed, 0)))

    _tell(progress, "puzzles", 0, train + test)
    sets = _disjoint(generate, train, test, _child(seed, 0))
    _tell(progress, "puzzles", train + test, train + test)
    for part in sets:
        fault = describe(kind, fault_codes(kind, part.inputs, part.labels))
        if fault is not None:
            raise DataError(f"{kind}: generates a wrong puzzle: {fault[1]}")
    options = {"puzzle": kind, "size": size, "train": train, "test": test}
    return _finish(sets, Record("make", seed, options), progress)


def generate_into(folder: Path, make: Callable[..., Built], /, **asked: Any) -> None:
    """Write make(**asked) to a folder, or keep what is there if it was made by the same arguments.

    make: `sudoku` or `maze`. DataError if the folder holds something else.
    """
    if not folder.exists():
        write_dataset(folder, *make(**asked))
        return
    record = read_record(folder) or {}
    known = {"seed": record.get("seed"), **record.get("options", {})}
    wrong = [f"{name} {known.get(name)}" for name in asked if known.get(name) != asked[name]]
    if record.get("command") != make.__name__ or wrong:
        wanted = ", ".join(f"{name} {value}" for name, value in asked.items())
        raise DataError(
            f"{folder}: holds other puzzles ({', '.join(wrong) or 'of another kind'}) than "
            f"{make.__name__}, {wanted}. Remove it or choose another output folder"
        )


def _fractions(seventeen: Path | None) -> tuple[float, float, float]:
    return WITHOUT_SEVENTEEN if seventeen is None else FRACTIONS


def _generated(size: int, seed: int, rows: slice) -> np.ndarray:
    """Puzzles and solutions, digits (N, 2, L), number rows.start to rows.stop of the seed."""
    grids = generator.generate(rows.stop - rows.start, size, seed, first=rows.start)
    return np.stack(grids, axis=1)


def _searched_pool(rows: int, rounds: int, seed: int) -> np.ndarray:
    """Hard puzzles, digits (N, 81), enough for the hard part of a mix of `rows`."""
    members = int(WITHOUT_SEVENTEEN[0] * rows * _POOL_SLACK) + 16
    start, _ = generator.generate(members, 9, seed)
    return generator.search_hard(start, rounds, seed).puzzles


def _disjoint(
    make: Callable[[int], PuzzleSet], train: int, test: int, seed: int
) -> list[PuzzleSet]:
    """Train and test sets from a generator of n puzzles, with no equivalent questions in both.

    The test part gets its share of the classes, not just enough of them for `test` puzzles: minimal
    4x4 puzzles have few (36), and one could fill the test set.
    """
    wanted = drawn = train + test
    while drawn <= _MOST_DRAWN * wanted:
        whole = make(drawn)
        _, distinct = np.unique(row_keys(whole.inputs), return_index=True)
        whole = whole.take_groups(np.sort(distinct))
        train_rows, test_rows = split_classes(class_keys(whole), test, seed, test / wanted)
        if len(train_rows) >= train and len(test_rows) >= test:
            return [whole.take_groups(rows) for rows in (train_rows[:train], test_rows[:test])]
        drawn *= 2
    raise DataError(
        f"a {whole.kind} of size {whole.size} has too few different puzzles: {len(whole)} in "
        f"{drawn // 2} drawn, for {train} train and {test} test puzzles. Ask for fewer"
    )


def _sudoku_set(puzzles: np.ndarray, solutions: np.ndarray) -> PuzzleSet:
    size = rules.geometry_of(puzzles).size
    tokens = rules.to_tokens(puzzles), rules.to_tokens(solutions)
    return PuzzleSet.ungrouped("sudoku", size, *tokens)


def _composition(mix: Mix) -> dict[str, int]:
    counts = np.bincount(mix.sources, minlength=len(SOURCES)).tolist()
    return dict(zip(SOURCES, counts, strict=True))


# -------------------------------------------------------------------------------------- importing


def import_path(
    path: str | Path,
    *,
    seed: int = 0,
    subsample: int | None = None,
    test: int | Literal["all"] | None = None,
    test_hard: Sequence[Path] = (),
    test_seventeen: Path | None = None,
    progress: StageProgress | None = None,
) -> Built:
    """Import a CSV file, a folder with train.csv and test.csv, a dataset or a folder of arrays.

    seed: of the rows drawn. subsample: training puzzles, drawn uniformly; None keeps all.
    test: test puzzles. A source with a test split of its own gives so many of it ("all" or None:
        all); otherwise they are split off the puzzles, see `puzzles.overlap.split_groups`, or are
        "all" of them, which leaves no training puzzles.
    test_hard, test_seventeen: build the test puzzles as a 9x9 mix of these lists instead, as
        `sudoku` does, on no solution grid of the training puzzles.

    Every row kept is solved to check its answer. Raises DataError at the first wrong one,
    ValueError for arguments that do not fit.
    """
    if seed < 0:
        raise InputError(f"seed is {seed}, expected 0 or more")
    path = Path(path)
    whole, held_out = open_source(path)
    rng = np.random.default_rng(_child(seed, 0))
    composition: dict[str, dict[str, int]] = {}
    lists = [*test_hard, *([] if test_seventeen is None else [test_seventeen])]
    if lists and held_out is not None:
        raise InputError(f"{path} has a test split of its own; leave the lists of test puzzles out")
    train_groups, test_groups = np.arange(whole.puzzles.groups), None
    if test == "all" and lists:
        raise InputError("--test all takes no lists of test puzzles; give their number, --test N")
    if held_out is not None:
        wanted = None if test == "all" else test
        test_groups = _draw(np.arange(held_out.puzzles.groups), wanted, rng, "test", path)
    elif test is None or (test != "all" and test < 1):
        raise InputError(
            f"{path} has no test split; give the number of test puzzles, --test N, or --test all"
        )
    elif test == "all":
        if subsample is not None:
            raise InputError("--test all leaves no training puzzles to draw; give --test N")
        train_groups, test_groups = train_groups[:0], train_groups
    elif not lists:
        train_groups, test_groups = split_groups(whole.puzzles, test, _child(seed, 1))
    train_groups = _draw(train_groups, subsample, rng, "training", path)
    train_set = whole.select(train_groups, "checking train", progress)
    if lists:
        mix = _test_mix(train_set, test, test_hard, test_seventeen, _child(seed, 1))
        test_set = _sudoku_set(mix.puzzles, mix.solutions)
        composition["test"] = _composition(mix)
    else:
        test_set = (held_out or whole).select(test_groups, "checking test", progress)
    options = {
        "source": path.name,
        "subsample": subsample,
        "test": test,
        "test_hard": [Path(name).name for name in test_hard],
        "test_seventeen": None if test_seventeen is None else Path(test_seventeen).name,
    }
    files = [*whole.files, *([] if held_out is None else held_out.files), *lists]
    record = Record("import", seed, options, _hashes(files, path), composition=composition)
    return _finish([train_set, test_set], record, progress)


def import_hub(
    name: str,
    *,
    seed: int = 0,
    subsample: int | None = None,
    test: int | Literal["all"] | None = None,
    progress: StageProgress | None = None,
) -> Built:
    """Download a published set from the Hugging Face hub and import it.

    name: "sudoku-extreme" or "maze-hard" (or the repository's full name). Other arguments as in
    `import_path`. Raises DataError if huggingface_hub is not installed or the hub not reached.
    """
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
        files[0].parent, seed=seed, subsample=subsample, test=test, progress=progress
    )
    options = {**built.record.options, "source": repository}
    return built._replace(record=replace(built.record, options=options))


def _test_mix(
    train: PuzzleSet, test: int, hard: Sequence[Path], seventeen: Path | None, seed: int
) -> Mix:
    if train.kind != "sudoku" or train.size != 9:
        raise InputError(f"lists of test puzzles need 9x9 sudokus, not a {train.kind} {train.size}")
    if not hard:
        raise InputError("a list of 17-clue test puzzles goes with lists of hard ones; give both")
    solutions = rules.from_tokens(train.labels)
    return build_mix(list(hard), seventeen, test, seed, _fractions(seventeen), solutions)


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


# ----------------------------------------------------------------------------------------- shared


def _finish(sets: list[PuzzleSet], record: Record, progress: StageProgress | None) -> Built:
    """Rate both sets and count what they share. DataError if they share a question."""
    shared = overlap_of(*sets)
    if shared["identical_puzzles"]:
        raise DataError(
            f"train and test share {shared['identical_puzzles']} questions. "
            "Remove them from one, or import one file and split it"
        )
    train, test = with_difficulty(*sets, _child(record.seed or 0, 2), progress)
    return Built(train, test, replace(record, overlap=shared))


def _check_arguments(train: int, test: int, seed: int) -> None:
    if train < 1 or test < 1:
        raise InputError(f"train is {train} and test {test}, expected at least 1 each")
    if seed < 0:
        raise InputError(f"seed is {seed}, expected 0 or more")


def _child(seed: int, index: int) -> int:
    """An independent 64-bit seed for each use of a command's seed."""
    return int(np.random.SeedSequence(seed, spawn_key=(index,)).generate_state(1, np.uint64)[0])


def _hashes(files: Iterable[str | Path], root: Path | None = None) -> dict[str, str]:
    """Name (relative to a root folder that holds the file) -> sha256, hex."""
    hashes = {}
    for file in map(Path, files):
        inside = root is not None and root.is_dir() and file.is_relative_to(root)
        hashes[file.relative_to(root).as_posix() if inside else file.name] = sha256_of(file)
    return hashes


def _tell(progress: StageProgress | None, stage: str, done: int, rows: int) -> None:
    if progress is not None:
        progress(stage, done, rows)
