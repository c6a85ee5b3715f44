"""What options of commands may be, apart from the code that acts on them: words are read without
the libraries that the work takes."""

from pathlib import Path
from typing import Literal

import reasoning

Headline = Literal["single", "residual", "halt-first", "restart", "q", "majority"]
Budget = Literal["steps", "flops", "time"]
Part = Literal[
    "training",
    "published",
    "solver",
    "shares",
    "evaluation",
    "language",
    "memory",
    "scaling",
    "peers",
]
PARTS: tuple[Part, ...] = tuple(part for part in Part.__args__ if part != "peers")  # it installs
Mode = Literal["eager", "compiled"]
Precision = Literal["fp32", "bf16"]
ReleasedKind = Literal["sudoku", "maze"]  # puzzles that authors released weights for
Shipped = Literal["sudoku", "maze"]  # tasks that there are weights for
Scale = Literal["mini", "cpu", "full"]  # of table 2
AblationScale = Literal["mini", "cpu", "1m"]
LanguageScale = Literal["mini", "full"]  # of the tables and figures of language models
Task = Literal["sudoku", "maze"]  # whose published sets `reproduce real` trains on
Target = Literal["onnx", "torch"]  # what a run is exported to
WEIGHTS = Path(reasoning.__file__).parent / "weights"
PACKAGED = ".safetensors"  # how a file of weights ends that `package` writes
PRESETS_FILE = Path(__file__).parents[1] / "models" / "presets.json"
MODEL_GROUPS = ("loopbench.models", "loopbench.language_models")  # of entry points
