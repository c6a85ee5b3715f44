"""`loopbench`: every command of the suite.

Exit codes: 0 done, 1 the answer is wrong or the run failed, 2 bad input, told in one line.
"""

import importlib
import linecache
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib import metadata

from pydantic import ValidationError

from reasoning.training.runs import TrainingError
from scripts.memory import keep_freed_memory
from scripts.usage import describe, unknown_name

Command = Callable[[Sequence[str]], int]  # takes its words, returns an exit code

# The module whose `main` is the command, loaded when it is called, and a line of help. None of them
# loads torch before the command's words are read, but for those whose options a model brings.
COMMANDS: dict[str, tuple[str, str]] = {
    "data": (
        "scripts.data",
        "sudoku | maze | make | import | check: puzzles generated, imported, checked",
    ),
    "presets": (
        "scripts.preset_table",
        "list the presets with sizes and recipes (--json); NAME: one as YAML",
    ),
    "train": ("scripts.commands.train", "train a preset on a data folder, or --resume a run"),
    "runs": ("scripts.run_table", "the runs in a folder: their state and best numbers (--json)"),
    "evaluate": ("scripts.commands.evaluate", "score a run on held-out puzzles"),
    "compare": ("scripts.compare", "one table over runs, or over presets x seeds"),
    "import-released": (
        "scripts.commands.import_released",
        "make a run of the weights that authors released",
    ),
    "reproduce": ("scripts.reproduce", "a table or figure of the paper, its numbers beside ours"),
    "bench": (
        "scripts.commands.bench",
        "time training, solver, evaluation, language models; memory; scaling",
    ),
    "solve": (
        "scripts.commands.solve",
        "answer one puzzle with a trained run or --pretrained weights",
    ),
    "export": (
        "scripts.commands.export",
        "a run as ONNX or torch.export files: map, heads, the whole solve",
    ),
    "push": (
        "scripts.commands.push",
        "upload a run to the Hugging Face hub, with a card (extra hub)",
    ),
    "package": ("scripts.commands.package", "make weights that ship with loopbench of a run"),
    "tokenizer": ("scripts.tokenizer", "train | info: byte-level BPE for text"),
    "corpus": ("scripts.corpus", "build | check: text files to token shards"),
    "pretrain": (
        "scripts.commands.pretrain",
        "pretrain a language preset on a corpus, or --resume a run",
    ),
    "evaluate-lm": (
        "scripts.commands.evaluate_lm",
        "perplexity, LAMBADA and CORE of a pretraining run",
    ),
    "lm-eval": (
        "scripts.harness",
        "the lm-evaluation-harness on a pretraining run (extra lm-eval)",
    ),
    "generate": (
        "scripts.commands.generate",
        "continue a text with a pretrained language model",
    ),
    "completion": (
        "scripts.completion",
        "bash | zsh: a script that completes commands and options",
    ),
}


_PACKAGES = ("baselines", "puzzles", "reasoning", "scripts")


def usage() -> str:
    """The list of commands."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(
        ["usage: loopbench COMMAND [OPTIONS]", "", *lines, "", "loopbench COMMAND --help explains."]
    )


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; the console script's entry."""
    words = sys.argv[1:] if words is None else list(words)
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if words[0] in ("-V", "--version"):
        print(f"loopbench {metadata.version('loopbench')}")
        return 0
    if words[0] not in COMMANDS:
        return _refuse(unknown_name("command", words[0], COMMANDS, "`loopbench --help`"), 2)
    module, _ = COMMANDS[words[0]]
    return run_guarded(lambda rest: importlib.import_module(module).main(rest), words[1:])


def run_guarded(command: Command, words: Sequence[str]) -> int:
    """Run a command; what it refuses becomes one line on standard error and an exit code."""
    keep_freed_memory()
    try:
        code = command(words)
        if "WORLD_SIZE" in os.environ:  # by torchrun; else there is no world, nor need of torch
            from reasoning.training.distribution import leave_world

            leave_world()
        return code
    except BrokenPipeError:
        return 0
    except ValidationError as error:
        return _refuse(describe(error), 2)
    except (ValueError, OSError) as error:
        if isinstance(error, ValueError) and not _is_ours(error):
            traceback.print_exception(error)  # perhaps a defect, not the user's mistake
        return _refuse(str(error), 2)
    except TrainingError as error:
        return _refuse(str(error), 1)
    except KeyboardInterrupt:
        return _refuse("interrupted", 130)


def _is_ours(error: Exception) -> bool:
    """Whether a `raise` of this project made it, which says what to do; what comes of a library,
    or of its compiled code, does not."""
    frame, line = list(traceback.walk_tb(error.__traceback__))[-1]
    package = frame.f_globals["__name__"].partition(".")[0]
    said = linecache.getline(frame.f_code.co_filename, line).lstrip()
    return package in _PACKAGES and said.startswith("raise ")


def _refuse(message: str, code: int) -> int:
    print("loopbench: " + " ".join(message.split()), file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
