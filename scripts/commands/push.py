"""`loopbench push`: a run to the Hugging Face hub; see `scripts.runs.hub`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from scripts.runs.hub_names import check_repository
from scripts.terminal.extras import need
from scripts.terminal.folders import expect
from scripts.usage import parse


def push(
    run: Annotated[Path, tyro.conf.Positional],
    name: Annotated[str, tyro.conf.Positional],
    private: bool = False,
) -> None:
    """Upload a run on puzzles to the Hugging Face hub: averaged weights, configuration and a model
    card made of what was recorded. `loopbench solve --pretrained hub:NAME` then answers with it.

    Args:
        run: folder of a trained run; evaluate it first, so that the card has its numbers.
        name: repository, user/name; made if it is not there.
        private: make it one that only you can see.
    """
    check_repository(name)
    expect(run, "puzzle run")
    need("push", "hub", "huggingface_hub")

    from scripts.runs import hub

    hub.push(run, name, private)


def main(words: Sequence[str]) -> int:
    parse(push, words, "loopbench push")()
    return 0
