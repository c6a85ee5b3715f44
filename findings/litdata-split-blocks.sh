#!/usr/bin/env bash
# litdata: train_test_split and subsample shuffle chunks, not items: a small data set is cut in blocks, in order.
#
# Guess: train_test_split(dataset, [0.8, 0.1, 0.1]), whose option shuffle is on by default, gives three random parts,
# other ones for another seed; subsample=0.1 with shuffle=True a random tenth.
# Seen with litdata 0.2.76: only whole chunks change places, and only those at the seams of the parts are cut, along
# their order. 1,000 items written with the usual chunk_bytes="64MB" are one chunk: the parts are the items 0 to 799,
# 800 to 899 and 900 to 999, for every seed; written class by class, the test part has one class, which is not in the
# training part. subsample=0.1 gives items 0 to 99 for every seed. With 100 items a chunk the test part is one chunk,
# again of one class. Reading with shuffle=True does not show it: each part is shuffled within.
# No warning is raised.
# Matters for data sets of few chunks (puzzles of 200 bytes: 300,000 of them in one) that were written in some order,
# by class, difficulty, source or time: the test part is of another kind than the training part.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet litdata==0.2.76 torch==2.13.0 torchvision==0.28.0 numpy==2.4.6
cat > "$folder/written.py" <<'PY'
def item(number):
    """The items come class by class, a hundred of each."""
    return {"number": number, "class": number // 100}
PY
cat > "$folder/seen.py" <<'PY'
import contextlib
import os
import sys
import tempfile
from importlib.metadata import version

from litdata import StreamingDataset, optimize, train_test_split
from written import item


def parts(dataset, seed):
    return [[(int(row["number"]), int(row["class"])) for row in part]
            for part in train_test_split(dataset, [0.8, 0.1, 0.1], seed=seed)]


def main():
    print("litdata", version("litdata"))
    there = True
    for name, size in (("chunks of 64 MB", {"chunk_bytes": "64MB"}), ("chunks of 100 items", {"chunk_size": 100})):
        folder = tempfile.mkdtemp(dir=os.environ["FOLDER"])
        with open(os.devnull, "w") as quiet, contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
            optimize(fn=item, inputs=list(range(1000)), output_dir=folder, num_workers=1, **size)
        dataset = StreamingDataset(folder, shuffle=True)
        for seed in (42, 1, 2):
            found = parts(dataset, seed)
            numbers = [[number for number, _ in part] for part in found]
            classes = [{kind for _, kind in part} for part in found]
            print(f"{name}, seed {seed}: parts of", *map(len, numbers), "items, test part: items", min(numbers[2]), "to",
                  max(numbers[2]), "in the order", *numbers[2][:3], "..., classes", *classes[2],
                  "of which in the training part:", *(classes[2] & classes[0] or ("none",)))
            there &= max(numbers[2]) - min(numbers[2]) == 99 and len(classes[2]) == 1 and not classes[2] & classes[0]
            there &= "64" not in name or min(numbers[2]) == 900
        if "64" in name:
            for seed in (42, 1, 2):
                tenth = [int(row["number"]) for row in StreamingDataset(folder, shuffle=True, subsample=0.1, seed=seed)]
                print(f"{name}, subsample=0.1, seed {seed}: items", min(tenth), "to", max(tenth))
                there &= sorted(tenth) == list(range(100))
    sys.exit(0 if there else 1)


if __name__ == "__main__":
    main()
PY
FOLDER="$folder" "$folder/venv/bin/python" -W ignore "$folder/seen.py"
