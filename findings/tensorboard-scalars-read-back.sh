#!/usr/bin/env bash
# tensorboard: its reader drops scalars past 10,000 of a series at random, and they are float32.
#
# Guess: EventAccumulator reads back every scalar that was written, with its value.
# Seen with tensorboard 2.21.0: of 15,000 steps of one series 10,000 come back, by default and without
# a word, among them the last, and which of the others is left to chance; with
# size_guidance={"scalars": 0} all do. 16777217, say tokens seen, comes back as 16777216.0.
# Matters where curves, best steps or steps a second are computed from event files.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" tensorboard==2.21.0 numpy==2.4.6
PYTHONPATH="$folder" python3 -W ignore - "$folder/run" <<'PY'
import sys

import tensorboard
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

WRITTEN, TOKENS = 15_000, 2**24 + 1
writer = EventFileWriter(sys.argv[1])
for step in range(WRITTEN):
    value = Summary.Value(tag="loss", simple_value=1 / (1 + step))
    writer.add_event(Event(step=step, wall_time=step, summary=Summary(value=[value])))
value = Summary.Value(tag="tokens", simple_value=TOKENS)
writer.add_event(Event(step=0, wall_time=0, summary=Summary(value=[value])))
writer.close()

print("tensorboard", tensorboard.__version__)
read = {}
for name, options in (("default", {}), ("scalars: 0", {"size_guidance": {"scalars": 0}})):
    found = EventAccumulator(sys.argv[1], **options).Reload()
    steps = [event.step for event in found.Scalars("loss")]
    read[name] = steps
    print(f"{name}: {len(steps)} of {WRITTEN} steps, first {steps[:3]}, last {steps[-1]}")
tokens = found.Scalars("tokens")[0].value
print(f"tokens {TOKENS} are read back as {tokens}")
dropped = len(read["default"]) == 10_000 and read["default"][-1] == WRITTEN - 1
sys.exit(0 if dropped and len(read["scalars: 0"]) == WRITTEN and tokens == 2**24 else 1)
PY
