"""The tables at the head of README and RESULTS: one number of several records' arms in rows."""

from collections.abc import Mapping
from dataclasses import dataclass

from scripts.reports.record_table import DASH
from scripts.reports.tables import Table


@dataclass(frozen=True)
class Line:
    """A row: what it is about, and for each column the record and the arm it is read from."""

    about: str
    arms: Mapping[str, tuple[str, str]]


@dataclass(frozen=True)
class Summary:
    """headings: of the columns, the first that of `Line.about`; number: the arms' column shown."""

    headings: Mapping[str, str]
    number: str
    lines: tuple[Line, ...]

    def lacks(self, tables: Mapping[str, Table]) -> str | None:
        """What of its records is not there, in words; None: nothing."""
        for record, arm in (place for line in self.lines for place in line.arms.values()):
            if record not in tables:
                return f"no recorded result is called {record!r}"
            if self.number not in tables[record].rows.get(arm, {}):
                return f"the recorded result {record!r} has no {self.number} of {arm!r}"
        return None


def _of(record: str, **arms: str) -> dict[str, tuple[str, str]]:
    return {column: (record, arm) for column, arm in arms.items()}


_SMALL = {"attractor": "attractor-mlp-cpu", "trm": "trm-mlp-cpu"}
MIX = "Sudoku-Extreme's mix: "
AT_MOST = "until a claim stands, at most 64"
DIGITS = "a field for each digit"
ALONE = "3 x 3 neighbourhoods, 1,000 rows"
MAZES = f"{ALONE} after 2,000 of 12x12"
_HINTS = "1,000 rows with hints, from scratch"
SUMMARIES = {
    "headline": Summary(
        {
            "puzzles": "exact % held out (training)",
            "attractor": "Attractor",
            "trm": "TRM",
            "one_pass": "one pass",
        },
        "exact",
        (
            Line(
                "Maze-Hard, 1,000 test mazes (0.32 PFLOP, three seeds; of one pass 0.36, one)",
                _of(
                    "published-sets",
                    attractor=f"Maze-Hard: Attractor, {ALONE}, 16 segments",
                    trm=f"Maze-Hard: TRM, {ALONE}, 16 segments",
                    one_pass=f"Maze-Hard: one pass, {MAZES}, one pass",
                ),
            ),
            Line(
                "Sudoku-Extreme's mix from its 1,000 rows, at most 64 segments (0.23 PFLOP, three "
                "seeds, of one pass one)",
                _of(
                    "published-sets",
                    attractor=f"{MIX}Attractor, {DIGITS}, 1,000 rows, {AT_MOST}",
                    trm=f"{MIX}TRM, {DIGITS}, 1,000 rows, {AT_MOST}",
                    one_pass=f"{MIX}one pass, {DIGITS}, 1,000 rows, one pass",
                ),
            ),
            Line(
                "the same with up to 8 cells shown in training (0.99 PFLOP, one seed)",
                _of(
                    "published-sets",
                    attractor=f"{MIX}Attractor, {DIGITS}, {_HINTS}, {AT_MOST}; all 2,000",
                    trm=f"{MIX}TRM, {DIGITS}, {_HINTS}, {AT_MOST}; all 2,000",
                ),
            ),
        ),
    ),
    "in-short": Summary(
        {
            "puzzles": "exact % on held-out puzzles",
            "attractor": "Attractor",
            "trm": "TRM",
            "one_pass": "one pass of the same blocks",
        },
        "exact",
        (
            Line(
                "6x6 Sudoku, the quickstart: attention along units, 300 steps, three seeds",
                _of(
                    "quickstart",
                    attractor="attractor-axial-cpu",
                    trm="trm-axial-cpu",
                    one_pass="transformer-axial-cpu",
                ),
            ),
            Line(
                "the same, full attention, 1,400 steps, three seeds",
                _of("controls-cpu", attractor="attractor", trm="trm", one_pass="transformer"),
            ),
            Line(
                "the same, tokens mixed by an MLP, one seed",
                _of("sudoku6-mlp", **_SMALL, one_pass="transformer-mlp-cpu"),
            ),
            Line("9x9 Sudoku, the same mixer, 1,600 steps, one seed", _of("sudoku9-mlp", **_SMALL)),
            Line(
                "the same with the speed recipe, one seed",
                _of("sudoku9-mlp", attractor="attractor-speed-cpu"),
            ),
            Line(
                "mazes 6x6, tokens mixed by an MLP, one seed",
                _of(
                    "maze6-mlp",
                    attractor="Attractor",
                    trm="TRM",
                    one_pass="one pass of the same blocks",
                ),
            ),
        ),
    ),
    "in-short-language": Summary(
        {
            "text": "held-out perplexity, enwik8 as bytes, three seeds",
            "attractor": "Attractor",
            "transformer": "Transformer",
            "parcae": "Parcae",
            "deq": "DEQ",
        },
        "perplexity",
        (
            Line(
                "8.2 million bytes, each at its own rates",
                _of(
                    "language-bytes-mini",
                    attractor="Attractor, solved",
                    transformer="Transformer",
                    parcae="Parcae",
                ),
            ),
            Line(
                "0.3 million bytes, all at 8e-3",
                _of(
                    "language-table1-mini",
                    attractor="Attractor, solved",
                    transformer="Transformer",
                    parcae="Parcae",
                )
                | _of("language-table3-mini", deq="DEQ"),
            ),
        ),
    ),
}


def summary_table(summary: Summary, tables: Mapping[str, Table]) -> Table:
    """The rows of a summary from the tables of records, by name; a column without an arm is a
    dash. KeyError for what it lacks."""
    first, *columns = summary.headings
    rows = {}
    for line in summary.lines:
        cells = {
            c: tables[record].rows[arm][summary.number] for c, (record, arm) in line.arms.items()
        }
        rows[line.about] = {first: line.about} | {c: cells.get(c, DASH) for c in columns}
    return Table(summary.headings, rows)
