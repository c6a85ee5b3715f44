#!/usr/bin/env bash
# webdataset: shards come in the same order in every epoch, shuffled or not by a seed; resampling ignores the seed.
#
# Guess: WebDataset(urls, shardshuffle=100) draws a new order of the shards for each epoch, seed=3 makes the sequence of
# these orders repeatable, and resampled=True, seed=3 the shards that are drawn.
# Seen with webdataset 1.0.2, torch 2.13.0: one order is drawn when the data set is made, and every epoch has it, with
# and without a seed, with and without workers of a DataLoader: where no buffer shuffles samples, epochs are equal to
# the sample. detshuffle=True draws anew for each epoch, but in a DataLoader with workers (that are started for each
# epoch) all epochs have the first one's order. With resampled=True two runs of seed=3 draw other shards: the seed is
# not handed on.
# No warning is raised.
# Matters for training over several epochs, whose batches come from the same neighbourhoods every time (.shuffle(1000)
# mixes only what is near), and for runs that are to be repeated.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" webdataset==1.0.2 torch==2.13.0 numpy==2.4.6
FOLDER="$folder" PYTHONPATH="$folder" python3 -W ignore - <<'PY'
import os
import sys
from importlib.metadata import version

import torch
import webdataset as wds

print("webdataset", version("webdataset"), "torch", torch.__version__)
SHARDS, EACH, EPOCHS = 12, 4, 5
urls = [f"{os.environ['FOLDER']}/shard-{shard}.tar" for shard in range(SHARDS)]
for shard, url in enumerate(urls):
    with wds.TarWriter(url) as writer:
        for number in range(shard * EACH, (shard + 1) * EACH):
            writer.write({"__key__": f"{number:04d}", "cls": number})


def epochs(workers, **options):
    """The numbers of the samples in each epoch of a data set made anew."""
    dataset = wds.WebDataset(urls, empty_check=False, **options).decode()
    if options.get("resampled"):
        dataset = dataset.with_epoch(SHARDS * EACH // max(workers, 1))
    more = {"multiprocessing_context": "fork"} if workers else {}
    loader = torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=workers, **more)
    return [[sample["cls"] for sample in loader] for _ in range(EPOCHS)]


there = True
for options in ({"shardshuffle": 100}, {"shardshuffle": 100, "seed": 3},
                {"shardshuffle": 100, "seed": 3, "detshuffle": True},
                {"shardshuffle": False, "seed": 3, "resampled": True}):
    for workers in (0, 2):
        first, second = epochs(workers, **options), epochs(workers, **options)
        orders = len({tuple(epoch) for epoch in first})
        print(options, f"{workers} workers: {orders} different of {EPOCHS} epochs; a second run with these options is",
              "equal," if first == second else "different,", "shards of the first epoch:",
              *dict.fromkeys(number // EACH for number in first[0]))
        if options.get("resampled"):
            there &= first != second
        elif options.get("detshuffle"):
            there &= orders == (1 if workers else EPOCHS)
        else:
            there &= orders == 1
sys.exit(0 if there else 1)
PY
