"""How shares, and the numbers of a table, are written."""

from collections.abc import Mapping, Sequence


def percent(share: float, error: float | None = None) -> str:
    """A share, and its error where there is one, in percent."""
    return f"{100 * share:.1f}" + ("" if error is None else f" ± {100 * error:.1f}")


def accuracy(score: Mapping[str, float]) -> str:
    """A metric as 'mean ± standard error' over puzzles, in percent."""
    return percent(score["mean"], score["stderr"])


def over_seeds(spread: Mapping[str, float]) -> str:
    """A share as 'mean ± deviation' over runs, in percent; the mean alone for one run."""
    return percent(spread["mean"], spread["sd"] if spread["n"] > 1 else None)


def grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table; a bar within a cell is escaped."""
    shown = [[cell.replace("|", "\\|") for cell in row] for row in (head, *rows)]
    return ["| " + " | ".join(row) + " |" for row in (shown[0], ["---"] * len(head), *shown[1:])]


def counted(count: int, what: str) -> str:
    """1 start, 2 starts."""
    return f"{count} {what}" + ("s" if count > 1 else "")
