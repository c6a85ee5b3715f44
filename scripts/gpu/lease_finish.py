"""The end of a speedrun, `python -m scripts.gpu.lease_finish RUN ...`: what its weights are worth.

In order, each written as soon as it is known: the weights in bf16 with their card, scored in one
pass on every held-out puzzle; the same run searched deep; the weights that ship, if any do for this
puzzle, on the same held-out puzzles.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from puzzles.dataset import read_split
from reasoning.names import Device
from reasoning.training.distribution import join_world
from reasoning.training.runs import write_json
from scripts.runs.evaluate import evaluate_run
from scripts.runs.pretrained import load_pretrained, package, read_card, shipped
from scripts.runs.search_plan import Plan
from scripts.runs.session import open_run
from scripts.terminal.guard import run_guarded
from scripts.usage import parse

LEAVE = 0.01  # residual at which a start leaves: above what bf16 states reach (0.005 to 0.008)


def finish(
    run: Annotated[Path, tyro.conf.Positional],
    data: Path,
    out: Path,
    depth: int = 64,
    device: Device = "auto",
) -> None:
    """Package a run's weights, search them deep, compare them with those that ship.

    Args:
        run: folder of the run.
        data: folder of its puzzles.
        out: folder for the weights, their card and finish.json.
        depth: segments of the deep search.
        device: where to run; auto: the best present.
    """
    package(run, data, out=out, device=device)
    world, puzzles = join_world(device), read_split(data, "test")
    trained = open_run(run, world)
    card = read_card(out / f"{trained.kind}-{trained.size}.json")
    record: dict[str, Any] = {"weights": f"{trained.kind}-{trained.size}"}
    record["one pass"] = {"segments": card.segments, "metrics": card.accuracy}
    write_json(out / "finish.json", record)

    plan = Plan(leave=LEAVE)
    deep = evaluate_run(trained, puzzles, depth, world, plan=plan, metered=False).record
    names = ("segments", "metrics", "net_calls_per_puzzle", "by_segment", "by_difficulty")
    record["deep"] = {name: deep[name] for name in names if name in deep}
    write_json(out / "finish.json", record)

    if trained.size in shipped().get(trained.kind, []):
        before = load_pretrained(trained.kind, trained.size, world)
        segments = before.config.supervision.segments
        scored = evaluate_run(before, puzzles, segments, world, metered=False).record
        record["shipped"] = {name: scored[name] for name in ("preset", "segments", "metrics")}
        write_json(out / "finish.json", record)


def main(words: Sequence[str]) -> int:
    parse(finish, words, "python -m scripts.gpu.lease_finish")()
    return 0


if __name__ == "__main__":
    sys.exit(run_guarded(main, sys.argv[1:]))
