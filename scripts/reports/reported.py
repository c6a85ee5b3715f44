"""What others report of Sudoku-Extreme and Maze-Hard."""

from collections.abc import Mapping
from dataclasses import dataclass

from scripts.reports.tables import Table
from scripts.terminal.choices import Task


@dataclass(frozen=True)
class Published:
    """A system that others trained on a set's 1,000 puzzles.

    exact: % of the published test set; how: it was asked; cost: of its training, as far as it is
    told, with a * where it is counted by us from what is told; source: where all this stands.
    """

    name: str
    parameters: str
    exact: float
    how: str
    cost: str
    source: str


_PAPER, _LDT = "Solve the Loop, table 2", "arXiv 2605.08605"
PUBLISHED: dict[Task, tuple[Published, ...]] = {
    "sudoku": (
        Published("HRM", "27M", 55.0, "16 segments", "", _PAPER),
        Published("TRM", "7M", 74.7, "16 segments", "", _PAPER),
        Published("TRM", "27M", 0.0, "16 segments", "", _PAPER),
        Published("TRM-mlp", "5M", 87.4, "16 segments", "< 36 h of an L40S", "TRM, table 1"),
        Published("Attractor", "7M", 54.3, "16 segments", "", _PAPER),
        Published("Attractor", "27M", 91.4, "16 segments", "", _PAPER),
        Published("EqR", "5M", 93.2, "64 segments; 99.8 with 128 starts", "", "EqR"),
        Published("DEC", "0.79M", 95.9, "16 segments; 99.2 with 64", "1,140 PFLOP*", "DEC's logs"),
        Published(
            "LDT", "0.8M", 99.96, "search over candidates", "14 PFLOP, 15 min of a B200", _LDT
        ),
    ),
    "maze": (
        Published("HRM", "27M", 74.5, "16 segments", "", _PAPER),
        Published("TRM", "7M", 85.3, "16 segments", "", _PAPER),
        Published("TRM", "27M", 0.0, "16 segments", "", _PAPER),
        Published("Attractor", "7M", 46.7, "16 segments", "", _PAPER),
        Published("Attractor", "27M", 93.1, "16 segments", "", _PAPER),
        Published("LDT", "1.8M", 99.9, "", "", f"{_LDT}, abstract"),
    ),
}

_SETS: dict[Task, str] = {"sudoku": "Sudoku-Extreme", "maze": "Maze-Hard"}
_HEADINGS = {
    "puzzles": "puzzles",
    "model": "model",
    "parameters": "parameters",
    "exact": "exact %",
    "how": "asked",
    "cost": "training",
    "source": "source",
}


def reported_table() -> Table:
    """All of it as a table of a page; rows by set, model and parameters."""
    rows: dict[str, Mapping[str, str]] = {}
    for task, puzzles in _SETS.items():
        for each in PUBLISHED[task]:
            rows[f"{puzzles}: {each.name} {each.parameters}"] = {
                "puzzles": puzzles,
                "model": each.name,
                "parameters": each.parameters,
                "exact": f"{each.exact:g}",
                "how": each.how,
                "cost": each.cost,
                "source": each.source,
            }
    return Table(_HEADINGS, rows)
