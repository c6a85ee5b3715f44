"""`loopbench`: every command of the suite.

Exit codes: 0 done, 1 the answer is wrong or the run failed, 2 bad input, told in one line.
"""

import linecache
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib import metadata

from pydantic import ValidationError

from reasoning.training.distribution import leave_world
from reasoning.training.loop import TrainingError
from scripts import (
    bench,
    compare,
    completion,
    corpus,
    data,
    evaluate,
    evaluate_lm,
    export,
    generate,
    harness,
    hub,
    import_released,
    preset_table,
    pretrain,
    pretrained,
    reproduce,
    run_table,
    solve,
    tokenizer,
    train,
)
from scripts.memory import keep_freed_memory
from scripts.usage import UsageError, describe, parse, unknown_name

# One line of help each; a command takes its words and returns an exit code.
Command = Callable[[Sequence[str]], int]


def _group(name: str, commands: dict[str, Callable[..., None]]) -> Command:
    """A command whose first word chooses one of several."""

    def run(words: Sequence[str]) -> int:
        if words and words[0] in commands:
            parse(commands[words[0]], words[1:], f"loopbench {name} {words[0]}")()
            return 0
        if set(words) & {"-h", "--help"}:
            print(f"loopbench {name} COMMAND, one of: " + ", ".join(commands))
            return 0
        if words:
            raise UsageError(unknown_name(f"{name} command", words[0], commands))
        raise UsageError(f"{name} needs a command; there are {', '.join(commands)}")

    return run


COMMANDS: dict[str, tuple[Command, str]] = {
    "data": (
        _group("data", data.COMMANDS),
        "sudoku | maze | import | check: puzzles generated, imported, checked",
    ),
    "presets": (
        preset_table.main,
        "list the presets with sizes and recipes (--json); NAME: as YAML",
    ),
    "train": (train.main, "train a preset on a data folder, or --resume a run"),
    "runs": (run_table.main, "the runs in a folder: their state and best numbers (--json)"),
    "evaluate": (evaluate.main, "score a run on held-out puzzles"),
    "compare": (compare.main, "one table over runs, or over presets x seeds"),
    "import-released": (import_released.main, "make a run of the weights that authors released"),
    "reproduce": (reproduce.main, "a table or figure of the paper, its numbers beside ours"),
    "bench": (bench.main, "time training, solver, evaluation, language models; memory; scaling"),
    "solve": (solve.main, "answer one puzzle with a trained run or --pretrained weights"),
    "export": (export.main, "a run as ONNX or torch.export files: map, heads, the whole solve"),
    "push": (hub.main, "upload a run to the Hugging Face hub, with a card (extra hub)"),
    "package": (pretrained.main, "make weights that ship with loopbench of a run"),
    "tokenizer": (_group("tokenizer", tokenizer.COMMANDS), "train | info: byte-level BPE for text"),
    "corpus": (_group("corpus", corpus.COMMANDS), "build | check: text files to token shards"),
    "pretrain": (pretrain.main, "pretrain a language preset on a corpus, or --resume a run"),
    "evaluate-lm": (evaluate_lm.main, "perplexity, LAMBADA and CORE of a pretraining run"),
    "lm-eval": (harness.main, "the lm-evaluation-harness on a pretraining run (extra lm-eval)"),
    "generate": (generate.main, "continue a text with a pretrained language model"),
    "completion": (
        lambda words: completion.printed({name: run for name, (run, _) in COMMANDS.items()})(words),
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
    return run_guarded(COMMANDS[words[0]][0], words[1:])


def run_guarded(command: Command, words: Sequence[str]) -> int:
    """Run a command; what it refuses becomes one line on standard error and an exit code."""
    keep_freed_memory()
    try:
        code = command(words)
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
