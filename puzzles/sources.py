"""Puzzles generated: what `loopbench data sudoku | maze | make` builds; see `puzzles.built`."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from puzzles.agreement import disagreement
from puzzles.built import (
    WITHOUT_SEVENTEEN,
    Built,
    child_seed,
    composition_of,
    finish,
    hashes_of,
    mix_fractions,
    sudoku_set,
    tell,
)
from puzzles.dataset import Record, read_record, write_dataset
from puzzles.errors import DataError, InputError
from puzzles.kinds import puzzle_of
from puzzles.maze import generator as maze_generator
from puzzles.overlap import class_keys, split_classes
from puzzles.parallel import StageProgress, map_rows
from puzzles.plugins import watched
from puzzles.puzzle_set import PuzzleSet
from puzzles.rows import row_keys
from puzzles.sudoku import generator, rules
from puzzles.sudoku.mix import Mix, build_mix
from puzzles.validate import augmentation_fault, class_fault, describe, fault_codes, pair_fault

_POOL_SLACK = 1.1  # a searched pool is larger than what is drawn from it: some grids are excluded
_MOST_DRAWN = 64  # give up after drawing so many times the puzzles asked for


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

    size: 4, 6 or 9. train, test: how many puzzles. seed: of all that is drawn, 0 or more.
    hard, seventeen: CSV lists for the mix of 73 % hard, 25 % random minimal and 2 % 17-clue
        puzzles (75 % and 25 % without a 17-clue list).
    search_rounds: without lists, make the hard 75 % by so many rounds of pool search.
    progress: told of a stage's name, rows done and all rows; None: nobody is.

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
            part_seed = child_seed(seed, len(mixes))
            tell(progress, f"{split} puzzles", 0, rows)
            pools: list[Any] = list(hard) or [_searched_pool(rows, search_rounds, part_seed)]
            excluded = mixes[0].solutions if mixes else None
            fractions = mix_fractions(seventeen)
            mixes.append(build_mix(pools, seventeen, rows, part_seed, fractions, excluded))
            composition[split] = composition_of(mixes[-1])
            tell(progress, f"{split} puzzles", rows, rows)
        sets = [sudoku_set(mix.puzzles, mix.solutions) for mix in mixes]
    else:
        child = child_seed(seed, 0)

        def generate(n: int) -> PuzzleSet:
            make = partial(_generated, size, child)
            grids = map_rows(make, n, partial(progress, "puzzles") if progress else None)
            return sudoku_set(grids[:, 0], grids[:, 1])

        sets = _disjoint(generate, train, test, child)
    options = {
        "size": size,
        "train": train,
        "test": test,
        "hard": [Path(path).name for path in hard],
        "seventeen": None if seventeen is None else Path(seventeen).name,
        "search_rounds": search_rounds,
    }
    sources = hashes_of([*hard, *([] if seventeen is None else [seventeen])])
    record = Record("sudoku", seed, options, sources, composition=composition)
    return finish(sets, record, progress)


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
    seed: of all that is drawn, 0 or more.
    min_path: least number of cells of the shortest path, with S and G; hard only; None:
        `puzzles.maze.generator.default_min_path`, 110 at 30.
    openings: probability of opening each interior wall, in [0, 1]; unique only.
    progress: told of a stage's name, rows done and all rows; None: nobody is.

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
    tell(progress, "mazes", 0, train + test)
    sets = _disjoint(lambda n: PuzzleSet.ungrouped("maze", size, *make(n)), train, test, seed)
    tell(progress, "mazes", train + test, train + test)
    return finish(sets, Record("maze", seed, options), progress)


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
    seed: of all that is drawn, 0 or more.
    progress: told of a stage's name, rows done and all rows; None: nobody is.

    Raises ValueError for arguments that do not fit, DataError if too few puzzles can be found or
    one of them breaks the kind's own rules.
    """
    _check_arguments(train, test, seed)
    if size < 1:
        raise InputError(f"size is {size}, expected at least 1")
    puzzle = puzzle_of(kind)
    with watched(kind, "check_size"):
        try:
            puzzle.check_size(size * size)
        except ValueError as error:
            raise InputError(f"{kind}: {error}") from error

    def generate(n: int) -> PuzzleSet:
        with watched(kind, "generate"):
            pairs = puzzle.generate(size, n, child_seed(seed, 0))
        _expect(kind, "generate", partial(pair_fault, pairs, (n, size * size)))
        with watched(kind, "vocabulary"):
            return PuzzleSet.ungrouped(kind, size, *pairs)

    tell(progress, "puzzles", 0, train + test)
    sets = _disjoint(generate, train, test, child_seed(seed, 0))
    tell(progress, "puzzles", train + test, train + test)
    for part in sets:
        _expect(kind, "is_valid", partial(_wrong_puzzle, kind, part), "generates a wrong puzzle:")
    all_puzzles = (np.concatenate([getattr(p, n) for p in sets]) for n in ("inputs", "labels"))
    odd = disagreement(kind, *all_puzzles, child_seed(seed, 0))
    if odd is not None:
        raise DataError(f"{kind}: {odd}")
    for part in sets:
        pair = kind, part.inputs, part.labels
        _expect(kind, "augment", partial(augmentation_fault, *pair))
        _expect(kind, "class_keys", partial(class_fault, *pair))
    options = {"puzzle": kind, "size": size, "train": train, "test": test}
    return finish(sets, Record("make", seed, options), progress)


def _wrong_puzzle(kind: str, part: PuzzleSet) -> str | None:
    fault = describe(kind, fault_codes(kind, part.inputs, part.labels))
    return None if fault is None else fault[1]


def _expect(kind: str, method: str, look: Callable[[], str | None], says: str = "") -> None:
    """DataError where a look at a method of a kind finds a fault, or raises."""
    with watched(kind, method):
        fault = look()
    if fault is not None:
        raise DataError(f"{kind}: {says or method} {fault}")


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


def _check_arguments(train: int, test: int, seed: int) -> None:
    if train < 1 or test < 1:
        raise InputError(f"train is {train} and test {test}, expected at least 1 each")
    if seed < 0:
        raise InputError(f"seed is {seed}, expected 0 or more")
