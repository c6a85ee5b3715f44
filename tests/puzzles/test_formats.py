"""Readers of CSV files and array folders: what they accept, and how they refuse the rest."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from puzzles import formats
from puzzles.errors import DataError
from puzzles.formats import read_csv, read_npy_folder
from puzzles.sudoku import generator, rules

SHARED = os.environ.get("LOOPBENCH_SHARED")
needs_shared = pytest.mark.skipif(not SHARED, reason="LOOPBENCH_SHARED is not set")

QUESTION = "...7.2..5....95.8.19..8..67..4...6....79...2.26...1......5......39.....8....784.."
ANSWER = "846712935372695184195483267984237651517964823263851749728549316439126578651378492"


def sudoku_rows(rows: int) -> list[str]:
    """Lines question,answer of valid 4x4 sudokus."""
    pairs = zip(*generator.generate(rows, 4, seed=0), strict=True)
    return [f"{rules.format_grid(p)},{rules.format_grid(s)}" for p, s in pairs]


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="")
    return path


# --------------------------------------------------------------------------------------- accepted


def test_a_published_row_becomes_tokens(tmp_path):
    path = write(
        tmp_path / "a.csv", "source,question,answer,rating", f"puzzles0,{QUESTION},{ANSWER},25"
    )
    part = read_csv(path)
    assert (part.kind, part.size, part.groups) == ("sudoku", 9, 1)
    assert part.inputs[0].tolist() == [1 if c == "." else int(c) + 1 for c in QUESTION]
    assert part.labels[0].tolist() == [int(c) + 1 for c in ANSWER]
    assert (part.difficulty.tolist(), part.difficulty_name) == ([25.0], "rating")


@pytest.mark.parametrize("blank", [".", "0", "_"])
def test_blanks_may_be_written_three_ways(tmp_path, blank):
    path = write(tmp_path / "a.csv", "question,answer", f"{QUESTION.replace('.', blank)},{ANSWER}")
    assert (read_csv(path).inputs == 1).sum() == QUESTION.count(".")


@pytest.mark.parametrize(
    "text",
    [
        "question,answer\n{q},{a}\n",
        "question,answer\r\n{q},{a}\r\n",
        "\ufeffquestion,answer\r\n{q},{a}",
        "answer,question\n{a},{q}\n\n\n",
        '"question","answer"\n"{q}","{a}"\n',
        "Question, Answer\n{q},{a}\n",
    ],
    ids=["plain", "crlf", "bom", "swapped and empty lines at the end", "quoted", "header case"],
)
@pytest.mark.parametrize("packed", [False, True])
def test_variants_of_one_file_read_alike(tmp_path, text, packed):
    data = text.format(q=QUESTION, a=ANSWER).encode("utf-8")
    path = tmp_path / ("a.csv.gz" if packed else "a.csv")
    path.write_bytes(gzip.compress(data) if packed else data)
    part = read_csv(path)
    assert part.labels[0].tolist() == [int(c) + 1 for c in ANSWER]
    assert part.difficulty is None


@pytest.mark.parametrize("size", [4, 6])
def test_small_sudokus_are_known_by_their_length(tmp_path, size):
    puzzles, solutions = generator.generate(5, size, seed=2)
    lines = [
        f"{rules.format_grid(p)},{rules.format_grid(s)},{i}"
        for i, (p, s) in enumerate(zip(puzzles, solutions, strict=True))
    ]
    part = read_csv(write(tmp_path / "a.csv", "question,answer,guesses", *lines))
    assert (part.size, part.difficulty_name) == (size, "guesses")
    np.testing.assert_array_equal(part.inputs, puzzles + 1)
    np.testing.assert_array_equal(part.labels, solutions + 1)
    assert part.difficulty.tolist() == [0, 1, 2, 3, 4]


def test_mazes_are_known_by_their_alphabet(tmp_path):
    path = write(tmp_path / "a.csv", "source,question,answer,rating", "m,S  ## ##G,Soo##o##G,5")
    part = read_csv(path)
    assert (part.kind, part.size, part.difficulty.tolist()) == ("maze", 3, [5.0])
    assert part.inputs[0].tolist() == [3, 2, 2, 1, 1, 2, 1, 1, 4]
    assert part.labels[0].tolist() == [3, 5, 5, 1, 1, 5, 1, 1, 4]


@settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=st.integers(1, 12), block=st.integers(1, 5))
def test_blocks_do_not_show(tmp_path, monkeypatch, rows, block):
    monkeypatch.setattr(formats, "_BLOCK", block)
    lines = sudoku_rows(rows)
    part = read_csv(write(tmp_path / "a.csv", "question,answer", *lines, ""))
    texts = ["".join("." if t == 1 else str(t - 1) for t in row) for row in part.inputs.tolist()]
    assert texts == [line.split(",")[0] for line in lines]


# ---------------------------------------------------------------------------------------- refused


def replaced(row: int, line: str) -> list[str]:
    """Ten good rows of which one (counted from 1) is replaced."""
    lines = sudoku_rows(10)
    lines[row - 1] = line
    return lines


GOOD_QUESTION, GOOD_ANSWER = sudoku_rows(7)[6].split(",")


@pytest.mark.parametrize("block", [3, 65536])
@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (f"{GOOD_QUESTION[:-1]},{GOOD_ANSWER}", "question has 15 characters, expected 16"),
        (f"{GOOD_QUESTION},{GOOD_ANSWER}1", "answer has 17 characters, expected 16"),
        (f"{GOOD_QUESTION}", "1 fields, expected 2 (question,answer)"),
        (f"{GOOD_QUESTION},{GOOD_ANSWER},5", "3 fields, expected 2 (question,answer)"),
        ("", "0 fields, expected 2 (question,answer)"),
        (f"5{GOOD_QUESTION[1:]},{GOOD_ANSWER}", "question has '5' as character 1"),
        (f"é{GOOD_QUESTION[1:]},{GOOD_ANSWER}", "question has 'é' as character 1"),
        (f"{GOOD_QUESTION},.{GOOD_ANSWER[1:]}", "answer has '.' as character 1"),
        (f"{GOOD_QUESTION},{GOOD_ANSWER[::-1]}", "the answer changes a given of the question"),
        ("................,1111222233334444", "wrong answer: a digit stands twice"),
    ],
)
def test_a_bad_row_is_named(tmp_path, monkeypatch, line, reason, block):
    monkeypatch.setattr(formats, "_BLOCK", block)
    path = write(tmp_path / "train.csv", "question,answer", *replaced(7, line))
    with pytest.raises(DataError) as caught:
        read_csv(path)
    message = str(caught.value)
    assert f"train.csv, row 7 (line 8): {reason}" in message
    assert message.endswith("Correct or remove the row")
    assert "\n" not in message


def test_eighty_characters_in_row_seven(tmp_path):
    lines = [f"{QUESTION},{ANSWER}"] * 10
    lines[6] = f"{QUESTION[:80]},{ANSWER}"
    path = write(tmp_path / "train.csv", "question,answer", *lines)
    with pytest.raises(
        DataError, match=r"row 7 \(line 8\): question has 80 characters, expected 81"
    ):
        read_csv(path)


@pytest.mark.parametrize("rating", ["nan", "", "inf", "-1", "hard", "1e999"])
def test_a_rating_must_be_a_number_from_zero_up(tmp_path, rating):
    lines = [f"{line},3" for line in sudoku_rows(3)]
    lines[1] = lines[1].removesuffix("3") + rating
    path = write(tmp_path / "a.csv", "question,answer,rating", *lines)
    with pytest.raises(DataError, match=rf"row 2 \(line 3\): rating is '{rating}', expected"):
        read_csv(path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no puzzles"),
        ("question,answer\n", "no puzzles"),
        ("question,answer\n\n\n", "no puzzles"),
        (f"{QUESTION},{ANSWER}\n", "no columns question and answer"),
        (f"puzzle,solution\n{QUESTION},{ANSWER}\n", "no columns question and answer"),
        ("question,answer,clues\n1,2,3\n", "columns question,answer,clues"),
        ("question,answer,answer\n1,2,3\n", "columns question,answer,answer"),
        ("question,answer,rating,guesses\n1,2,3,4\n", "columns question,answer,rating,guesses"),
        (f"question,answer\n{QUESTION[:80]},{ANSWER}\n", "question has 80 characters"),
        (f"question,answer\n{'.' * 25},{'1' * 25}\n", "question has 25 characters"),
        ("question,answer\n,\n", "question has 0 characters"),
        ('question,answer\n"' + QUESTION + "\n", "not readable as CSV"),
    ],
)
def test_a_file_that_is_no_puzzle_table_is_refused(tmp_path, text, reason):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=reason) as caught:
        read_csv(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def damaged(kind: str, data: bytes) -> bytes:
    packed = gzip.compress(data)
    broken = bytearray(packed)
    broken[len(packed) // 2] ^= 0xFF
    return {"not gzip": data, "truncated": packed[:-12], "flipped": bytes(broken)}[kind]


@pytest.mark.parametrize("kind", ["not gzip", "truncated", "flipped"])
def test_a_damaged_gzip_file_is_refused(tmp_path, kind):
    path = tmp_path / "a.csv.gz"
    lines = "\n".join(["question,answer", *sudoku_rows(200)]).encode()
    path.write_bytes(damaged(kind, lines))
    with pytest.raises(DataError, match=r"a\.csv\.gz") as caught:
        read_csv(path)
    assert "\n" not in str(caught.value)


def test_other_encodings_and_missing_files_are_refused(tmp_path):
    path = tmp_path / "a.csv"
    with pytest.raises(DataError, match="No such file"):
        read_csv(path)
    path.write_text("question,answer\n", encoding="utf-16")
    with pytest.raises(DataError, match="not readable as CSV"):
        read_csv(path)


@pytest.mark.parametrize(
    ("question", "answer", "reason"),
    [
        ("S  ## ##X", "Soo##o##G", "question has 'X' as character 9"),
        ("S o## ##G", "Soo##o##G", "question has 'o' as character 3"),
        ("S  ## ## ", "Soo##o## ", "exactly one S and one G"),
        ("S  ## #SG", "Soo##o#SG", "exactly one S and one G"),
        ("S  ## ##G", "Soo#oo##G", "differs from the question"),
    ],
)
def test_a_bad_maze_is_refused(tmp_path, question, answer, reason):
    path = write(
        tmp_path / "a.csv", "question,answer", "S  ## ##G,Soo##o##G", f"{question},{answer}"
    )
    with pytest.raises(DataError, match=rf"row 2 \(line 3\): .*{reason}"):
        read_csv(path)


# ----------------------------------------------------------------------------------- array folders


@pytest.fixture
def arrays(tmp_path) -> tuple[Path, np.ndarray, np.ndarray]:
    inputs, labels = (grids + np.uint8(1) for grids in generator.generate(6, 4, seed=0))
    np.save(tmp_path / "all__inputs.npy", inputs)
    np.save(tmp_path / "all__labels.npy", labels)
    return tmp_path, inputs, labels


def test_two_arrays_are_enough(arrays):
    folder, inputs, labels = arrays
    part = read_npy_folder(folder)
    assert (part.kind, part.size, part.groups, part.num_puzzle_ids) == ("sudoku", 4, 6, 1)
    np.testing.assert_array_equal(part.inputs, inputs)
    np.testing.assert_array_equal(part.labels, labels)


def test_the_index_arrays_are_used_when_there(arrays):
    folder = arrays[0]
    np.save(folder / "all__puzzle_identifiers.npy", np.array([0, 0, 0, 1, 1, 1], np.int32))
    np.save(folder / "all__puzzle_indices.npy", np.arange(7, dtype=np.int32))
    with pytest.raises(DataError, match=r"all__group_indices\.npy: missing array"):
        read_npy_folder(folder)
    np.save(folder / "all__group_indices.npy", np.array([0, 3, 6], np.int32))
    part = read_npy_folder(folder)
    assert (part.groups, part.num_puzzle_ids) == (2, 2)


def test_maze_arrays_are_told_from_sudokus_of_the_same_length(tmp_path):
    maze = np.array([[3, 2, 2, 2, 1, 1, 1, 2, 1, 1, 1, 2, 1, 1, 1, 4]], np.uint8)
    label = np.array([[3, 5, 5, 5, 1, 1, 1, 5, 1, 1, 1, 5, 1, 1, 1, 4]], np.uint8)
    np.save(tmp_path / "all__inputs.npy", maze)
    np.save(tmp_path / "all__labels.npy", label)
    part = read_npy_folder(tmp_path)
    assert (part.kind, part.size) == ("maze", 4)


def test_bad_arrays_are_refused(arrays):
    folder, inputs, labels = arrays
    np.save(folder / "all__labels.npy", labels[:5])
    with pytest.raises(
        DataError, match=r"all__inputs\.npy is \(6, 16\), all__labels\.npy \(5, 16\)"
    ):
        read_npy_folder(folder)
    wrong = labels.copy()
    wrong[4] = wrong[4][::-1]
    np.save(folder / "all__labels.npy", wrong)
    with pytest.raises(DataError, match=r"all__inputs\.npy, row 4 \(from 0\): the answer"):
        read_npy_folder(folder)
    np.save(folder / "all__inputs.npy", inputs[:, :15])
    np.save(folder / "all__labels.npy", labels[:, :15])
    with pytest.raises(DataError, match=r"15 cells a row .* are no known puzzle"):
        read_npy_folder(folder)


# ------------------------------------------------------------------------------------- shared data


@needs_shared
def test_csv_and_arrays_of_the_published_thousand_agree():
    folder = Path(SHARED) / "data" / "sudoku-extreme-1k"
    table, arrays = read_csv(folder / "train1k.csv"), read_npy_folder(folder)
    np.testing.assert_array_equal(table.inputs, arrays.inputs)
    np.testing.assert_array_equal(table.labels, arrays.labels)
    assert len(table) == 1000


@needs_shared
def test_a_published_list_reads_with_its_guesses():
    part = read_csv(Path(SHARED) / "data" / "sudoku-lists" / "17_clue.csv.gz")
    assert (len(part), part.difficulty_name, part.difficulty[:2].tolist()) == (
        49128,
        "guesses",
        [58, 0],
    )
    assert set((part.inputs > 1).sum(axis=1).tolist()) == {17}
