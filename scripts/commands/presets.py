"""`loopbench presets`: every preset of puzzles and of language with its size, cost and recipe, or
one of them as YAML.

The table shows `PRESETS_FILE`, which `scripts.models.preset_sizes` writes: to build every model and
count its parameters takes longer than to load torch.
"""

import json as jsonlib
from collections.abc import Sequence
from importlib import metadata
from typing import Annotated, Any, Literal

import tyro
from rich.table import Table

from scripts.terminal.choices import MODEL_GROUPS, PRESETS_FILE
from scripts.terminal.console import Console
from scripts.usage import parse


def _installed() -> list[dict[str, Any]]:
    """Presets of installed packages, which no file of ours can hold; torch is loaded for them
    alone."""
    if not any(metadata.entry_points(group=group) for group in MODEL_GROUPS):
        return []
    from scripts.models.preset_sizes import describe_installed

    return describe_installed()


def show_presets(json: bool = False) -> None:
    """List the presets: parameters, sizes, cost, recipe; `loopbench presets NAME` prints one as
    YAML, with --task language where puzzles have one of that name too.

    Those of puzzles are for `loopbench train`, their parameters without the puzzle embedding, their
    net calls of sudoku / mazes where these differ; those of language for `loopbench pretrain`, at a
    vocabulary of 32,768. Models that installed packages register are listed apart.

    Args:
        json: print JSON, every field in full; `task` tells puzzles' presets from language's.
    """
    described = jsonlib.loads(PRESETS_FILE.read_text())
    installed = _installed()
    if json:
        print(jsonlib.dumps([*described, *installed], indent=2))
        return
    puzzles, language = (
        [row for row in described if row["task"] == task] for task in ("puzzles", "language")
    )
    console = Console(width=max(120, Console().width))
    console.print(_puzzle_table("presets", puzzles))
    console.print(_language_table("language presets", language))
    if installed:
        loaded = [row for row in installed if "error" not in row]
        for task, table in (("puzzles", _puzzle_table), ("language", _language_table)):
            if rows := [row for row in loaded if row["task"] == task]:
                console.print(table(f"presets of installed packages: {task}", rows))
        for row in installed:
            what = f"cannot be loaded: {row['error']}" if "error" in row else row["model"]
            console.print(f"{row['preset']}: {row['package']}, {what}", soft_wrap=True)


def _table(title: str, headings: Sequence[str], words: set[str]) -> Table:
    table = Table(title=title)
    for heading in headings:
        table.add_column(heading, justify="left" if heading in words else "right")
    return table


def _puzzle_table(title: str, described: Sequence[dict[str, Any]]) -> Table:
    headings = ("preset", "9x9 sudoku", "30x30 maze", "layers", "width", "segments")
    table = _table(title, (*headings, "net calls/segment", "recipe"), {"preset", "recipe"})
    for row in described:
        counts = ["-" if n is None else f"{n:,}" for n in row["parameters"].values()]
        sizes = ("-" if row[k] is None else str(row[k]) for k in ("layers", "width", "segments"))
        calls = dict.fromkeys(c for c in row["net_calls_per_segment"].values() if c)
        table.add_row(row["preset"], *counts, *sizes, " / ".join(calls) or "-", row["recipe"])
    return table


def _language_table(title: str, described: Sequence[dict[str, Any]]) -> Table:
    headings = ("preset", "parameters", "in matmuls", "width", "layers", "repeated", "tokens")
    table = _table(title, (*headings, "recipe"), {"preset", "recipe"})
    for row in described:
        counts = (f"{row[name]:,}" for name in ("parameters", "matmul_parameters"))
        sizes = (str(row[name]) for name in ("width", "layers", "core_layers"))
        table.add_row(row["preset"], *counts, *sizes, f"{row['tokens']:.3g}", row["recipe"])
    return table


def show_preset(
    name: Annotated[str, tyro.conf.Positional],
    task: Literal["sudoku", "maze", "language"] | None = None,
) -> None:
    """Print a preset as YAML, for `train --config FILE` or `pretrain --config FILE`.

    Args:
        name: its name.
        task: what for; none: sudokus, or language where no preset of puzzles has that name.
    """
    from scripts.models.lm_models import LANGUAGE_PRESETS, model_and_size
    from scripts.models.lm_presets import language_preset
    from scripts.models.presets import preset, preset_names
    from scripts.models.registry import LANGUAGE_MODELS, PUZZLE_MODELS
    from scripts.terminal.config_files import to_yaml

    model, _ = model_and_size(name)
    of_puzzles = name in preset_names() or model in PUZZLE_MODELS.installed()
    of_language = name in LANGUAGE_PRESETS or model in LANGUAGE_MODELS.installed()
    if task == "language" or (task is None and of_language and not of_puzzles):
        config = language_preset(name)
    else:
        config = preset(name, task or "sudoku")
    print(to_yaml(config), end="")


def main(words: Sequence[str]) -> int:
    if words and not words[0].startswith("-"):
        parse(show_preset, words, "loopbench presets")()
        return 0
    parse(show_presets, words, "loopbench presets")()
    return 0
