"""A command from its words to its exit code: whatever it refuses becomes one line.

Exit codes: 0 done, 1 the answer is wrong or the run failed, 2 bad input, told in one line.
"""

import os
import sys
import traceback
from collections.abc import Callable, Sequence

from pydantic import ValidationError

import puzzles.errors as puzzles
import reasoning.errors as reasoning
from reasoning.training.runs import TrainingError
from scripts.terminal.memory import keep_freed_memory
from scripts.usage import describe

Command = Callable[[Sequence[str]], int]  # takes its words, returns an exit code


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
        return refuse(describe(error), 2)
    except (ValueError, OSError) as error:
        if not is_ours(error):
            traceback.print_exception(error)
        return refuse(str(error), 2)
    except TrainingError as error:
        return refuse(str(error), 1)
    except KeyboardInterrupt:
        return refuse("interrupted", 130)


def is_ours(error: Exception) -> bool:
    """Whether it is the user's to mend and says how; what a library raises may be a defect."""
    return isinstance(error, puzzles.InputError | reasoning.InputError | OSError)


def refuse(message: str, code: int) -> int:
    """Say on standard error why not; returns the exit code."""
    print("loopbench: " + " ".join(message.split()), file=sys.stderr)
    return code
