#!/usr/bin/env bash
# pandas, pyarrow, polars, datasets, duckdb: puzzles written as digits become numbers when read from CSV.
#
# Guess: a reader that finds out a column's type keeps 81 digits as text, as no integer type holds them,
# and 36 and 16 digits as well, for a number has no leading zeros: what is read is what was written.
# Seen with pandas 3.1.1, pyarrow 26.0.1, polars 2.1.0, datasets 5.2.0, duckdb 2.0.1, for 100 sudokus each
# with blanks as 0: only duckdb keeps the questions. pandas makes Python integers of them, of any
# length, and of those that begin with a blank, half, the leading zeros are gone. pyarrow makes float64 of
# 36 and 81 digits, for pandas' engine="pyarrow" too: no puzzle is left. polars reads 36 as pandas does
# and raises at 81; datasets raises at 36 and 81. Their answers become numbers in all of them, bytes at
# 81 in duckdb, and they do so with blanks as dots, where the questions are kept, or all is refused.
# Matters for sudokus of the usual form, a question and an answer of 81 digits, which are shared as CSV
# files. Name the columns' type: dtype=str, column_types, schema_overrides, features, all_varchar.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" \
    pandas==3.1.1 pyarrow==26.0.1 polars==2.1.0 datasets==5.2.0 duckdb==2.0.1 numpy==2.4.6
cd "$folder"
HF_HUB_OFFLINE=1 HF_HOME="$folder/home" PYTHONPATH="$folder" python3 -W ignore - <<'PY'
import random
import sys
from importlib.metadata import version

import datasets
import duckdb
import pandas
import polars
import pyarrow.csv

datasets.disable_progress_bars()
datasets.logging.set_verbosity(datasets.logging.CRITICAL)
random.seed(0)
names = ("pandas", "pyarrow", "polars", "datasets", "duckdb")
print(*(f"{name} {version(name)}" for name in names))
COLUMNS = ("question", "answer")


def sudoku(size, blank):
    """A question and its answer: rows shifted by a box, digits renamed, every second one blank."""
    height, width = {4: (2, 2), 6: (2, 3), 9: (3, 3)}[size]
    digits = random.sample("123456789"[:size], size)
    answer = "".join(
        digits[(width * (row % height) + row // height + column) % size]
        for row in range(size)
        for column in range(size)
    )
    return "".join(random.choice((blank, digit)) for digit in answer), answer


def loaded(path):
    return datasets.load_dataset("csv", data_files=path, split="train")


READERS = {
    "pandas": lambda path: pandas.read_csv(path),
    "pandas, engine pyarrow": lambda path: pandas.read_csv(path, engine="pyarrow"),
    "pyarrow": lambda path: pyarrow.csv.read_csv(path).to_pydict(),
    "polars": lambda path: polars.read_csv(path).to_dict(as_series=False),
    "datasets": lambda path: loaded(path).to_dict(),
    "duckdb": lambda path: duckdb.read_csv(path).to_arrow_table().to_pydict(),
    "pandas, dtype=str": lambda path: pandas.read_csv(path, dtype=str),
}


def kept(size, blank):
    """By reader: the values' types, and how many questions and answers of 100 have all their digits."""
    rows, path = [sudoku(size, blank) for _ in range(100)], f"{size}{blank}.csv"
    with open(path, "w") as file:
        file.writelines(",".join(row) + "\n" for row in [COLUMNS, *rows])
    seen = {}
    print(f"{size}x{size}, blanks {blank!r}:")
    for name, read in READERS.items():
        try:
            table = read(path)
            columns = [list(table[column]) for column in COLUMNS]
        except Exception as error:
            seen[name] = type(error).__name__
            cause = str(error.__cause__ or error).splitlines()[0]
            print(f"  {name}: {seen[name]}, {cause[:50]}")
            continue
        types = [type(column[0]).__name__ for column in columns]
        whole = [
            sum(str(value) == text for value, text in zip(column, texts, strict=True))
            for column, texts in zip(columns, zip(*rows, strict=True), strict=True)
        ]
        seen[name] = (*types, *whole)
        print(f"  {name}: questions {types[0]}, whole {whole[0]}; answers {types[1]}, whole {whole[1]}")
    return seen


small, middle, full, dots = kept(4, "0"), kept(6, "0"), kept(9, "0"), kept(9, ".")
sane = all(seen["pandas, dtype=str"] == ("str", "str", 100, 100)
           for seen in (small, middle, full, dots))
there = all(seen["pandas"][:2] == ("int", "int") and seen["pandas"][2] < 80
            for seen in (small, middle, full))
there = there and dots["pandas"][:2] == ("str", "int")
there = there and all(seen[name] == ("float", "float", 0, 0) for seen in (middle, full)
                      for name in ("pyarrow", "pandas, engine pyarrow"))
there = there and full["polars"] == dots["polars"] == "ComputeError"
there = there and all(seen["datasets"] == "DatasetGenerationError" for seen in (middle, full, dots))
there = there and full["duckdb"][:3] == ("str", "bytes", 100)
sys.exit(0 if sane and there else 1)
PY
