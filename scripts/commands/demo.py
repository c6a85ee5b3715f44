"""`loopbench demo`: a page on which a puzzle is solved, segment by segment."""

import errno
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, get_args

import tyro

from reasoning.names import Device
from scripts.commands.solve import read_puzzle
from scripts.reports.solve_player import expect_bounded
from scripts.runs.hub_names import expect_weights
from scripts.terminal.choices import Shipped
from scripts.terminal.extras import need
from scripts.terminal.folders import expect
from scripts.usage import UsageError, at_least, parse

_LOOPBACK = "127.0.0.1"


def demo(
    runs: Annotated[tuple[str, ...], tyro.conf.Positional] = (),
    pretrained: tuple[str, ...] = (),
    data: Path | None = None,
    puzzle: str | None = None,
    segments: int | None = None,
    breadth: int = 1,
    symmetries: int = 1,
    export: Path | None = None,
    host: str = _LOOPBACK,
    port: int | None = None,
    device: Device = "auto",
) -> int:
    """A page on which trained models solve puzzles, segment by segment (extra demo).

    Args:
        runs: folders of trained runs; with none, nor --pretrained, the weights that ship.
        pretrained: weights that ship for a task (sudoku, maze), or those of hub:USER/NAME.
        data: a folder of puzzles whose held-out ones can be loaded by number.
        puzzle: for --export, what is solved: a puzzle's characters, a file, or - for standard
            input; none: one that is known or made.
        segments: segments to begin with; none: as each model was configured.
        breadth: starts to begin with; 1: the model's own.
        symmetries: images of the puzzle to begin with; 1: itself.
        export: write one page of a recorded solve to this file instead, which needs no network and
            no extra.
        host: address to serve on; none but this machine reaches the one by default.
        port: port to serve on; none: the first free one from 7860 on.
        device: where to run; auto: the best present.
    """
    at_least(1, segments=segments, breadth=breadth, symmetries=symmetries)
    expect_bounded(segments or 1, breadth * symmetries)
    if port is not None and not 0 < port < 2**16:
        raise UsageError(f"--port: must be from 1 to {2**16 - 1} (got {port})")
    if puzzle is not None and export is None:
        raise UsageError("--puzzle: goes with --export; on the page a puzzle is typed or pasted")
    for run in runs:
        expect(run, "puzzle run")
    for name in pretrained:
        expect_weights(name)
    if data is not None:
        expect(data, "data")
    if not runs and not pretrained:
        pretrained = get_args(Shipped)
    text = None if puzzle is None else read_puzzle(puzzle)
    if export is None:
        need("loopbench demo", "demo", "gradio")
        _expect_free(host, port)
    elif export.exists():
        raise UsageError(f"--export: {export} is there already; remove it or give another name")
    elif not export.parent.is_dir():
        raise UsageError(f"--export: {export.parent} is no folder; make it first")

    from reasoning.training.distribution import join_world
    from scripts.runs.opened import open_models

    world = join_world(device)
    models = open_models(runs, pretrained, world)
    if export is not None:
        from scripts.exchange.solve_export import write_page

        write_page(models, text, segments, breadth, symmetries, world, export)
        return 0

    from scripts.exchange.solve_page import Options, build, launch
    from scripts.runs.data import read_puzzles

    published = None if data is None else read_puzzles(data, "test")
    page = build(models, world, Options(segments, breadth, symmetries), published)
    print(f"open {launch(page, host, port)} in a browser; Ctrl-C ends it", flush=True)
    page.block_thread()
    return 0


def _expect_free(host: str, port: int | None) -> None:
    """UsageError if nothing can be served there. port: None: any."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port or 0, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind, protocol) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one just left is free
            tried.bind(address)
    except OSError as error:
        flag, remedy = "--host", "give an address of this machine"
        if isinstance(error, PermissionError) or error.errno == errno.EADDRINUSE:
            flag, remedy = "--port", "give another, or none for the first free one from 7860 on"
        where = host if port is None else f"{host}:{port}"
        raise UsageError(f"{flag}: {where}: {error.strerror}; {remedy}") from error


def main(words: Sequence[str]) -> int:
    return parse(demo, words, "loopbench demo")()
