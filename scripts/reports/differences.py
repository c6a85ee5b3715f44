"""How far apart two models are: exact accuracy, seed by seed, with a 95 % interval.

Of compared runs the first model stands against each other one. Of recorded results the pairs are
those of PAIRS: what the pages say of who is ahead.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scripts.reports.numbers import percent
from scripts.reports.paired import ALIKE, APART, Difference, difference, seeds_needed
from scripts.reports.records import Arm, Record
from scripts.reports.summary_table import ALONE, AT_MOST, DIGITS, MAZES, MIX
from scripts.reports.tables import Table

HEADINGS = {
    "less": "first less second",
    "each": "exact %, first for second",
    "seeds": "seeds",
    "points": "points",
    "interval": "95 % interval",
    "needed": f"seeds to detect {100 * APART:g} points",
}


def compared(groups: Mapping[str, Any]) -> list[dict[str, str]]:
    """The first of the groups (`report.comparison`) against every other one that was scored on the
    same puzzles: a text for each of HEADINGS. Runs that failed are in no difference, and seeds are
    paired where the two have the same. None where every model has one seed alone."""
    scored = {name: group for name, group in groups.items() if "metrics" in group}
    values = {name: by_seed(group) for name, group in scored.items()}
    if max(map(len, values.values()), default=0) < 2:
        return []
    (first, *others), rows = scored, []
    for name in others:
        row = _row(f"{first} less {name}", values[first], values[name])
        if scored[name]["data"] != scored[first]["data"]:
            row |= {"points": "-", "interval": "scored on other puzzles", "needed": "-"}
        rows.append(row)
    return rows


def interval(effect: Difference) -> str:
    """In points: '-2.2 to 22.4'."""
    return f"{_points(effect.low)} to {_points(effect.high)}"


def _points(share: float, sign: str = "") -> str:
    return f"{round(100 * share, 1) + 0.0:{sign}.1f}"  # + 0.0: no -0.0


def by_seed(group: Mapping[str, Any]) -> dict[int, float]:
    """A group's (`report.comparison`) exact accuracy by seed: the mean of its runs, should there be
    several."""
    runs: dict[int, list[float]] = {}
    for run in group["runs"]:
        if "exact" in run:
            runs.setdefault(run["seed"], []).append(run["exact"]["mean"])
    return {seed: statistics.fmean(values) for seed, values in runs.items()}


def apart(first: Mapping[int, float], second: Mapping[int, float]) -> Difference | None:
    """Of values by seed, first less second; None where there is no interval: for one seed of
    either, or where all seeds differ alike, as few do by chance."""
    if min(len(first), len(second)) < 2:
        return None
    effect = difference(first, second)
    return effect if effect.high - effect.low > ALIKE else None


def _row(less: str, first: Mapping[int, float], second: Mapping[int, float]) -> dict[str, str]:
    """less: what the two are; first, second: exact accuracy by seed."""
    means = [statistics.fmean(values.values()) for values in (first, second)]
    counts, effect = dict.fromkeys(map(len, (first, second))), apart(first, second)
    row = {
        "less": less,
        "each": " for ".join(map(percent, means)),
        "seeds": " for ".join(map(str, counts)),
        "points": _points(means[0] - means[1], "+"),
    }
    if effect is None:
        why = "one seed" if min(counts) == 1 else "all seeds differ alike"
        return row | {"interval": f"none: {why}", "needed": "-"}
    paired = "" if effect.paired else ", not paired"
    needed = seeds_needed(effect.deviation, paired=effect.paired)
    return row | {"interval": interval(effect) + paired, "needed": str(needed)}


# Of recorded results


@dataclass(frozen=True)
class Pair:
    """Two arms of a record, and what they are in a reader's words."""

    less: str
    record: str
    first: str
    second: str

    def arms(self, records: Mapping[str, Record]) -> list[Arm | None]:
        """The two; None for what is not recorded."""
        record = records.get(self.record)
        return [record and record.arm(name) for name in (self.first, self.second)]


_ROWS, _NEAR = "1,000 rows", "the rows, 19 neighbours each, as long as the rows alone"
_HALF = ", half as wide"
_THREE = "Attractor, three solver evaluations"
_SOLVED, _PLAIN = "Attractor, three solver evaluations", "Attractor without solver evaluations"


def _on_mix(less: str, *arms: tuple[str, str], asked: str = AT_MOST) -> Pair:
    """arms: net and what it was trained on, of each."""
    first, second = (f"{MIX}{net}, {DIGITS}, {rows}, {asked}" for net, rows in arms)
    return Pair(f"Sudoku-Extreme's mix, digit fields: {less}", "published-sets", first, second)


def _with_attention(less: str, first: str, second: str) -> Pair:
    return Pair(f"Sudoku-Extreme's mix, attention: {less}", "deciding-extreme", first, second)


def _six(less: str, record: str, first: str, second: str) -> Pair:
    return Pair(f"6x6 sudokus: {less}", record, first, second)


PAIRS = (
    _on_mix("Attractor less TRM, the rows alone", ("Attractor", _ROWS), ("TRM", _ROWS)),
    _on_mix("Attractor less TRM, with neighbours", ("Attractor", _NEAR), ("TRM", _NEAR)),
    _on_mix("Attractor with neighbours less without", ("Attractor", _NEAR), ("Attractor", _ROWS)),
    _on_mix("TRM with neighbours less without", ("TRM", _NEAR), ("TRM", _ROWS)),
    _on_mix("Attractor of width 60 less 30", ("Attractor", _NEAR), (f"Attractor{_HALF}", _NEAR)),
    _on_mix("TRM of width 60 less 30", ("TRM", _NEAR), (f"TRM{_HALF}", _NEAR)),
    _on_mix(
        "Attractor less TRM, of width 30", (f"Attractor{_HALF}", _NEAR), (f"TRM{_HALF}", _NEAR)
    ),
    _on_mix("Attractor with a solver less without", (_THREE, _NEAR), ("Attractor", _NEAR)),
    _on_mix("Attractor with a solver less TRM", (_THREE, _NEAR), ("TRM", _NEAR)),
    _on_mix(
        "one-step gradient less four phantom steps, after a solver, 16 segments",
        *(("Attractor, one-step gradient", _NEAR), (_THREE, _NEAR)),
        asked="16 segments",
    ),
    Pair(
        "Maze-Hard, 3 x 3 neighbourhoods: Attractor less TRM",
        "published-sets",
        *(f"Maze-Hard: {net}, {ALONE}, 16 segments" for net in ("Attractor", "TRM")),
    ),
    Pair(
        "the same, 12x12 mazes first: Attractor less TRM",
        "published-sets",
        *(f"Maze-Hard: {net}, {MAZES}, 16 segments" for net in ("Attractor", "TRM")),
    ),
    Pair(
        "30x30 mazes by nets of 12x12 ones: Attractor less TRM",
        "maze12-to-30",
        *(f"{net}: 30x30" for net in ("Attractor", "TRM")),
    ),
    _with_attention("Attractor with a solver less TRM", _SOLVED, "TRM"),
    _with_attention("Attractor without a solver less TRM", _PLAIN, "TRM"),
    _with_attention("Attractor with a solver less without", _SOLVED, _PLAIN),
    _six("Attractor less TRM, equal FLOPs", "fixed-point-cpu", "as it is", "TRM"),
    _six(
        "Attractor less TRM, equal FLOPs, pre-norm with small branches",
        *("fixed-point-cpu", "pre-norm, scaled", "TRM, pre-norm, scaled"),
    ),
    _six(
        "Attractor less TRM, equal FLOPs, one carried state",
        *("fixed-point-cpu", "one state", "TRM, one state"),
    ),
    _six("Attractor less TRM, equal steps", "controls-cpu", "attractor", "trm"),
    _six(
        "Attractor less TRM, equal net calls, TRM damped",
        *("controls-cpu", "attractor", "trm-matched, damped"),
    ),
    _six(
        "Attractor less TRM, attention along units, equal steps",
        *("quickstart", "attractor-axial-cpu", "trm-axial-cpu"),
    ),
    _six("a solver with 12 evaluations less none", "mixing-cpu", "0.5: 12", "0.5: 0"),
    _six("a solver that mixes by 0.5 less by 1", "mixing-cpu", "0.5: 3", "1: 3"),
)


def recorded(records: Mapping[str, Record], pairs: Sequence[Pair] = PAIRS) -> Table | str:
    """The table of the pairs, or what of their records is not there, in words."""
    rows = {}
    for pair in pairs:
        arms = pair.arms(records)
        for arm, name in zip(arms, (pair.first, pair.second), strict=True):
            if arm is None or not arm.by_seed("exact"):
                return f"the recorded result {pair.record!r} has no seeds of {name!r}"
        rows[pair.less] = _row(pair.less, *(arm.by_seed("exact") for arm in arms))
    return Table(HEADINGS, rows)
